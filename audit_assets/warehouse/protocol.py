"""What a warehouse must be able to do, and the values that pass in and out of it. Engines lie beside this file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Literal, Protocol

import pyarrow as pa

from audit_assets.warehouse.keeping import Keeper

Mode = Literal["delta", "full", "days"]
RunStatus = Literal["running", "succeeded", "failed"]


class WarehouseError(Exception):
    """The warehouse cannot be used now. The message says why and what mends it."""


class WarehouseLockedError(WarehouseError):
    """Another process holds the warehouse for longer than this one waits."""


def start_of(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True)
class DayWindow:
    """`start` <= created_at < `end` (UTC): part of the UTC day `day`. None stands for rows outside all days, and for
    spans of several."""

    day: date | None
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Incoming:
    """Rows on their way: as the source hands them over, and the SELECT (DuckDB's dialect, over `incoming`) that
    makes raw rows of them, with `reject_reason` and `created_at_text`. Lazy, and good for one reading."""

    rows: pa.RecordBatchReader
    normalising_sql: str


@dataclass(frozen=True)
class LoadCounts:
    """What one load did, in rows. `rejected` counts source rows by reason."""

    read: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    rejected: dict[str, int] = field(default_factory=dict[str, int])

    def __add__(self, other: "LoadCounts") -> "LoadCounts":
        reasons = sorted({*self.rejected, *other.rejected})
        return LoadCounts(
            self.read + other.read,
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            {reason: self.rejected.get(reason, 0) + other.rejected.get(reason, 0) for reason in reasons},
        )


@dataclass(frozen=True)
class Load:
    """One load's outcome: its counts, and the UTC days whose rows it changed."""

    counts: LoadCounts
    days: tuple[date, ...]


@dataclass(frozen=True)
class LoadTerms:
    """How rows come in. With `replace` the window holds just these rows afterwards; added rows created before
    `late_before` (UTC) are recorded as repaired, since no delta would have brought them."""

    sync_id: str
    mode: str
    synced_at: datetime
    replace: bool
    late_before: datetime | None


@dataclass(frozen=True)
class SyncRun:
    """One row of ai_audit_sync_state. Times are UTC; `watermark` is how far the source has been read."""

    sync_id: str
    mode: str
    status: RunStatus
    window_start: datetime | None
    window_end: datetime | None
    started_at: datetime
    last_synced_at: datetime | None
    sync_duration_ms: int
    counts: LoadCounts
    source_max_created_at: datetime | None
    watermark: datetime | None
    oldest_write_seconds: float | None
    sessions_visible: bool | None
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """Column → value, as the table has them."""
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
            "source_max_created_at": self.source_max_created_at,
            "watermark": self.watermark,
            "oldest_write_seconds": self.oldest_write_seconds,
            "sessions_visible": self.sessions_visible,
            "error": self.error,
        }


@dataclass(frozen=True)
class SyncRow:
    """A row of ai_audit_sync_state as judging reads it back: how a run went, and what it knew of the source. Times are
    UTC; None is not known."""

    sync_id: str
    mode: Mode
    status: RunStatus
    window_end: datetime | None
    started_at: datetime
    last_synced_at: datetime | None
    sync_duration_ms: int
    source_max_created_at: datetime | None
    watermark: datetime | None
    oldest_write_seconds: float | None
    sessions_visible: bool | None


@dataclass(frozen=True)
class SyncPosition:
    """Where the next sync starts from; None where nothing has happened yet. Times are UTC. Writes that began before
    `last_repair_at` have been seen by a full repair; at `last_success_at` the newest sync that succeeded began."""

    watermark: datetime | None
    last_repair_at: datetime | None
    last_success_at: datetime | None


def last_good_repair(repairs: Iterable[tuple[datetime, datetime]]) -> datetime | None:
    """The newest moment up to which a chain of full repairs has seen everything. `repairs`: where each window began
    and what it had seen all before, in the order they ran; one that began later than that has left a hole."""
    good: datetime | None = None
    for window_start, all_seen_before in repairs:
        if good is None or window_start <= good:
            good = all_seen_before
    return good


@dataclass(frozen=True)
class HeldCounts:
    """Rows the warehouse knows of. Per UTC hour: those loaded, and those refused; those refused that belong to no
    day; and the sums over all time."""

    loaded: dict[datetime, int]
    rejected: dict[datetime, int]
    outside: int
    all_loaded: int
    all_rejected: int


class WarehouseWriter(Protocol):
    """One exclusive session. Every method commits whole or not at all."""

    def position(self) -> SyncPosition:
        """The newest committed watermark, when the last good repair began (a full run that succeeded and reached back
        to the one before it), and when the newest run that succeeded did."""
        ...

    def load(
        self, incoming: Incoming, window: DayWindow, terms: LoadTerms, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        """Brings the rows into the window, and saves `run_after(load)` in the same commit."""
        ...

    def load_new(self, incoming: Incoming, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        """As `load`, for a span of whole days that hold nothing yet, in one stream. None, and nothing kept, where a
        row is refused or an id doubled: then the span is to be loaded day by day."""
        ...

    def record(self, run: SyncRun) -> None:
        """Writes or rewrites the run's row."""
        ...

    def replace_workspaces(self, incoming: Incoming | None) -> int:
        """Puts the rows in the place of all workspaces that are held, None for no rows; how many there are now."""
        ...

    def doubled_days(self) -> tuple[date, ...]:
        """UTC days that hold an id which another day holds too."""
        ...

    def bereft_days(self) -> tuple[date, ...]:
        """UTC days that refuse a row as `duplicate_id` though no row with its id is loaded any more."""
        ...

    def refuse_doubles(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        """Keeps the newest row of each id that several days hold, and refuses the others as `duplicate_id`."""
        ...

    def gone_ids(self, sync_id: str) -> tuple[str, ...]:
        """The ids that this sync found missing at the source on the day that held them."""
        ...

    def counts_by_hour(self, start: datetime, end: datetime) -> "HeldCounts":
        """What is held of the rows with `start` <= created_at < `end`, for the comparison with the source."""
        ...

    def held_days(self, first: date, last: date) -> tuple[date, ...]:
        """The UTC days from `first` to `last` that hold rows or rejects."""
        ...


class Warehouse(Protocol):
    """A place for rows. One writer at a time; readers use the published snapshot."""

    def writer(self, purpose: str) -> AbstractContextManager[WarehouseWriter]:
        """Exclusive access, released at exit. Raises WarehouseLockedError, WarehouseError."""
        ...

    def let_others_in(self) -> None:
        """A pause between two days of a long run, in which whoever waits for the lock gets it."""
        ...

    def exclusive(self, purpose: str) -> AbstractContextManager[None]:
        """The lock alone, for a tool (dbt) that opens the warehouse itself. Raises WarehouseLockedError."""
        ...

    def opened(self) -> AbstractContextManager[Keeper]:
        """A keeper for whoever holds the lock already. Raises WarehouseError."""
        ...

    def keeper(self, purpose: str) -> AbstractContextManager[Keeper]:
        """The lock and a keeper, released at exit. Raises WarehouseLockedError, WarehouseError."""
        ...


class AnsweringWarehouse(Protocol):
    """A warehouse that many may ask at once, as BigQuery; DuckDB's readers use the published snapshot."""

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        """The rows of a query in the engine's dialect; `parameters`: lists of texts by name. Raises WarehouseError."""
        ...
