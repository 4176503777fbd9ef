"""The embedded Postgres of the demo and the tests: started, found again, stopped.

One server a folder. `server.json` in it records where the server's files are; `url` is the address with
its password (both 0600), `log` what the server printed. Where the caller is root, programs and data lie in a
private temporary folder instead, owned by an ordinary user.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2

from audit_assets.simulate import binaries, tables
from audit_assets.simulate.binaries import Account, PostgresError
from audit_assets.simulate.server_process import (
    complaint,
    free_port,
    port_is_free,
    postmaster,
    recorded_pid,
    run,
)
from audit_assets.simulate.server_record import (
    DATABASE,
    ServerRecord,
    read_record,
    write_private,
    write_record,
)

START_WITHIN_S = 120.0  # crash recovery after a large load takes its time
LOG_LIMIT_BYTES = 10_000_000

CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 128MB
synchronous_commit = off  # fsync stays on: a crash may cost the last moment's commits, never the database
max_wal_size = 1GB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
"""


@dataclass(frozen=True)
class Running:
    """A server that answered just now."""

    pid: int
    port: int
    url: str
    data: Path


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def start(folder: Path, tell: Callable[[str], None] = _tell) -> str:
    """The URL of this folder's server, which runs when this returns, with the source's tables in it.

    Starting what runs changes nothing. A server that was killed recovers; data that vanished with the
    temporary folder are made afresh, and `tell` hears of it. Raises PostgresError.
    """
    with _locked(folder):
        running = status(folder)
        record = read_record(folder)
        if running is None or record is None:
            record, account = _ready(folder, record, tell)
            record = _launch(folder, record, account)
        _ensure_database(record)
        tables.create_tables(record.url)
        write_private(folder / "url", record.url + "\n")
        return record.url


def stop(folder: Path) -> bool:
    """Stop this folder's server and keep its data. True where there was any."""
    if not folder.exists():
        return False
    with _locked(folder):
        return _stop(folder)


