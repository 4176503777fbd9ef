"""Plans which part of the source a sync reads. Pure functions; all times are UTC."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import Source, SourceFacts
from audit_assets.warehouse.protocol import DayWindow, Mode, SyncPosition, start_of

_DAY = timedelta(days=1)


class WindowError(Exception):
    """A window that cannot be read. The message names the fix."""


@dataclass(frozen=True)
class Request:
    """What the caller requests. `since` and `lookback` bound the modes delta and full, `days` (first, last) the days
    mode. `accept_removal_by` names who allows the sync to remove whatever the source no longer has."""

    mode: Mode
    since: datetime | None = None
    lookback: timedelta | None = None
    days: tuple[date, date] | None = None
    accept_removal_by: str | None = None


@dataclass(frozen=True)
class Plan:
    """What one sync reads: [start, end); whether each window replaces the loaded rows; whether rows outside all days
    are read too; whether the watermark may move; `late_before`, before which an added row counts as repaired; and the
    first UTC day of which the source still has every row."""

    start: datetime
    end: datetime
    replace: bool
    reads_outside: bool
    moves_watermark: bool
    late_before: datetime | None
    first_whole_day: date


def plan(request: Request, position: SyncPosition, facts: SourceFacts, policy: SyncPolicy) -> Plan:
    """The window for `request`.

    delta: from the watermark minus the look-back. full: whole days, back to the last good repair and at least
    `lookback` (24 h). days: those days. A window that starts after the watermark does not move it, so that no later
    sync skips the gap. Raises WindowError for an empty or impossible request, and for days of which the source has
    deleted rows.
    """
    first = start_of(policy.first_day)
    end = facts.now + policy.future_tolerance
    replace, outside = True, request.mode == "full"
    if request.mode == "days":
        if request.days is None:
            raise WindowError("the days mode needs a first and a last day")
        start = start_of(request.days[0])
        end = min(end, start_of(request.days[1] + _DAY))
    elif request.mode == "full":
        start = _repair_start(request, position, facts, policy)
    else:
        replace, outside = False, position.watermark is None and request.since is None
        start = request.since or (
            first if position.watermark is None else position.watermark - (request.lookback or policy.lookback)
        )
    start = max(start, first)
    first_whole_day = first_readable_day(facts.now, policy)
    if replace and position.watermark is not None and start.date() < first_whole_day:
        if request.days is not None or request.since is not None:
            raise WindowError(_beyond_retention(start.date(), first_whole_day, policy))
        start = start_of(first_whole_day)
    if start >= end:
        raise WindowError(
            f"nothing to read: the window would start at {start.isoformat()} and end at {end.isoformat()} "
            f"(the source's now plus {policy.future_tolerance}, times in UTC); choose an earlier start"
        )
    reached = position.watermark or first
    late = position.watermark - policy.lookback if replace and position.watermark else None
    return Plan(start, end, replace, outside, start <= reached, late, first_whole_day)


def first_readable_day(now: datetime, policy: SyncPolicy) -> date:
    """The first UTC day that may be read again at `now` (UTC). By the retention in `policy`, the source has deleted
    rows of earlier days."""
    if policy.source.retention is None:
        return policy.first_day
    return max(policy.first_day, (now - policy.source.retention).date() + _DAY)


def _beyond_retention(day: date, first: date, policy: SyncPolicy) -> str:
    assert policy.source.retention is not None
    return (
        f"{day} lies before {first}: the source keeps its rows for {policy.source.retention.days} days"
        " (source.retention in observability/sync.yaml), so reading it again would find rows missing. Start on"
        f" {first} or later; `audit build --models-only --from DAY --to DAY` rebuilds the models of older days"
    )


def _repair_start(request: Request, position: SyncPosition, facts: SourceFacts, policy: SyncPolicy) -> datetime:
    if request.since is not None:
        return start_of(request.since.astimezone(UTC).date())
    if position.last_repair_at is None or position.watermark is None:
        return start_of(policy.first_day)
    lookback = max(request.lookback or policy.repair.minimum_lookback, policy.repair.minimum_lookback)
    return start_of(min(facts.now - lookback, position.last_repair_at).date())


def split_by_day(start: datetime, end: datetime) -> Iterator[DayWindow]:
    """[start, end) cut at every UTC midnight."""
    while start < end:
        cut = min(end, start_of(start.date() + _DAY))
        yield DayWindow(start.date(), start, cut)
        start = cut


def usable_watermark(position: SyncPosition, facts: SourceFacts, policy: SyncPolicy) -> datetime | None:
    """The watermark to continue from, in the source's time: the recorded one or, if that lies in the future because a
    clock was set back, the start of the newest successful sync (without one, a day ago)."""
    latest = facts.latest_watermark(policy.clock_tolerance)
    if position.watermark is None or position.watermark <= latest:
        return position.watermark
    if position.last_success_at is None:
        return latest - _DAY
    return min(latest, position.last_success_at + timedelta(seconds=facts.clock_skew_seconds))


def watermark_after(
    read_to: datetime, facts: SourceFacts, before: datetime | None, policy: SyncPolicy
) -> datetime | None:
    """How far the source has been read once everything before `read_to` is committed.

    Never after the newest row, the source's now or the reader's now, and never earlier than `before`. For an empty
    source it does not move: rows inserted later may be older.
    """
    newest = facts.now if facts.times_are_text else facts.max_created_at
    if newest is None:
        return before
    reached = min(read_to, newest, facts.latest_watermark(policy.clock_tolerance))
    return reached if before is None else max(before, reached)


# Expected rows in one stream of new days: enough to fill row groups, few enough to commit in seconds.
ROWS_PER_SPAN = 500_000


def day_windows(source: Source, chosen: Plan, loaded: Collection[date]) -> list[DayWindow]:
    """The plan's windows, one per UTC day with rows at the source or (if rows are replaced) in the warehouse, and last
    the window of rows outside all days, if the plan reads them."""
    outside = [DayWindow(None, chosen.start, chosen.end)] if chosen.reads_outside else []
    replaced = loaded if chosen.replace else ()
    listed = source.leading_dates(chosen.start, chosen.end)
    if listed is not None:
        wanted = {*listed, *replaced}
        return [window for window in split_by_day(chosen.start, chosen.end) if window.day in wanted] + outside
    windows: list[DayWindow] = []
    cursor = chosen.start
    while cursor < chosen.end:
        coming = {day for day in replaced if day >= cursor.date()}
        at_source = source.first_day_from(cursor, chosen.end)
        if at_source is not None:
            coming.add(at_source)
        if not coming:
            break
        window = next(split_by_day(max(cursor, start_of(min(coming))), chosen.end))
        windows.append(window)
        cursor = window.end
    return windows + outside


def group_windows(
    source: Source, chosen: Plan, windows: list[DayWindow], loaded: Collection[date]
) -> list[list[DayWindow]]:
    """`windows` in groups: adjacent whole new days together, up to the size of one stream; every other window alone,
    and every day alone if its added rows are recorded as repaired."""
    new = [window for window in windows if window.day is not None and window.day not in loaded]
    if len(new) < 2 or source.times_are_listed or chosen.late_before is not None:
        return [[window] for window in windows]
    expected = source.expected_rows(new[0].start, new[-1].end)
    longest = max(1, min(31, len(new) * ROWS_PER_SPAN // max(expected, 1)))
    groups: list[list[DayWindow]] = []
    for window in windows:
        last = groups[-1] if groups else []
        joins = window in new and last and last[-1] in new and last[-1].end == window.start and len(last) < longest
        if joins:
            last.append(window)
        else:
            groups.append([window])
    return groups
