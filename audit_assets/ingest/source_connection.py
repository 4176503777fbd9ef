"""One read-only connection to the source: every wait is bounded, no setting is left behind, errors name the fix.

Every statement runs in its own read-only transaction, with settings that end with it (`set_config(…, true)`), so that a
pooler that shares server connections (PgBouncer in transaction mode) passes none of our settings on. The driver's calls
block in C. They run in the connection's own thread, which is abandoned if nothing arrives in time.

Also how much of the source one load reads, and how often a transient failure is retried.
"""

import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from queue import Empty, Full, Queue, SimpleQueue
from typing import Any
from urllib.parse import unquote, urlsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as postgres
import pyarrow as pa
from adbc_driver_manager import _reader  # the reader that keeps the SQLSTATE of an error

from audit_assets.ingest.policy import SourceNames
from audit_assets.warehouse.protocol import DayWindow, WarehouseMemoryError

_WRITTEN = "write AI_AUDIT_SOURCE_URL as postgresql://role:password@host:port/database, odd characters as %XX"

_PASSING_SESSION = "the source shut down or ended the session; the next sync reads it again once it runs"

# Part of a message → the fix. The first match is used.
_FIXES = (
    ("permission denied", "grant select on the table, and usage on its schema, to this role"),
    ("password authentication", "put the right role and password into AI_AUDIT_SOURCE_URL"),
    ("no password supplied", "put the password into AI_AUDIT_SOURCE_URL"),
    ("does not exist", "check the database and role in AI_AUDIT_SOURCE_URL"),
    ("connection info string", _WRITTEN),
    ("invalid uri", _WRITTEN),
    ("invalid connection option", _WRITTEN),
    ("invalid percent", _WRITTEN),
    ("invalid integer", _WRITTEN),
    ("invalid sslmode", _WRITTEN),
    ("unexpected spaces", _WRITTEN),
    ("terminating connection", _PASSING_SESSION),
    ("failed to connect", "start it, or set AI_AUDIT_SOURCE_URL to one that runs"),
)
_OTHERWISE = "run again: what was committed stays, the rest is read again"

# SQLSTATE or its class → the fix, for failures that are transient or may not occur with a smaller window.
_PASSING = {
    "55P03": "another session holds a lock on the table: end it, or raise source.lock_timeout in "
    "observability/sync.yaml",
    "57014": "the query was cancelled: by statement_timeout at the source (raise it for this role), by "
    "source.statement_timeout in observability/sync.yaml, or by a person; an index on created_at shortens each read",
    "57P": _PASSING_SESSION,
    "40001": "a standby cancels reads that conflict with recovery: raise max_standby_streaming_delay or set "
    "hot_standby_feedback = on there, or read from the primary",
    "40P01": "the source cancelled the query because of a deadlock",
    "53300": "the source has no free connection: raise max_connections, end idle sessions, or read through a pooler",
    "53": "the source ran out of memory, disk or connections",
    "08": "the connection broke",
    "25P03": "the source ended an idle transaction: raise idle_in_transaction_session_timeout for this role",
    "25P04": "the source ended a long transaction: raise transaction_timeout for this role",
}

# The same if the driver gives no SQLSTATE: the server was not reached, or stopped answering.
_PASSING_SIGNS = (
    "terminating connection",
    *("server closed the connection", "connection reset", "connection refused", "could not receive data"),
    *("no connection to the server", "timeout expired", "connection timed out", "ssl syscall error"),
)

# Windows are not split below this: a load that still fails then does not fail because of its length.
SHORTEST_WINDOW = timedelta(minutes=1)

# After a failure a window is cut to a quarter; after this many successful loads its length is doubled.
_CUT, _GROW_AFTER = 4, 4

_FIRST_WAIT_SECONDS = 0.5
_WITHOUT_PROGRESS_SECONDS = 900.0
_DAY = timedelta(days=1)


