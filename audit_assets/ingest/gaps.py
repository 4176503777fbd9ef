"""Where source and warehouse differ: rows by UTC hour and day, read from both and compared."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import open_source
from audit_assets.warehouse.protocol import HeldCounts, Warehouse


@dataclass(frozen=True)
class Counts:
    """Rows the source holds, and those the warehouse has loaded and refused."""

    source: int
    loaded: int
    rejected: int

    @property
    def missing(self) -> int:
        """Rows the warehouse does not know of; below zero, rows it has that the source no longer holds."""
        return self.source - self.loaded - self.rejected


@dataclass(frozen=True)
class GapReport:
    """What differs between `start` and `end` (UTC): hours, and the days of these hours; empty where nothing does.

    `outside` compares the rows outside all days (no usable time, before the first day, in the future). Where times
    are text, `everything` compares the sums over all time, and `untold` says so.
    """

    start: datetime
    end: datetime
    hours: dict[datetime, Counts]
    days: dict[date, Counts]
    outside: Counts | None = None
    everything: Counts | None = None
    untold: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything that can be compared is equal."""
        return not (self.hours or self.days or self.outside or self.everything)


def compared(start: datetime, end: datetime, source: dict[datetime, int], held: HeldCounts) -> GapReport:
    """The hours from `start` to `end` in which `source` (rows per UTC hour) and `held` differ, and their days."""
    hours = {
        hour: Counts(source.get(hour, 0), held.loaded.get(hour, 0), held.rejected.get(hour, 0))
        for hour in sorted({*source, *held.loaded, *held.rejected})
    }
    sums: dict[date, Counts] = {}
    for hour, counts in hours.items():
        so_far = sums.get(hour.date(), Counts(0, 0, 0))
        sums[hour.date()] = Counts(
            so_far.source + counts.source, so_far.loaded + counts.loaded, so_far.rejected + counts.rejected
        )
    differing = {hour: counts for hour, counts in hours.items() if counts.missing}
    days = {day: counts for day, counts in sums.items() if any(hour.date() == day for hour in differing)}
    return GapReport(start, end, differing, days)


def read_gaps(
    url: str, policy: SyncPolicy, warehouse: Warehouse, start: datetime, end: datetime | None = None
) -> GapReport:
    """Counts both sides from `start` to `end` (UTC; as far as the source has been read where it is None) and compares
    them. Raises SourceError, WarehouseError."""
    with warehouse.writer("audit gaps") as writer:
        last = end or writer.position().watermark or start
        held = writer.counts_by_hour(start, last)
    with open_source(url, policy) as source:
        by_hour = source.counts_by_hour(start, last)
        outside = source.count_outside(source.facts().now + policy.future_tolerance)
        if by_hour is None or outside is None:
            everything = Counts(source.count(), held.all_loaded, held.all_rejected)
            return GapReport(start, last, {}, {}, everything=everything if everything.missing else None, untold=_UNTOLD)
    beyond = Counts(outside, 0, held.outside)
    return replace(compared(start, last, by_hour, held), outside=beyond if beyond.missing else None)


_UNTOLD = (
    "the source keeps its times as text or without a zone, so that its days and hours cannot be counted there: only "
    "the sums over all time are compared"
)
