"""Where tiles get their rows from: the published snapshot, never the file that is being written."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import duckdb
import polars as pl

from audit_assets.dashboards.marts import Marts
from audit_assets.dashboards.query import Engine, Query
from audit_assets.warehouse.snapshot import (
    NOTHING_PUBLISHED,
    Manifest,
    SnapshotError,
    open_snapshot,
    read_manifest,
)

K = TypeVar("K")
V = TypeVar("V")

_EVENTS = "stg_ai_audit_logs"
_SPANS = 4  # of files, open at once
_RESULTS = 400  # a page asks for some thirty


class ReadError(Exception):
    """Rows that cannot be read now. The message says why and what mends it."""


class NotPublishedError(ReadError):
    """A table that is not in the snapshot."""


@dataclass(frozen=True)
class Freshness:
    """Which snapshot is shown, and how far it goes. Times are UTC."""

    snapshot_id: str
    published_at: datetime
    last_synced_at: datetime | None


class Reader(Protocol):
    """Rows for tiles, from one state of the warehouse at a time."""

    @property
    def engine(self) -> Engine:
        """Whose dialect it reads."""
        ...

    @property
    def at_once(self) -> int:
        """How many questions it answers sooner at once than one by one."""
        ...

    def freshness(self) -> Freshness | None:
        """What is shown now; None where there is nothing yet."""
        ...

    def read(self, query: Query) -> pl.DataFrame:
        """The rows of a query. Raises ReadError."""
        ...


class Newest(OrderedDict[K, V]):
    """The newest so many values."""

    def __init__(self, size: int, let_go: Callable[[V], None] = lambda _: None) -> None:
        super().__init__()
        self.size, self.let_go = size, let_go

    def keep(self, key: K, value: V) -> V:
        self[key] = value
        while len(self) > self.size:
            self.let_go(self.popitem(last=False)[1])
        return value


class SnapshotReader:
    """Reads the published snapshot: `in_memory` tables from there, all others, and events, from their files.

    Results are kept for as long as the snapshot is the same. Any thread may ask; one at a time is answered.
    """

    engine: Engine = "duckdb"
    at_once = 1  # one process answers all: to ask it twice at a time makes neither faster

    def __init__(self, folder: Path, in_memory: Collection[str] = ()) -> None:
        self._folder = folder
        self._in_memory = frozenset(in_memory) - {_EVENTS}
        self._lock = threading.RLock()
        self._marts = Marts(folder, sorted(self._in_memory))
        self._results: Newest[object, pl.DataFrame] = Newest(_RESULTS)
        self._spans: Newest[object, duckdb.DuckDBPyConnection] = Newest(_SPANS, lambda connection: connection.close())
        self._manifest: tuple[object, Manifest] | None = None

    def freshness(self) -> Freshness | None:
        manifest = self._current()
        if manifest is None:
            return None
        return Freshness(manifest.snapshot_id, manifest.published_at, manifest.last_synced_at)

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
            held = self._results.get(key)
            if held is not None:
                return held
            try:
                connection = self._connection(manifest, query)
                found = connection.sql(query.sql, params=_given(query.parameters)).to_arrow_table()
            except (SnapshotError, duckdb.Error) as error:
                raise ReadError(str(error).splitlines()[0]) from error
            return self._results.keep(key, plain(pl.DataFrame(found)))

    def _current(self) -> Manifest | None:
        """The manifest, parsed when it has changed: it names some thousand files."""
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
        """The marts in memory, or the files of what is not there, of the days that are asked for."""
        if self._in_memory.issuperset(query.tables):
            self._marts.follow(manifest)
            return self._marts.connection
        days = (query.first, query.last) if query.first and query.last else None
        key = (manifest.snapshot_id, query.tables, days)
        held = self._spans.get(key)
        return held if held is not None else self._spans.keep(key, open_snapshot(self._folder, query.tables, days))


def _given(parameters: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in parameters.items()}


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums arrive as wide decimals."""
    wide = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Decimal)]
    return rows.with_columns([pl.col(name).cast(pl.Int64) for name in wide])