class SourceError(Exception):
    """The source cannot be read. The message names the cause and the fix, and contains no password.

    `is_transient`: a retry or a smaller read may succeed. All other failures need somebody to act.
    """

    def __init__(self, message: str, is_transient: bool = False, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.is_transient, self.sqlstate = is_transient, sqlstate

    @property
    def is_of_size(self) -> bool:
        """Whether a smaller window may succeed. It does not help against waiting for a lock."""
        return self.is_transient and self.sqlstate != "55P03"

    @property
    def is_of_query(self) -> bool:
        """Whether the source cancelled this query because of its duration or size."""
        return self.sqlstate in ("57014", "40001", "53100", "53200")


def to_source_error(error: Exception, url: str) -> SourceError:
    """The driver's error as a SourceError, with the fix."""
    cause = redacted(str(error), url)
    sqlstate: str | None = getattr(error, "sqlstate", None)
    known = next((code for code in _PASSING if sqlstate and sqlstate.startswith(code)), None)
    if known is not None:
        return SourceError(f"reading the source failed: {cause}; {_PASSING[known]}", True, sqlstate)
    fix = next((fix for sign, fix in _FIXES if sign in cause.lower()), _OTHERWISE)
    passing = sqlstate is None and any(sign in cause.lower() for sign in _PASSING_SIGNS)
    return SourceError(f"reading the source failed: {cause}; {fix}", passing, sqlstate)


def stalled(limit: timedelta) -> SourceError:
    """The error for a connection that was closed because no data arrived for `limit`."""
    return SourceError(
        f"no data came from the source for {limit.total_seconds():g} s: its server or the network hangs, or the query "
        "reads a whole table; check the source, add an index on created_at, or raise source.stall_timeout in "
        "observability/sync.yaml",
        is_transient=True,
    )


def redacted(message: str, url: str) -> str:
    """`message` in one line, without the URL or its password in any encoding."""
    known, secrets = _names(url), {url, url.partition("://")[2]}
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    if password:
        secrets |= {password, unquote(password)}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        message = message.replace(secret, "***")
    message = re.sub(r"password=\S+", "password=***", message)
    if "Failed to connect" in message:  # a misparsed URL quotes part of the password as host or port
        message = re.sub(r'"([^"]*)"', lambda quote: quote[0] if _is_place(quote[1], known) else '"***"', message)
    return " ".join(message.split())[:500]


def _names(url: str) -> set[str]:
    """The host, role and database in the URL."""
    try:
        parts = urlsplit(url)
        return {name for name in (parts.hostname, parts.username, parts.path[1:]) if name and "@" not in name}
    except ValueError:
        return set()


def _is_place(text: str, known: set[str]) -> bool:
    return text in known or text.startswith("/") or re.fullmatch(r"[0-9a-f]*[.:][0-9a-f.:]+", text) is not None


_DRIVER_ERRORS = (adbc_driver_manager.Error, pa.ArrowException, OSError)

# The size of a stream's batches: small, so that a slow link does not look stalled and wide rows take little memory.
_BATCH_BYTES = 1_000_000

_CLOSES_WITHIN_SECONDS = 5.0

_SETTINGS = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "application_name": "ai-audit-sync",
    # Lets the server use parallel workers if it has any: it does so only if they look cheap.
    "parallel_tuple_cost": "0",
}


class SourceConnection:
    """A connection that is reopened for the next query after a failed one.

    Every method raises SourceError, with secrets redacted, also after `stall_timeout` without data from the source.
    """

    def __init__(self, url: str, limits: SourceNames) -> None:
        self._url, self._limits = url, limits
        self._link: _Link | None = None

    def rows(self, query: str, copy: bool = True, long_running: bool = False) -> list[tuple[Any, ...]]:
        """The rows of a query. Pass `copy` as false if COPY cannot read from it. A `long_running` query reads whole
        tables and may take up to `statement_timeout`."""
        link = self._linked()
        limit = self._limits.stall_timeout + (self._limits.statement_timeout if long_running else timedelta())
        with self._failures(link):
            return link.ask(lambda: link.fetch(query, copy), limit)

    def table(self, query: str) -> pa.Table:
        """The rows of a query as one table."""
        reader = self.stream(query)
        return pa.Table.from_batches(list(reader), reader.schema)

    def stream(self, query: str) -> pa.RecordBatchReader:
        """Streams the rows of a query. The reader can be read once."""
        link = self._linked()
        batches: Queue[Any] = Queue(maxsize=1)
        with self._failures(link):
            link.send(query, batches)
            schema = link.received(batches, self._limits.stall_timeout)
        return pa.RecordBatchReader.from_batches(schema, self._batches(link, batches))

    @contextmanager
    def transaction(self) -> Generator[None]:
        """One transaction for the short queries in the block."""
        link = self._linked()
        with self._failures(link):
            link.ask(link.begin, self._limits.stall_timeout)
        yield
        if self._link is link:
            with self._failures(link):
                link.ask(link.commit, self._limits.stall_timeout)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None

    def _linked(self) -> "_Link":
        if self._link is not None and self._link.is_streaming:  # its reader stopped before the end
            self._abandon(self._link)
        if self._link is None:
            link = _Link(with_limits(self._url, self._limits.stall_timeout), self._limits)
            with self._failures(link):
                link.ask(link.connect, self._limits.stall_timeout)
            self._link = link
        return self._link

    def _batches(self, link: "_Link", batches: "Queue[Any]") -> Generator[pa.RecordBatch]:
        try:
            with self._failures(link):
                while (batch := link.received(batches, self._limits.stall_timeout)) is not None:
                    yield batch
        finally:
            if link.is_streaming:
                self._abandon(link)

    @contextmanager
    def _failures(self, link: "_Link") -> Generator[None]:
        """Raises the driver's errors as SourceError and abandons the connection."""
        try:
            yield
        except SourceError:
            self._abandon(link)
            raise
        except _DRIVER_ERRORS as error:
            self._abandon(link)
            raise to_source_error(error, self._url) from None

    def _abandon(self, link: "_Link") -> None:
        link.abandon()
        if self._link is link:
            self._link = None


