"""Where tiles get their rows from: the published snapshot, never the file that is being written."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import duckdb
import polars as pl

from audit_assets.dashboards.query import Query
from audit_assets.warehouse.snapshot import Manifest, SnapshotError, open_snapshot, read_manifest

K = TypeVar("K")
V = TypeVar("V")

_EVENTS = "stg_ai_audit_logs"
_OPEN = 6  # connections: the marts of the snapshot, and some spans of events
_HELD = 400  # results; a page asks for some twenty


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

    def freshness(self) -> Freshness | None:
        """What is shown now; None where there is nothing yet."""
        ...

    def read(self, query: Query) -> pl.DataFrame:
        """The rows of a query. Raises ReadError."""
        ...


class _Newest(OrderedDict[K, V]):
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
    """Reads the published snapshot. Results are kept for as long as the snapshot is the same; any thread may ask."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._results: _Newest[object, pl.DataFrame] = _Newest(_HELD)
        self._connections: _Newest[object, duckdb.DuckDBPyConnection] = _Newest(_OPEN)

    def freshness(self) -> Freshness | None:
        manifest = self._manifest()
        if manifest is None:
            return None
        return Freshness(manifest.snapshot_id, manifest.published_at, manifest.last_synced_at)

    def read(self, query: Query) -> pl.DataFrame:
        manifest = self._manifest()
        if manifest is None:
            raise ReadError("nothing has been published yet: run `make demo`, or `audit sync` and `audit build`")
        missing = [table for table in query.tables if table not in manifest.files and table not in manifest.views]
        if missing:
            raise NotPublishedError(f"{missing[0]} is not published yet: run `audit build`")
        key = (manifest.snapshot_id, query.sql, tuple(sorted(query.parameters.items())))
        with self._lock:
            held = self._results.get(key)
            if held is not None:
                return held
            cursor = self._connection(manifest, query).cursor()
        try:
            with cursor:
                found = cursor.sql(query.sql, params=_given(query.parameters)).to_arrow_table()
        except duckdb.Error as error:
            raise ReadError(str(error).splitlines()[0]) from error
        rows = pl.DataFrame(found)
        rows = rows.with_columns(
            # Sums arrive as wide decimals.
            [pl.col(name).cast(pl.Int64) for name, kind in rows.schema.items() if isinstance(kind, pl.Decimal)]
        )
        with self._lock:
            return self._results.keep(key, rows)

    def _manifest(self) -> Manifest | None:
        return read_manifest(self._folder)

    def _connection(self, manifest: Manifest, query: Query) -> duckdb.DuckDBPyConnection:
        """One for all marts of a snapshot; events by the days that are asked for, since each day is a file."""
        events = _EVENTS in query.tables
        days = (query.first, query.last) if events and query.first and query.last else None
        key = (manifest.snapshot_id, days)
        held = self._connections.get(key)
        if held is not None:
            return held
        try:
            tables = None if days is None else query.tables
            return self._connections.keep(key, open_snapshot(self._folder, tables, days))
        except (SnapshotError, duckdb.Error) as error:
            raise ReadError(str(error).splitlines()[0]) from error


def _given(parameters: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in parameters.items()}
