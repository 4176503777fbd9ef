"""Runs tile queries on the published snapshot, loaded into memory, or on a queryable warehouse such as BigQuery, each
at most once per minute. A new snapshot loads only the files that changed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import duckdb
import polars as pl

from audit_assets.clock import Clock
from audit_assets.dashboards.definition.model import Definition
from audit_assets.dashboards.query.sql import Engine, Query
from audit_assets.ingest.policy import read_policy
from audit_assets.settings import Settings
from audit_assets.warehouse.builds import FACTS_SYNCED_AT
from audit_assets.warehouse.duckdb.statements import transaction
from audit_assets.warehouse.protocol import QueryableWarehouse, WarehouseError
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import (
    NOTHING_PUBLISHED,
    PER_DAY,
    Manifest,
    SnapshotError,
    SnapshotFile,
    open_snapshot,
    read_manifest,
)

_RESULTS = 400  # cached results; a page needs about thirty
_SYNCED = Query(FACTS_SYNCED_AT, tables=("ai_audit_model_builds", "ai_audit_sync_state"))


class Marts:
    """An in-memory DuckDB (time zone UTC) with some of the published tables, as of one manifest at a time.

    Reading ninety files per tile takes ten times as long as the tile's query.
    """

    def __init__(self, folder: Path, tables: Collection[str]) -> None:
        self._folder, self._tables = folder, tables
        self._loaded: Manifest | None = None
        self.connection = duckdb.connect(config={"threads": 2})
        self.connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")

    def follow(self, manifest: Manifest) -> None:
        """Updates the tables to `manifest` in one transaction. Raises duckdb.Error."""
        before = self._loaded
        if before is not None and before.snapshot_id == manifest.snapshot_id:
            return
        with transaction(self.connection):
            for table in self._tables:
                if table in manifest.files:
                    self._update(table, manifest, before)
                else:
                    self.connection.execute(f"drop table if exists {SCHEMA}.{table}")
        self._loaded = manifest

    def _update(self, table: str, manifest: Manifest, before: Manifest | None) -> None:
        loaded = before.files.get(table) if before is not None else None
        files = manifest.files[table]
        if loaded is None or before is None or before.columns[table] != manifest.columns[table]:
            columns = ", ".join(f'"{name}" {kind}' for name, kind in manifest.columns[table].items())
            self.connection.execute(f"create or replace table {SCHEMA}.{table} ({columns})")
            loaded = ()
        elif loaded == files:
            return
        new = [file for file in files if file not in loaded]
        if table in PER_DAY:
            stale_days = [f"date '{file.day}'" for file in loaded if file not in files]
            if stale_days:
                self.connection.execute(f"delete from {SCHEMA}.{table} where date in ({', '.join(stale_days)})")
        elif loaded:
            self.connection.execute(f"delete from {SCHEMA}.{table}")
        self._insert(table, manifest, new)

    def _insert(self, table: str, manifest: Manifest, files: Collection[SnapshotFile]) -> None:
        if not files:
            return
        paths = ", ".join("'" + str(self._folder / file.path).replace("'", "''") + "'" for file in files)
        names = ", ".join(f'"{name}"' for name in manifest.columns[table])
        rows = f"select {names} from read_parquet([{paths}], hive_partitioning = false)"
        self.connection.execute(f"insert into {SCHEMA}.{table} ({names}) {rows}")


K = TypeVar("K")
V = TypeVar("V")

_EVENTS = "stg_ai_audit_logs"
_SPANS = 4  # connections to day ranges of files, open at the same time


class ReadError(Exception):
    """Rows cannot be read now. The message gives the reason and the fix."""


class NotPublishedError(ReadError):
    """A table is not in the snapshot."""


@dataclass(frozen=True)
class Freshness:
    """The snapshot in use, when its facts were published, and when the newest sync ended whose rows it contains. Times
    are UTC."""

    snapshot_id: str
    published_at: datetime
    last_synced_at: datetime | None


class Reader(Protocol):
    """Rows for tiles, from one state of the warehouse at a time."""

    @property
    def engine(self) -> Engine:
        """The SQL dialect of the queries."""
        ...

    @property
    def max_concurrency(self) -> int:
        """How many queries it runs faster concurrently than one by one."""
        ...

    def freshness(self) -> Freshness | None:
        """The state that is read now; None if nothing is published yet."""
        ...

    def read(self, query: Query) -> pl.DataFrame:
        """The rows of a query. Raises ReadError."""
        ...


class BoundedCache(OrderedDict[K, V]):
    """A cache of the newest `size` values; `on_evict` is called with each value that is removed."""

    def __init__(self, size: int, on_evict: Callable[[V], None] = lambda _: None) -> None:
        super().__init__()
        self.size, self.on_evict = size, on_evict

    def put(self, key: K, value: V) -> V:
        self[key] = value
        while len(self) > self.size:
            self.on_evict(self.popitem(last=False)[1])
        return value


class SnapshotReader:
    """Reads the published snapshot: `in_memory` tables from memory, other tables and events from their files.

    Results are cached until a new snapshot is published. Thread-safe; queries run one at a time.
    """

    engine: Engine = "duckdb"
    max_concurrency = 1  # one process runs all queries: two at the same time are not faster

    def __init__(self, folder: Path, in_memory: Collection[str] = ()) -> None:
        self._folder = folder
        self._in_memory = frozenset(in_memory) - {_EVENTS}
        self._lock = threading.RLock()
        self._marts = Marts(folder, sorted(self._in_memory))
        self._results: BoundedCache[object, pl.DataFrame] = BoundedCache(_RESULTS)
        self._spans: BoundedCache[object, duckdb.DuckDBPyConnection] = BoundedCache(
            _SPANS, lambda connection: connection.close()
        )
        self._manifest: tuple[object, Manifest] | None = None

    def freshness(self) -> Freshness | None:
        manifest = self._current()
        if manifest is None:
            return None
        published = manifest.facts_published_at or manifest.published_at
        return Freshness(manifest.snapshot_id, published, manifest.last_synced_at)

    def read(self, query: Query) -> pl.DataFrame:
        with self._lock:
            manifest = self._current()
            if manifest is None:
                raise ReadError(NOTHING_PUBLISHED)
            missing = [table for table in query.tables if table not in manifest.files and table not in manifest.views]
            if missing:
                raise NotPublishedError(f"{missing[0]} is not published yet: run `audit build`")
            given = tuple(sorted(query.parameters.items()))
            key = (manifest.snapshot_id, query.sql, given, query.first, query.last)
            cached = self._results.get(key)
            if cached is not None:
                return cached
            try:
                connection = self._connection(manifest, query)
                found = connection.sql(query.sql, params=_given(query.parameters)).to_arrow_table()
            except (SnapshotError, duckdb.Error) as error:
                raise ReadError(str(error).splitlines()[0]) from error
            return self._results.put(key, plain(pl.DataFrame(found)))

    def _current(self) -> Manifest | None:
        """The manifest, parsed only after a change: it lists about a thousand files."""
        with self._lock:
            try:
                status = (self._folder / "manifest.json").stat()
            except FileNotFoundError:
                return None
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._manifest is None or self._manifest[0] != version:
                manifest = read_manifest(self._folder)
                if manifest is None:
                    return None
                self._manifest = version, manifest
            return self._manifest[1]

    def _connection(self, manifest: Manifest, query: Query) -> duckdb.DuckDBPyConnection:
        """The tables in memory, or else the files of the requested days."""
        if self._in_memory.issuperset(query.tables):
            self._marts.follow(manifest)
            return self._marts.connection
        days = (query.first, query.last) if query.first and query.last else None
        key = (manifest.snapshot_id, query.tables, days)
        cached = self._spans.get(key)
        return cached if cached is not None else self._spans.put(key, open_snapshot(self._folder, query.tables, days))


def _given(parameters: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in parameters.items()}


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with decimals as integers: DuckDB returns sums as wide decimals."""
    wide = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Decimal)]
    return rows.with_columns([pl.col(name).cast(pl.Int64) for name in wide])


