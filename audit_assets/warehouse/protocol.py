"""The engine-independent interface of the warehouse: values, errors, and the writer and maintenance protocols."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

# Columns of the capability registry, the table of dbt's model ai_audit_capabilities.
REGISTERED = (
    "environment", "capability", "first_seen_at", "first_seen_date", "registered_at", "registered_silently",
)  # fmt: skip


class MaintenanceSession(Protocol):
    """What building, publishing and upkeep do with the warehouse while they hold its lock."""

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query in SQL that both engines accept. Times are UTC."""
        ...

    def columns(self) -> Mapping[str, Mapping[str, str]]:
        """Table → column → DuckDB type, for every published table, in column order."""
        ...

    def views(self) -> Mapping[str, str]:
        """View → SQL of the snapshot's views over raw rows; empty if the snapshot has no raw rows."""
        ...

    def copy(self, sql: str, path: Path) -> int:
        """Writes the rows of a query to a new Parquet file. Returns the number of rows."""
        ...

    def copy_days(self, table: str, day_of: str, paths: Mapping[date, Path]) -> Mapping[date, int]:
        """Writes each UTC day of a table to a new Parquet file. `day_of` is a row's day in SQL. Returns row counts."""
        ...

    def unbuilt_days(self) -> tuple[date, ...]:
        """The UTC days that changed since the models last read them."""
        ...

    def mark_built(self, days: Collection[date]) -> None:
        """Records that the models have read `days`. The caller must have held the lock since before that."""
        ...

    def record_builds(self, built: Collection[str], models: Collection[str], at: datetime, sync_id: str | None) -> None:
        """Records that the tables `built` contain the rows up to the sync `sync_id`, as of `at` (UTC), and deletes the
        records of tables that are not in `models`. The caller must have held the lock since before the build."""
        ...

    def prune_sync_state(self, before: datetime) -> int:
        """Deletes delta rows of the sync state that started before `before` (UTC), and frees space. Repairs and
        failures stay. Returns the number of deleted rows."""
        ...

    def register_drill(self, capability: str, first_seen_at: datetime, at: datetime) -> None:
        """Registers a drill's capability silently, as of `at` (UTC), so that no build reports it as new. Does nothing
        if the registry is empty: the first load registers all capabilities silently."""
        ...

    def forget_drill(self, capability: str) -> None:
        """Deletes a drill's capability from the registry, which no build does; business capabilities stay. A build
        registers it again if it still has raw rows."""
        ...

    def copied_versions(self) -> Mapping[str, str]:
        """Table of the alert ledger → the version that its copy was made from."""
        ...

    def replace_copies(self, copies: Mapping[str, pa.Table], versions: Mapping[str, str]) -> None:
        """Replaces each copy and its recorded version, in one commit."""
        ...


Mode = Literal["delta", "full", "days"]
RunStatus = Literal["running", "succeeded", "failed"]


class WarehouseError(Exception):
    """The warehouse cannot be used now. The message says why, and the fix."""


class WarehouseLockedError(WarehouseError):
    """Another process held the warehouse's lock for longer than the timeout."""


class WarehouseMemoryError(WarehouseError):
    """A load does not fit into the warehouse's memory limit; a smaller one may."""


def start_of(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True)
class DayWindow:
    """`start` <= created_at < `end` (UTC): part of the UTC day `day`. `day` is None for rows outside all days, and for
    a window of several days."""

    day: date | None
    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True)
class ExtractBatch:
    """Source rows, and the SELECT (DuckDB's dialect, over `incoming`) that turns them into raw rows with
    `reject_reason` and `created_at_text`. Lazy; it can be read once."""

    rows: pa.RecordBatchReader
    normalizing_sql: str


@dataclass(frozen=True)
class LoadCounts:
    """What one load did, in rows. `rejected` counts source rows by reason, `held` rows that are missing at the source
    and stay until their removal is accepted."""

    read: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    held: int = 0

    def __add__(self, other: "LoadCounts") -> "LoadCounts":
        reasons = sorted({*self.rejected, *other.rejected})
        return LoadCounts(
            self.read + other.read,
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            {reason: self.rejected.get(reason, 0) + other.rejected.get(reason, 0) for reason in reasons},
            self.held + other.held,
        )


@dataclass(frozen=True)
class Load:
    """The result of one load: its counts, the UTC days whose rows it changed, and how many of the removed rows belonged
    to no drill."""

    counts: LoadCounts
    days: tuple[date, ...]
    removed_live: int = 0


