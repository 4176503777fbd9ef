"""Which part of the source a sync reads; pure. All times are UTC."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import SourceFacts
from audit_assets.warehouse.protocol import DayWindow, Mode, SyncPosition, start_of

_DAY = timedelta(days=1)


class WindowError(Exception):
    """A window that cannot be read. The message says what would do."""


@dataclass(frozen=True)
class Request:
    """What the caller asks for. `since` and `lookback` bound delta and full; `days` (first, last) the days mode."""

    mode: Mode
    since: datetime | None = None
    lookback: timedelta | None = None
    days: tuple[date, date] | None = None


@dataclass(frozen=True)
class Plan:
    """What one sync reads: [start, end), whether each window replaces what is held, whether rows outside all days
    are read too, whether the watermark may move, and before when an added row counts as repaired."""

    start: datetime
    end: datetime
    replace: bool
    reads_outside: bool
    moves_watermark: bool
    late_before: datetime | None


def plan(request: Request, position: SyncPosition, facts: SourceFacts, policy: SyncPolicy) -> Plan:
    """The window for `request`.

    delta: from the watermark less the look-back. full: whole days, back to the last good repair and at least
    `lookback` (24 h). days: those days. A window that starts after the watermark leaves it where it is, so that
    no later sync skips what lies between. Raises WindowError on an empty or impossible request.
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
    if start >= end:
        raise WindowError(
            f"nothing to read: the window would start at {start.isoformat()} and end at {end.isoformat()} "
            f"(the source's now plus {policy.future_tolerance}, times in UTC); choose an earlier start"
        )
    reached = position.watermark or first
    late = position.watermark - policy.lookback if replace and position.watermark else None
    return Plan(start, end, replace, outside, start <= reached, late)


def _repair_start(request: Request, position: SyncPosition, facts: SourceFacts, policy: SyncPolicy) -> datetime:
    if request.since is not None:
        return start_of(request.since.astimezone(UTC).date())
    if position.last_repair_at is None or position.watermark is None:
        return start_of(policy.first_day)
    lookback = max(request.lookback or policy.repair.minimum_lookback, policy.repair.minimum_lookback)
    return start_of(min(facts.now - lookback, position.last_repair_at).date())


def by_day(start: datetime, end: datetime) -> Iterator[DayWindow]:
    """[start, end) cut at every UTC midnight."""
    while start < end:
        cut = min(end, start_of(start.date() + _DAY))
        yield DayWindow(start.date(), start, cut)
        start = cut


def watermark_after(read_to: datetime, facts: SourceFacts, before: datetime | None) -> datetime | None:
    """How far the source has been read once all before `read_to` is committed: never past the newest row or the
    source's now, never back. An empty source has not been read: what is loaded into it later may be older."""
    newest = facts.now if facts.times_are_text else facts.max_created_at
    if newest is None:
        return before
    reached = min(read_to, newest, facts.now)
    return reached if before is None else max(before, reached)