class _Link:
    """One connection of the driver, and the only thread that uses it."""

    def __init__(self, url: str, limits: SourceNames) -> None:
        self._url, self._limits = url, limits
        self._connection: Any = None
        self._settings = dict(_SETTINGS)
        self._in_transaction = False
        self._socket: socket.socket | None = None
        self._is_abandoned = threading.Event()
        self.is_streaming = False
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ai-audit-source", daemon=True)
        self._thread.start()

    def ask(self, question: Callable[[], Any], limit: timedelta) -> Any:
        """Runs `question` in the connection's thread and returns its result."""
        answers: SimpleQueue[Any] = SimpleQueue()

        def answer() -> None:
            try:
                answers.put(question())
            except Exception as error:  # noqa: BLE001 it is raised in `received`
                answers.put(error)

        self._work.put(answer)
        return self.received(answers, limit)

    def received(self, answers: "Queue[Any] | SimpleQueue[Any]", limit: timedelta) -> Any:
        """The next of `answers`; raises it if it is an error. Raises SourceError after `limit`."""
        try:
            answer = answers.get(timeout=limit.total_seconds())
        except Empty:
            raise stalled(limit) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, query: str, batches: "Queue[Any]") -> None:
        """Puts the schema of the query's rows, the batches and a final None into `batches`, or an error."""
        self.is_streaming = True

        def reading() -> None:
            try:
                with self._transaction(), self._connection.cursor() as cursor:
                    cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
                    cursor.execute(query)
                    rows = cursor.fetch_arrow()
                    with _reader.AdbcRecordBatchReader._import_from_c(rows.address) as reader:
                        self._hand_over(batches, reader.schema)
                        for batch in reader:
                            self._hand_over(batches, batch)
                self.is_streaming = False
                self._hand_over(batches, None)
            except Exception as error:  # noqa: BLE001 it is raised in `received`
                self.is_streaming = False
                self._hand_over(batches, error)

        self._work.put(reading)

    def connect(self) -> None:
        known = _sockets()
        self._connection = postgres.connect(self._url, autocommit=True)
        self._socket = _only_new_socket(known)
        # A shorter limit of the role or the database takes precedence over ours.
        found = self.fetch(
            "select name, setting::bigint from pg_settings where name in ('statement_timeout', 'lock_timeout')",
            copy=True,
        )
        theirs = {name: milliseconds for name, milliseconds in found if milliseconds > 0}
        ours = {"statement_timeout": self._limits.statement_timeout, "lock_timeout": self._limits.lock_timeout}
        for name, limit in ours.items():
            milliseconds = round(limit.total_seconds() * 1000)
            self._settings[name] = str(min(theirs.get(name, milliseconds), milliseconds))

    def fetch(self, query: str, copy: bool) -> list[tuple[Any, ...]]:
        with self._transaction(), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": str(copy).lower()})
            cursor.execute(query)
            return cursor.fetchall()

    def begin(self) -> None:
        self._connection.adbc_connection.set_autocommit(False)
        with self._connection.cursor() as cursor:
            cursor.execute("set transaction isolation level read committed read only")
            listed = (f"set_config('{name}', '{value}', true)" for name, value in self._settings.items())
            cursor.execute(f"select {', '.join(listed)}")
        self._in_transaction = True

    def commit(self) -> None:
        self._in_transaction = False
        self._connection.commit()
        self._connection.adbc_connection.set_autocommit(True)

    def close(self) -> None:
        """Closes the connection once its thread has finished its work."""
        self._work.put(None)
        self._thread.join(timeout=_CLOSES_WITHIN_SECONDS)

    def abandon(self) -> None:
        """Closes the connection immediately, whatever its thread waits for."""
        self._is_abandoned.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._work.put(None)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        if self._in_transaction:
            yield
            return
        self.begin()
        yield  # after an error the connection is not used again
        self.commit()

    def _hand_over(self, batches: "Queue[Any]", item: Any) -> None:
        while not self._is_abandoned.is_set():
            with suppress(Full):
                batches.put(item, timeout=0.2)
                return

    def _run(self) -> None:
        try:
            while (work := self._work.get()) is not None:
                work()
        finally:
            if self._connection is not None:
                with suppress(*_DRIVER_ERRORS):  # it may be broken, and nobody waits for it
                    self._connection.close()
            if self._socket is not None:
                self._socket.close()