@dataclass(frozen=True)
class RemovalLimit:
    """How many rows one load may remove: `max_share` of the rows of its UTC day, `max_rows` and `min_rows` of the whole
    sync, which has removed `removed_before` rows so far. Rows of drills never count. `window_is_lost`: the source lacks
    more of the sync's whole window than the limits allow, so no row is removed."""

    max_share: float
    max_rows: int
    min_rows: int
    removed_before: int = 0
    window_is_lost: bool = False

    def holds(self, missing: int, loaded: int) -> bool:
        """Whether the removal of `missing` rows, out of `loaded` ones, is held."""
        if not missing:
            return False
        removed = self.removed_before + missing
        too_large_a_share = removed > self.min_rows and missing > self.max_share * loaded
        return self.window_is_lost or removed > self.max_rows or too_large_a_share

    def is_lost(self, at_source: int, loaded: int) -> bool:
        """Whether a source with `at_source` rows lacks more of the `loaded` rows than the limits allow."""
        missing = loaded - at_source
        return loaded > 0 and (at_source == 0 or (missing > self.min_rows and missing > self.max_share * loaded))


@dataclass(frozen=True)
class WorkspacesLoad:
    """The number of loaded workspaces, and `held`, how many of them the source no longer has."""

    rows: int
    held: int = 0


@dataclass(frozen=True)
class LoadOptions:
    """How rows are loaded. With `replace` the window contains exactly these rows afterwards. Added rows created before
    `late_before` (UTC) are recorded as repaired, since no delta would have loaded them. The removal of missing rows
    beyond `limit` is held; without a limit all missing rows are removed."""

    sync_id: str
    mode: str
    synced_at: datetime
    replace: bool
    late_before: datetime | None
    limit: RemovalLimit | None = None