class WarehouseReader:
    """Queries the warehouse in its own dialect and caches results for `ttl`, which bounds the cost of a page."""

    engine: Engine = "bigquery"
    max_concurrency = 8  # a query takes about a second, however many run

    def __init__(
        self, warehouse: QueryableWarehouse, now: Callable[[], datetime], ttl: timedelta = timedelta(minutes=1)
    ) -> None:
        self._warehouse, self._now, self._ttl = warehouse, now, ttl
        self._lock = threading.Lock()
        self._results: BoundedCache[object, tuple[datetime, pl.DataFrame]] = BoundedCache(_RESULTS)
        self._locks: BoundedCache[object, threading.Lock] = BoundedCache(_RESULTS)

    def freshness(self) -> Freshness | None:
        """As of the newest sync whose rows every model has read; None before the first."""
        try:
            synced = self.read(_SYNCED).item()
        except ReadError:
            return None
        return None if synced is None else Freshness(synced.isoformat(), synced, synced)

    def read(self, query: Query) -> pl.DataFrame:
        key = (query.sql, tuple(sorted(query.parameters.items())))
        with self._lock:
            query_lock = self._locks.get(key) or self._locks.put(key, threading.Lock())
        with query_lock:  # concurrent reads of the same query wait for its result
            now = self._now()
            with self._lock:
                cached = self._results.get(key)
            if cached is not None and now - cached[0] < self._ttl:
                return cached[1]
            try:
                found = self._warehouse.rows(query.sql, query.parameters)
            except WarehouseError as error:
                raise ReadError(str(error)) from error
            rows = plain(pl.DataFrame(found))
            with self._lock:
                self._results.put(key, (now, rows))
            return rows


def make_reader(settings: Settings, definition: Definition | None = None) -> Reader:
    """The reader for the pages: BigQuery, or the published snapshot with the tables of `definition` in memory."""
    if settings.engine == "duckdb":
        return SnapshotReader(settings.snapshot_folder, definition.reads if definition else ())
    from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

    warehouse = BigQueryWarehouse(settings, read_policy(settings.policy_file).bigquery)
    return WarehouseReader(warehouse, Clock())
