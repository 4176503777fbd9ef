"""The embedded warehouse: one DuckDB file, one writer at a time."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from audit_assets.warehouse.duckdb.errors import to_warehouse_error
from audit_assets.warehouse.duckdb.lock import exclusive, yield_lock
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.memory import duckdb_memory
from audit_assets.warehouse.duckdb.writer import DuckDBWriter
from audit_assets.warehouse.protocol import (
    WarehouseError,
)
from audit_assets.warehouse.schema import create_statements

THREADS = 2

# A DuckDB file begins with three headers of 4 KiB, followed by the tables.
_HEADERS = 3 * 4096


class DuckDBWarehouse:
    """Rows in one file at `path`, guarded by the lock at `lock_path`."""

    def __init__(self, path: Path, lock_path: Path, timeout_seconds: float = 600.0, memory: str | None = None) -> None:
        self.memory = duckdb_memory(memory)
        self.path = path
        self.lock_path = lock_path
        self.timeout_seconds = timeout_seconds

    @contextmanager
    def exclusive(self, purpose: str, timeout_seconds: float | None = None) -> Generator[None]:
        """Only the lock, for a tool (dbt) that opens the file itself."""
        with exclusive(self.lock_path, purpose, self.timeout_seconds if timeout_seconds is None else timeout_seconds):
            yield

    @contextmanager
    def maintenance(self, purpose: str) -> Generator[DuckDBMaintenance]:
        with self.exclusive(purpose), self.maintenance_without_lock() as maintenance:
            yield maintenance

    @contextmanager
    def maintenance_without_lock(self) -> Generator[DuckDBMaintenance]:
        with self._connected() as connection:
            yield DuckDBMaintenance(connection)

    @contextmanager
    def connection(self, purpose: str, timeout_seconds: float | None = None) -> Generator[duckdb.DuckDBPyConnection]:
        """The lock and an open connection (time zone UTC), with the sync's tables created.

        Raises WarehouseLockedError if another process has the lock or the file, WarehouseError if the disk is full or
        the file is not a DuckDB database.
        """
        with self.exclusive(purpose, timeout_seconds), self._connected() as connection:
            yield connection

    @contextmanager
    def _connected(self) -> Generator[duckdb.DuckDBPyConnection]:
        with self._translated_errors():
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
                f"{self.path.parent} cannot be created: {error.strerror}; fix that or set AI_AUDIT_DUCKDB_PATH"
            ) from error
        self._discard_incomplete_file()
        connection = duckdb.connect(
            str(self.path),
            config={"memory_limit": self.memory, "threads": THREADS, "preserve_insertion_order": False},
        )
        try:
            connection.execute("set TimeZone = 'UTC'")
            for statement in create_statements():
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _discard_incomplete_file(self) -> None:
        """Deletes a file that a kill or a full disk left without any table, which DuckDB cannot open. Raises
        WarehouseError if there is a write-ahead log with rows beside it."""
        if not self.path.is_file() or self.path.stat().st_size >= _HEADERS:
            return
        start = self.path.read_bytes()
        if any(start) and start[8:12] != b"DUCK":
            return  # not a DuckDB file: opening it reports that
        log = self.path.with_name(self.path.name + ".wal")
        if log.exists() and log.stat().st_size:
            raise WarehouseError(
                f"{self.path} is truncated, and {log} beside it has rows: restore the file, or move both away; the "
                "next sync then reads the source again"
            )
        self.path.unlink()

    @contextmanager
    def _translated_errors(self) -> Generator[None]:
        try:
            yield
        except duckdb.Error as error:
            warehouse_error = to_warehouse_error(error, self.path)
            if warehouse_error is None:
                raise
            raise warehouse_error from error

    @contextmanager
    def writer(self, purpose: str, timeout_seconds: float | None = None) -> Generator["DuckDBWriter"]:
        with self.connection(purpose, timeout_seconds) as connection:
            yield DuckDBWriter(connection)

    def yield_lock(self) -> None:
        """Call it between two days of a long run, with the lock released."""
        yield_lock()
