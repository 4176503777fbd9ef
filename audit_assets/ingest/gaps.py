"""Compares source and warehouse: counts rows per UTC hour and day in both and reports the differences; counts the rows
of a whole reconciliation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import open_source
from audit_assets.warehouse.builds import count_rows
from audit_assets.warehouse.protocol import HourDigest, LoadedCounts, Warehouse, start_of
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import open_snapshot


@dataclass(frozen=True)
class Counts:
    """Rows in the source, and rows that the warehouse has loaded and rejected."""

    source: int
    loaded: int
    rejected: int

    @property
    def missing(self) -> int:
        """Source rows the warehouse has not processed; below zero, rows that the source no longer has."""
        return self.source - self.loaded - self.rejected


@dataclass(frozen=True)
class GapReport:
    """The hours between `start` and `end` (UTC) that differ, and their days; empty if nothing differs.

    `outside` compares the rows outside all days (no usable time, before the first day, in the future). If times are
    text, only the totals over all time are compared, in `everything`, and `limitation` explains why.
    """

    start: datetime
    end: datetime
    hours: dict[datetime, Counts]
    days: dict[date, Counts]
    outside: Counts | None = None
    everything: Counts | None = None
    limitation: str | None = None
    compared_rows: int = 0

    @property
    def compared_nothing(self) -> bool:
        """Whether neither side has a row: nothing was compared, so nothing is proven."""
        return self.compared_rows == 0

    @property
    def is_empty(self) -> bool:
        """Whether everything that was compared is equal."""
        return not (self.hours or self.days or self.outside or self.everything)


def compared(start: datetime, end: datetime, source: dict[datetime, int], in_warehouse: LoadedCounts) -> GapReport:
    """The hours from `start` to `end` in which `source` (rows per UTC hour) and warehouse differ, and their days."""
    hours = {
        hour: Counts(source.get(hour, 0), in_warehouse.loaded.get(hour, 0), in_warehouse.rejected.get(hour, 0))
        for hour in sorted({*source, *in_warehouse.loaded, *in_warehouse.rejected})
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


def differing_days(
    source: Mapping[datetime, HourDigest], in_warehouse: Mapping[datetime, HourDigest]
) -> dict[date, tuple[int, int]]:
    """The UTC days with an hour that differs, with the numbers of rows in the source and in the warehouse."""
    days = {hour.date() for hour in {*source, *in_warehouse} if source.get(hour) != in_warehouse.get(hour)}

    def rows(of: Mapping[datetime, HourDigest], day: date) -> int:
        return sum(found.rows for hour, found in of.items() if hour.date() == day)

    return {day: (rows(source, day), rows(in_warehouse, day)) for day in sorted(days)}


def read_gaps(
    url: str,
    policy: SyncPolicy,
    warehouse: Warehouse,
    start: datetime,
    end: datetime | None = None,
    source_now: datetime | None = None,
) -> GapReport:
    """Counts both sides from `start` to `end` (UTC) and compares them.

    If `end` is None, it is as far as the source has been read, at least to the look-back before the source's now; and
    all rows if the source was never read to its end. `source_now` (UTC) replaces the source's clock. Raises
    SourceError, WarehouseError.
    """
    with open_source(url, policy, source_now) as source:
        now = source.facts().now
        with warehouse.writer("audit gaps") as writer:
            last = end or _read_to(writer.position().watermark, now, policy)
            in_warehouse = writer.counts_by_hour(start, last)
        by_hour = source.counts_by_hour(start, last)
        outside = source.count_outside(now + policy.future_tolerance)
        if by_hour is None or outside is None:
            everything = Counts(source.count(), in_warehouse.all_loaded, in_warehouse.all_rejected)
            rows = everything.source + everything.loaded + everything.rejected
            differs = everything if everything.missing else None
            return GapReport(start, last, {}, {}, everything=differs, limitation=_ONLY_SUMS, compared_rows=rows)
    beyond = Counts(outside, 0, in_warehouse.outside)
    rows = (
        sum(sum(part.values()) for part in (by_hour, in_warehouse.loaded, in_warehouse.rejected))
        + outside
        + in_warehouse.outside
    )
    report = compared(start, last, by_hour, in_warehouse)
    return replace(report, outside=beyond if beyond.missing else None, compared_rows=rows)


def _read_to(watermark: datetime | None, now: datetime, policy: SyncPolicy) -> datetime:
    """The time (UTC) before which every source row should be in the warehouse at `now`. A sync that makes no progress
    hides no row; without a watermark the source was never read to its end."""
    return now + policy.future_tolerance if watermark is None else max(watermark, now - policy.lookback)


_ONLY_SUMS = (
    "the source's times are text or have no time zone, so its days and hours cannot be counted there: only the totals "
    "over all time are compared"
)


@dataclass(frozen=True)
class Reconciliation:
    """Rows at the source, loaded, rejected, and counted by the daily mart.

    `closed` is whether source and warehouse hold the same rows up to the watermark. Rows after it are not missing.
    """

    source_rows: int
    loaded_rows: int
    rejected_rows: int
    daily_rows: int
    days: int
    closed: bool

    @property
    def agrees(self) -> bool:
        """Whether every source row is loaded or rejected, and the daily mart counts each loaded row once. False if
        there are no rows at all."""
        return not self.compared_nothing and self.closed and self.loaded_rows == self.daily_rows

    @property
    def compared_nothing(self) -> bool:
        return self.source_rows + self.loaded_rows + self.rejected_rows + self.daily_rows == 0


def reconcile(
    url: str, policy: SyncPolicy, warehouse: Warehouse, snapshot_folder: Path, source_now: datetime | None = None
) -> Reconciliation:
    """Counts the rows of source, warehouse and published daily mart. `source_now` (UTC) replaces the source's clock.
    Raises SourceError, WarehouseError, and SnapshotError if nothing has been published."""
    gaps = read_gaps(url, policy, warehouse, start_of(policy.first_day), source_now=source_now)
    with warehouse.maintenance("counting") as session:
        loaded = count_rows(session)
    with open_source(url, policy) as source:
        at_source = source.count()
    with open_snapshot(snapshot_folder) as connection:
        counted = connection.execute(
            f"""select
                (select coalesce(sum(row_count), 0)::bigint from {SCHEMA}.ai_audit_rejects),
                (select coalesce(sum(interaction_count), 0)::bigint from {SCHEMA}.ai_audit_daily),
                (select count(distinct date) from {SCHEMA}.ai_audit_daily)"""
        ).fetchone()
    assert counted is not None
    rejected, daily, days = counted
    return Reconciliation(at_source, loaded, rejected, daily, days, gaps.is_empty)