@dataclass(frozen=True)
class SyncRun:
    """One sync, and one row of ai_audit_sync_state: its result, and the state of the source it saw. Times are UTC; None
    means unknown. `watermark` is how far the source has been read."""

    sync_id: str
    mode: Mode
    status: RunStatus
    window_start: datetime | None
    window_end: datetime | None
    started_at: datetime
    last_synced_at: datetime | None
    sync_duration_ms: int
    counts: LoadCounts = field(default_factory=LoadCounts)
    source_max_created_at: datetime | None = None
    watermark: datetime | None = None
    oldest_write_seconds: float | None = None
    sessions_visible: bool | None = None
    error: str | None = None
    removal_accepted_by: str | None = None
    clock_skew_seconds: float | None = None
    is_replica: bool | None = None
    replay_lag_seconds: float | None = None

    def row(self) -> dict[str, Any]:
        """Column → value, for the table."""
        return {
            "sync_id": self.sync_id,
            "mode": self.mode,
            "status": self.status,
            "window_start": self.window_start,
            "window_end": self.window_end,
            "started_at": self.started_at,
            "last_synced_at": self.last_synced_at,
            "sync_duration_ms": self.sync_duration_ms,
            "records_read": self.counts.read,
            "records_synced": self.counts.added + self.counts.changed,
            "records_added": self.counts.added,
            "records_changed": self.counts.changed,
            "records_removed": self.counts.removed,
            "records_rejected": sum(self.counts.rejected.values()),
            "records_held": self.counts.held,
            "removal_accepted_by": self.removal_accepted_by,
            "source_max_created_at": self.source_max_created_at,
            "watermark": self.watermark,
            "oldest_write_seconds": self.oldest_write_seconds,
            "sessions_visible": self.sessions_visible,
            "clock_skew_seconds": self.clock_skew_seconds,
            "is_replica": self.is_replica,
            "replay_lag_seconds": self.replay_lag_seconds,
            "error": self.error,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "SyncRun":
        """The run of a row of the table, the reverse of `row`. The table does not have the rejected rows by reason, so
        all are counted under `any`."""
        rejected = row["records_rejected"]
        counts = LoadCounts(
            read=row["records_read"], added=row["records_added"], changed=row["records_changed"],
            removed=row["records_removed"], rejected={"any": rejected} if rejected else {},
            held=row["records_held"] or 0,
        )  # fmt: skip
        others = {name: value for name, value in row.items() if not name.startswith("records_")}
        return cls(counts=counts, **others)


DiscrepancyKind = Literal["removal_held", "rows_differ"]


@dataclass(frozen=True)
class Discrepancy:
    """A row of ai_audit_discrepancies: how many rows of the table, on a UTC day if it has days, are known to differ
    from the source. Times are UTC."""

    table_name: str
    date: date | None
    kind: DiscrepancyKind
    row_count: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class SyncPosition:
    """Where the next sync starts from; values are None until there are any. Times are UTC. A full repair has seen all
    writes that began before `last_repair_at`; `last_success_at` is the start of the newest successful sync."""

    watermark: datetime | None
    last_repair_at: datetime | None
    last_success_at: datetime | None


def last_good_repair(repairs: Iterable[tuple[datetime, datetime]]) -> datetime | None:
    """The latest time before which an unbroken chain of full repairs has seen everything.

    `repairs`, in the order they ran: the start of each window, and the time before which the repair saw everything. A
    repair whose window starts later than the chain reaches leaves a gap, and does not count.
    """
    good: datetime | None = None
    for window_start, all_seen_before in repairs:
        if good is None or window_start <= good:
            good = all_seen_before
    return good


@dataclass(frozen=True)
class LoadedCounts:
    """Rows the warehouse has processed: loaded and rejected rows per UTC hour, rejected rows outside all days, and the
    totals over all time."""

    loaded: dict[datetime, int]
    rejected: dict[datetime, int]
    outside: int
    all_loaded: int
    all_rejected: int


@dataclass(frozen=True)
class HourDigest:
    """The rows of a UTC hour, and the sum of the first 32 bits of their hashes. Equal if all rows are equal."""

    rows: int
    digest: int


class WarehouseWriter(Protocol):
    """One exclusive session. Every method is atomic."""

    def position(self) -> SyncPosition:
        """The newest committed watermark, and the starts of the last good repair (a successful full run that reached
        back to the one before it) and of the newest successful run."""
        ...

    def load(
        self, batch: ExtractBatch, window: DayWindow, options: LoadOptions, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        """Loads the rows into the window, and saves `run_after(load)` in the same commit."""
        ...

    def load_new(self, batch: ExtractBatch, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        """As `load`, in one stream, for a span of whole days without any rows yet. Returns None and loads nothing if a
        row is rejected or an id is duplicated: then the span must be loaded day by day."""
        ...

    def record(self, run: SyncRun) -> None:
        """Inserts or updates the run's row."""
        ...

    def record_failed(self, run: SyncRun) -> None:
        """Records a run that ended without a record as failed, with its error: in its own row if that row says it is
        running, else in a new row. A run recorded with another status stays unchanged."""
        ...

    def replace_workspaces(self, batch: ExtractBatch | None, options: LoadOptions) -> WorkspacesLoad:
        """Replaces all workspaces by the rows of `batch`; None stands for no rows. If more are missing than
        `options.limit` allows, all stay unchanged."""
        ...

    def digests_by_hour(self, start: datetime, end: datetime) -> dict[datetime, HourDigest]:
        """Digests of the rows with `start` <= created_at < `end`, rejected ones included, for comparing values with the
        source."""
        ...

    def record_differences(
        self, differing: Mapping[date, tuple[int, int]], window: DayWindow, options: LoadOptions
    ) -> None:
        """Records as `rows_differ` the days of the window that still differ, with the numbers of rows at the source and
        in the warehouse, and deletes the records of all other days of the window."""
        ...

    def held_removals(self) -> tuple[date, ...]:
        """The UTC days with a held removal."""
        ...

    def lower_watermark(self, to: datetime) -> None:
        """Lowers every recorded watermark after `to` (UTC) to it."""
        ...

    def count_live(self, start: datetime, end: datetime) -> int:
        """Loaded rows with `start` <= created_at < `end` that belong to no drill."""
        ...

    def duplicated_days(self) -> tuple[date, ...]:
        """UTC days with an id that another day has too."""
        ...

    def stale_reject_days(self) -> tuple[date, ...]:
        """UTC days with a row rejected as `duplicate_id` although no row with its id is loaded any more."""
        ...

    def reject_duplicates(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        """Keeps the newest row of each id that is on several days, and rejects the others as `duplicate_id`."""
        ...

    def deleted_ids(self, sync_id: str) -> tuple[str, ...]:
        """The ids that this sync found missing at the source on their day."""
        ...

    def counts_by_hour(self, start: datetime, end: datetime) -> LoadedCounts:
        """Counts of the rows with `start` <= created_at < `end`, for the comparison with the source."""
        ...

    def loaded_days(self, first: date, last: date) -> tuple[date, ...]:
        """The UTC days from `first` to `last` that have rows or rejects."""
        ...


class Warehouse(Protocol):
    """Storage for rows. One writer at a time; readers use the published snapshot."""

    def writer(self, purpose: str, timeout_seconds: float | None = None) -> AbstractContextManager[WarehouseWriter]:
        """Exclusive access, released at exit. Waits up to `timeout_seconds`, by default the warehouse's own timeout.
        Raises WarehouseLockedError, WarehouseError."""
        ...

    def yield_lock(self) -> None:
        """Pauses between two days of a long run, so that a waiting process can take the lock."""
        ...

    def exclusive(self, purpose: str) -> AbstractContextManager[None]:
        """Only the lock, for a tool (dbt) that opens the warehouse itself. Raises WarehouseLockedError."""
        ...

    def maintenance_without_lock(self) -> AbstractContextManager[MaintenanceSession]:
        """A maintenance session for a caller that already holds the lock. Raises WarehouseError."""
        ...

    def maintenance(self, purpose: str) -> AbstractContextManager[MaintenanceSession]:
        """The lock and a maintenance session, released at exit. Raises WarehouseLockedError, WarehouseError."""
        ...


class QueryableWarehouse(Protocol):
    """A warehouse with concurrent queries, such as BigQuery. DuckDB's readers use the published snapshot."""

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        """The rows of a query in the engine's dialect; `parameters` maps names to text lists. Raises WarehouseError."""
        ...