def remove(folder: Path) -> bool:
    """Stop this folder's server and delete its data, also those outside the folder. True where there was any."""
    if not folder.exists():
        return False
    with _locked(folder):
        record = read_record(folder)
        _stop(folder)
        if record is not None:
            shutil.rmtree(record.private, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def status(folder: Path) -> Running | None:
    """The folder's server, if it answers with its own password and its own data; else None."""
    record = read_record(folder)
    pid = None if record is None else postmaster(Path(record.data))
    if record is None or pid is None or not _answers(record):
        return None
    return Running(pid, record.port, record.url, Path(record.data))


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Two starts at once make one server."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ready(folder: Path, record: ServerRecord | None, tell: Callable[[str], None]) -> tuple[ServerRecord, Account]:
    """A record whose data and programs exist, and the account that owns them: what was, mended, or new."""
    if record is not None:
        if (Path(record.data) / "PG_VERSION").exists():
            account = binaries.owner_account(Path(record.data))
            return _mended(folder, record, account), account
        tell(
            f"The data of the embedded Postgres in {record.data} are gone (a temporary folder does not "
            "always outlive a restart of the machine): starting with an empty one."
        )
        shutil.rmtree(record.private, ignore_errors=True)
    account = binaries.server_account()
    private = binaries.private_folder(account)
    try:
        install = binaries.bundled_install()
        if account.borrowed:
            install = binaries.copy_install(install, private)
        data = (private if account.borrowed else folder.resolve()) / "data"
        record = ServerRecord(str(private), str(data), str(install), free_port(), secrets.token_urlsafe(24))
        _initialise(folder, record, account)
    except BaseException:
        shutil.rmtree(private, ignore_errors=True)
        raise
    write_record(folder, record)
    return record, account


def _mended(folder: Path, record: ServerRecord, account: Account) -> ServerRecord:
    """The same data with a socket folder and programs that exist: /tmp is emptied, packages are upgraded."""
    private, install = Path(record.private), Path(record.install)
    if not private.exists():
        private = binaries.private_folder(account)
    if not (install / "bin/postgres").exists():
        install = binaries.bundled_install()
    mended = replace(record, private=str(private), install=str(install))
    if mended != record:
        write_record(folder, mended)
    return mended


def _initialise(folder: Path, record: ServerRecord, account: Account) -> None:
    """`initdb` beside the place, then one rename: a half-made data folder is never taken for a whole one."""
    private, data = Path(record.private), Path(record.data)
    draft, password_file = data.with_name("data.new"), private / "password"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account.own(draft)
    write_private(password_file, record.password)
    account.own(password_file)
    log = folder / "log"
    code = run(
        Path(record.install) / "bin/initdb",
        [
            *("-D", str(draft), "-U", "postgres", f"--pwfile={password_file}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--no-instructions", "--no-sync", "--no-data-checksums"),
        ],
        account,
        private,
        log,
    )
    password_file.unlink()
    if code != 0:
        raise PostgresError(f"initdb failed: {complaint(log)}; all it printed is in {log}")
    draft.rename(data)


def _launch(folder: Path, record: ServerRecord, account: Account) -> ServerRecord:
    """Start the server until it answers, on another port where the recorded one was taken meanwhile."""
    log, data = folder / "log", Path(record.data)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.write_bytes(b"")
    deadline = time.monotonic() + START_WITHIN_S
    refusals = 0
    while True:
        if postmaster(data) is None:
            if recorded_pid(data) is not None:
                # Left by a kill -9 or a power cut, and the number is another process's by now, or one
                # nobody waited for: Postgres would refuse for ever. A dead number is left to Postgres.
                (data / "postmaster.pid").unlink(missing_ok=True)
            if not port_is_free(record.port):
                record = replace(record, port=free_port())
                write_record(folder, record)
            printed = log.stat().st_size if log.exists() else 0
            if not _pg_ctl_start(record, account, log):
                refusals += 0 if _passing(log, printed) else 1
        if postmaster(data) is not None and _answers(record):
            return record
        if refusals == 3 or time.monotonic() > deadline:
            raise PostgresError(
                f"the embedded Postgres does not start: {complaint(log)}; all it printed is in {log}. "
                "`audit source stop` and deleting that folder starts afresh"
            )
        time.sleep(0.1)


def _passing(log: Path, printed: int) -> bool:
    """Whether what the server printed last mends itself: the children of a killed server need a moment to
    let go of its shared memory, a port can be taken between looking and using."""
    with log.open("rb") as file:
        file.seek(printed)
        said = file.read().decode(errors="replace").lower()
    return "shared memory" in said or "address already in use" in said


def _pg_ctl_start(record: ServerRecord, account: Account, log: Path) -> bool:
    private = Path(record.private)
    sockets, configuration = private / "socket", private / "postgresql.conf"
    shutil.rmtree(sockets, ignore_errors=True)  # a killed server leaves a lock on its socket
    sockets.mkdir(mode=0o700)
    account.own(sockets)
    configuration.write_text(CONFIGURATION.format(port=record.port, sockets=sockets))
    configuration.chmod(0o644)
    code = run(
        Path(record.install) / "bin/pg_ctl",
        [
            *("start", "-w", "-t", "60", "-D", record.data),
            *("-o", f"-c config_file={shlex.quote(str(configuration))}"),
        ],
        account,
        private,
        log,
    )
    return code == 0


def _stop(folder: Path) -> bool:
    record = read_record(folder)
    (folder / "url").unlink(missing_ok=True)
    pid = None if record is None else postmaster(Path(record.data))
    if record is None or pid is None:
        return False
    for order, patience_s in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)):  # fast, then immediate
        with suppress(ProcessLookupError):
            os.kill(pid, order)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if postmaster(Path(record.data)) is None:
                return True
            time.sleep(0.02)
    raise PostgresError(f"the embedded Postgres (process {pid}) does not stop; end it by hand: kill -9 {pid}")


def _answers(record: ServerRecord) -> bool:
    """Whether the server on the recorded port takes our password and serves our data."""
    try:
        with (
            tables.connected(record.maintenance_url, timeout_s=2) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("select current_setting('data_directory')")
            return cursor.fetchall() == [(record.data,)]
    except (tables.SourceError, psycopg2.OperationalError):
        return False


def _ensure_database(record: ServerRecord) -> None:
    connection = psycopg2.connect(record.maintenance_url, connect_timeout=10)
    try:
        connection.autocommit = True  # create database runs outside transactions
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"create database {DATABASE}")
    finally:
        connection.close()
