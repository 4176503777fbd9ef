"""The embedded warehouse: one DuckDB file, one writer at a time."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import duckdb

from audit_assets.warehouse.duckdb_keeper import DuckDBKeeper
from audit_assets.warehouse.lock import exclusive, let_in
from audit_assets.warehouse.merge import NotAllNewError, insert_new, load_rows, replace_workspaces
from audit_assets.warehouse.protocol import (
    DayWindow,
    HeldCounts,
    Incoming,
    Load,
    LoadTerms,
    SyncPosition,
    SyncRun,
    WarehouseError,
    WarehouseLockedError,
    last_good_repair,
)
from audit_assets.warehouse.raw import in_one_commit
from audit_assets.warehouse.rejects import refuse_doubles
from audit_assets.warehouse.schema import SCHEMA, create_statements

# Enough for a day of two million rows to be sorted and joined without leaving memory for long; what does not fit
# goes to a temporary file beside the warehouse.
MEMORY_LIMIT = "256MB"
THREADS = 2

# How a full disk, a quota or a limit on file size is told.
_FULL_DISK = ("No space left", "File too large", "Could not write", "quota exceeded")


class DuckDBWarehouse:
    """Rows in one file at `path`, guarded by the lock at `lock_path`."""

    def __init__(self, path: Path, lock_path: Path, timeout_seconds: float = 600.0) -> None:
        self.path = path
        self.lock_path = lock_path
        self.timeout_seconds = timeout_seconds

    @contextmanager
    def exclusive(self, purpose: str) -> Generator[None]:
        """The lock alone, for a tool (dbt) that opens the file itself."""
        with exclusive(self.lock_path, purpose, self.timeout_seconds):
            yield

    @contextmanager
    def keeper(self, purpose: str) -> Generator[DuckDBKeeper]:
        with self.exclusive(purpose), self.opened() as keeper:
            yield keeper

    @contextmanager
    def opened(self) -> Generator[DuckDBKeeper]:
        with self._connected() as connection:
            yield DuckDBKeeper(connection)

    @contextmanager
    def connection(self, purpose: str) -> Generator[duckdb.DuckDBPyConnection]:
        """The lock and an open connection with the sync's tables in place, time zone UTC.

        Raises WarehouseLockedError where another process has the lock or the file, WarehouseError on a full disk or
        a file that is no DuckDB database.
        """
        with self.exclusive(purpose), self._connected() as connection:
            yield connection

    @contextmanager
    def _connected(self) -> Generator[duckdb.DuckDBPyConnection]:
        with self._errors_told():
            connection = self._open()
            try:
                yield connection
            finally:
                connection.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"{self.path.parent} cannot be made: {error.strerror}; mend that or set AI_AUDIT_DUCKDB_PATH"
            ) from error
        connection = duckdb.connect(
            str(self.path),
            config={"memory_limit": MEMORY_LIMIT, "threads": THREADS, "preserve_insertion_order": False},
        )
        try:
            connection.execute("set TimeZone = 'UTC'")
            for statement in create_statements():
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors_told(self) -> Generator[None]:
        try:
            yield
        except duckdb.Error as error:
            told = told_error(error, self.path)
            if told is None:
                raise
            raise told from error

    @contextmanager
    def writer(self, purpose: str) -> Generator["DuckDBWriter"]:
        with self.connection(purpose) as connection:
            yield DuckDBWriter(connection)

    def let_others_in(self) -> None:
        """Called between two days of a long run, with the lock released."""
        let_in()


class DuckDBWriter:
    """The warehouse while it is held."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def position(self) -> SyncPosition:
        ((watermark, succeeded),) = self.connection.execute(
            f"""select max(watermark), max(started_at) filter (where status = 'succeeded')
            from {SCHEMA}.ai_audit_sync_state"""
        ).fetchall()
        repairs = self.connection.execute(
            f"""select window_start, started_at - to_microseconds((coalesce(oldest_write_seconds, 0) * 1e6)::bigint)
            from {SCHEMA}.ai_audit_sync_state where mode = 'full' and status = 'succeeded' order by started_at"""
        ).fetchall()
        return SyncPosition(watermark, last_good_repair(repairs), succeeded)

    def load(
        self, incoming: Incoming, window: DayWindow, terms: LoadTerms, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        with in_one_commit(self.connection):
            load = load_rows(self.connection, incoming, window, terms)
            self._record(run_after(load))
        return load

    def load_new(self, incoming: Incoming, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        try:
            with in_one_commit(self.connection):
                load = insert_new(self.connection, incoming, span)
                self._record(run_after(load))
        except NotAllNewError:
            return None
        return load

    def record(self, run: SyncRun) -> None:
        with in_one_commit(self.connection):
            self._record(run)

    def _record(self, run: SyncRun) -> None:
        row = run.row()
        self.connection.execute(f"delete from {SCHEMA}.ai_audit_sync_state where sync_id = ?", [run.sync_id])
        columns, marks = ", ".join(row), ", ".join("?" for _ in row)
        self.connection.execute(
            f"insert into {SCHEMA}.ai_audit_sync_state ({columns}) values ({marks})", list(row.values())
        )

    def replace_workspaces(self, incoming: Incoming | None) -> int:
        with in_one_commit(self.connection):
            return replace_workspaces(self.connection, incoming)

    def doubled_days(self) -> tuple[date, ...]:
        found = self.connection.execute(
            f"""with doubled as (
                select id from {SCHEMA}.ai_audit_logs group by id having count(*) > 1
            )
            select distinct cast(created_at as date) as day
            from {SCHEMA}.ai_audit_logs where id in (select id from doubled) order by day"""
        ).fetchall()
        return tuple(day for (day,) in found)

    def bereft_days(self) -> tuple[date, ...]:
        found = self.connection.execute(
            f"""select distinct reject_day from {SCHEMA}.ai_audit_rejects
            where reason = 'duplicate_id' and source_id not in (select id from {SCHEMA}.ai_audit_logs)"""
        ).fetchall()
        return tuple(day for (day,) in found)

    def refuse_doubles(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        with in_one_commit(self.connection):
            return refuse_doubles(self.connection, sync_id, mode, synced_at)

    def gone_ids(self, sync_id: str) -> tuple[str, ...]:
        found = self.connection.execute(
            f"select distinct id from {SCHEMA}.ai_audit_repair_diff where sync_id = ? and change = 'gone'", [sync_id]
        ).fetchall()
        return tuple(id_ for (id_,) in found)

    def counts_by_hour(self, start: datetime, end: datetime) -> HeldCounts:
        hourly = (
            "select date_trunc('hour', created_at), sum({})::bigint from {} where created_at >= ? and created_at < ?"
        )
        loaded = self.connection.execute(hourly.format("1", f"{SCHEMA}.ai_audit_logs") + " group by 1", [start, end])
        by_hour = dict(loaded.fetchall())
        rejected = self.connection.execute(
            hourly.format("row_count", f"{SCHEMA}.ai_audit_rejects") + " and reject_day is not null group by 1",
            [start, end],
        )
        rejected_by_hour = dict(rejected.fetchall())
        ((outside, all_loaded, all_rejected),) = self.connection.execute(
            f"""select coalesce(sum(row_count) filter (where reject_day is null), 0)::bigint,
                (select count(*) from {SCHEMA}.ai_audit_logs), coalesce(sum(row_count), 0)::bigint
            from {SCHEMA}.ai_audit_rejects"""
        ).fetchall()
        return HeldCounts(by_hour, rejected_by_hour, outside, all_loaded, all_rejected)

    def held_days(self, first: date, last: date) -> tuple[date, ...]:
        found = self.connection.execute(
            f"select date from {SCHEMA}.ai_audit_days where date between ? and ? order by date", [first, last]
        ).fetchall()
        return tuple(day for (day,) in found)


def told_error(error: duckdb.Error, path: Path) -> WarehouseError | None:
    """`error` for a person to read, where they can mend it; None where it is our own mistake."""
    text = str(error).splitlines()[0][:300]
    if any(sign in text for sign in _FULL_DISK):
        return WarehouseError(f"no space left for {path}: free some and run again, nothing was half-written ({text})")
    if isinstance(error, duckdb.ConnectionException) or "Could not set lock" in text:
        return WarehouseLockedError(f"{path} is open in another program ({text}); close it there and run again")
    if "not a valid DuckDB" in text:
        return WarehouseError(f"{path} is no DuckDB file; move it away, or set AI_AUDIT_DUCKDB_PATH to another")
    if isinstance(error, duckdb.OutOfMemoryException):
        return WarehouseError(f"out of memory or temporary disk beside {path}; free some and run again ({text})")
    if isinstance(error, duckdb.IOException | duckdb.SerializationException | duckdb.FatalException):
        return WarehouseError(f"{path} cannot be used: {text}; mend that or set AI_AUDIT_DUCKDB_PATH to another")
    return None
