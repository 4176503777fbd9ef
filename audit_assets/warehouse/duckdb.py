"""The embedded warehouse: one DuckDB file, one writer at a time."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path

import duckdb

from audit_assets.warehouse.lock import exclusive
from audit_assets.warehouse.merge import NotAllNewError, insert_new, load_rows, refuse_doubles
from audit_assets.warehouse.protocol import (
    DayWindow,
    Incoming,
    Load,
    LoadTerms,
    SyncPosition,
    SyncRun,
    WarehouseError,
    WarehouseLockedError,
)
from audit_assets.warehouse.schema import SCHEMA, create_statements

# Enough for a day of two million rows to be sorted and joined without leaving memory for long; what does not fit
# goes to a temporary file beside the warehouse.
MEMORY_LIMIT = "256MB"
THREADS = 2

# A reader of the lock polls every 20 ms: this pause between two days of a long run lets it in.
YIELD_SECONDS = 0.06


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
    def connection(self, purpose: str) -> Generator[duckdb.DuckDBPyConnection]:
        """The lock and an open connection with the sync's tables in place, time zone UTC.

        Raises WarehouseLockedError where another process has the lock or the file, WarehouseError on a full disk or
        a file that is no DuckDB database.
        """
        with self.exclusive(purpose):
            connection = self._open()
            try:
                yield connection
            except duckdb.IOException as error:
                raise WarehouseError(_readable(error, self.path)) from error
            except duckdb.OutOfMemoryException as error:
                raise WarehouseError(
                    f"the warehouse ran out of memory or temporary disk beside {self.path}: {_first_line(error)}"
                ) from error
            finally:
                connection.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = duckdb.connect(
                str(self.path),
                config={"memory_limit": MEMORY_LIMIT, "threads": THREADS, "preserve_insertion_order": False},
            )
            connection.execute("set TimeZone = 'UTC'")
            for statement in create_statements():
                connection.execute(statement)
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise WarehouseLockedError(
                    f"{self.path} is open in another program ({_first_line(error)}); close it there and run again"
                ) from error
            raise WarehouseError(_readable(error, self.path)) from error
        except OSError as error:
            raise WarehouseError(f"{self.path}: {error.strerror}; free it or set AI_AUDIT_DUCKDB_PATH") from error
        return connection

    @contextmanager
    def writer(self, purpose: str) -> Generator["DuckDBWriter"]:
        with self.connection(purpose) as connection:
            yield DuckDBWriter(connection)

    def let_others_in(self) -> None:
        """Called between two days of a long run, with the lock released."""
        time.sleep(YIELD_SECONDS)


class DuckDBWriter:
    """The warehouse while it is held."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def position(self) -> SyncPosition:
        found = self.connection.execute(
            f"""select max(watermark), max(started_at) filter (where mode = 'full' and status = 'succeeded')
            from {SCHEMA}.ai_audit_sync_state"""
        ).fetchone()
        assert found is not None
        return SyncPosition(*found)

    def load(
        self, incoming: Incoming, window: DayWindow, terms: LoadTerms, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        with self._transaction():
            load = load_rows(self.connection, incoming, window, terms)
            self._record(run_after(load))
        return load

    def load_new(self, incoming: Incoming, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        try:
            with self._transaction():
                load = insert_new(self.connection, incoming, span)
                self._record(run_after(load))
        except NotAllNewError:
            return None
        return load

    def record(self, run: SyncRun) -> None:
        with self._transaction():
            self._record(run)

    def _record(self, run: SyncRun) -> None:
        row = run.row()
        self.connection.execute(f"delete from {SCHEMA}.ai_audit_sync_state where sync_id = ?", [run.sync_id])
        columns, marks = ", ".join(row), ", ".join("?" for _ in row)
        self.connection.execute(
            f"insert into {SCHEMA}.ai_audit_sync_state ({columns}) values ({marks})", list(row.values())
        )

    def doubled_days(self) -> tuple[date, ...]:
        found = self.connection.execute(
            f"""with doubled as (
                select id from {SCHEMA}.ai_audit_logs group by id having count(*) > 1
            )
            select distinct cast(created_at as date) as day
            from {SCHEMA}.ai_audit_logs where id in (select id from doubled) order by day"""
        ).fetchall()
        return tuple(day for (day,) in found)

    def refuse_doubles(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        with self._transaction():
            return refuse_doubles(self.connection, sync_id, mode, synced_at)

    def held_days(self, first: date, last: date) -> tuple[date, ...]:
        found = self.connection.execute(
            f"select date from {SCHEMA}.ai_audit_days where date between ? and ? order by date", [first, last]
        ).fetchall()
        return tuple(day for (day,) in found)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self.connection.execute("begin transaction")
        try:
            yield
            self.connection.execute("commit")
        except BaseException:
            with suppress(duckdb.Error):  # a failed commit has already rolled back
                self.connection.execute("rollback")
            raise


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]


def _readable(error: Exception, path: Path) -> str:
    text = _first_line(error)
    if "No space left" in text or "File too large" in text or "could not write" in text.lower():
        return f"no space left for {path}: free some and run again, nothing was half-written ({text})"
    return f"{path} cannot be used: {text}"