def with_limits(url: str, stall: timedelta) -> str:
    """The URL or connection string, with timeouts for connecting and for a lost peer where it sets none."""
    limits = {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": round(stall.total_seconds() * 1000),
    }
    missing = {name: value for name, value in limits.items() if f"{name}=" not in url.replace(" ", "")}
    if url.startswith(("postgresql://", "postgres://")):
        return url + "".join(
            f"{'&' if '?' in url or place else '?'}{name}={value}"
            for place, (name, value) in enumerate(missing.items())
        )
    if "=" not in url or "://" in url:
        return url  # neither form: the driver reports it
    return " ".join([url, *(f"{name}={value}" for name, value in missing.items())])


def _sockets() -> dict[int, int]:
    """This process's sockets: inode → descriptor. Empty if the system does not list them."""
    found: dict[int, int] = {}
    with suppress(OSError):
        for path in Path("/dev/fd").iterdir():
            with suppress(OSError):
                status = os.fstat(int(path.name))
                if stat.S_ISSOCK(status.st_mode):
                    found[status.st_ino] = int(path.name)
    return found


def _only_new_socket(known: dict[int, int]) -> socket.socket | None:
    """A duplicate of the only socket opened since `known`, or None if that is not certain. The driver cannot cancel a
    read, but closing its socket does."""
    new = [descriptor for inode, descriptor in _sockets().items() if inode not in known]
    if len(new) != 1:
        return None
    with suppress(OSError):
        return socket.socket(fileno=os.dup(new[0]))
    return None


class Pace:
    """The pace of one sync: whole days until a load fails because of its size, then as much as fits.

    A window that cannot be split further, or that failed for another reason, is retried `retries` times, with waits of
    0.5, 1, 2, … seconds.
    """

    def __init__(self, retries: int) -> None:
        self._retries, self._failures, self._fitted = retries, 0, 0
        self._width: timedelta | None = None
        self._progressed_at = time.monotonic()

    @property
    def is_cut(self) -> bool:
        """Whether windows are shorter than whole days."""
        return self._width is not None

    def part(self, window: DayWindow) -> tuple[DayWindow, DayWindow | None]:
        """The part of `window` to load next, and the rest of it. Rows outside all days are one part."""
        if self._width is None or window.day is None or window.end - window.start <= self._width:
            return window, None
        cut = window.start + self._width
        return DayWindow(window.day, window.start, cut), DayWindow(window.day, cut, window.end)

    def progressed(self) -> None:
        """Call after a load was committed or a query answered."""
        self._failures, self._progressed_at = 0, time.monotonic()
        if self._width is not None:
            self._fitted += 1
            if self._fitted >= _GROW_AFTER:
                self._fitted = 0
                self._width = self._width * 2 if self._width * 2 < _DAY else None

    def failed(self, error: SourceError | WarehouseMemoryError, tried: timedelta | None = None) -> None:
        """Waits until it is time to retry. `tried` is the length of time the load covered, or None if it cannot be
        split. Raises `error` if a retry cannot succeed."""
        passing = isinstance(error, WarehouseMemoryError) or error.is_transient
        if not passing or time.monotonic() - self._progressed_at > _WITHOUT_PROGRESS_SECONDS:
            raise error
        of_size = isinstance(error, WarehouseMemoryError) or error.is_of_size
        if of_size and tried is not None and tried > SHORTEST_WINDOW:
            self._width, self._fitted = max(SHORTEST_WINDOW, min(tried, _DAY * _CUT) / _CUT), 0
            if isinstance(error, WarehouseMemoryError) or error.is_of_query:
                return
        if isinstance(error, WarehouseMemoryError) or self._failures >= self._retries:
            raise error
        time.sleep(_FIRST_WAIT_SECONDS * 2**self._failures)
        self._failures += 1
