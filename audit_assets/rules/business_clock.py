"""The time that passes while people are at work; pure. Instants come in with their zone and leave in UTC.

Open is what the clock on the wall says: from `opens` to `closes` on a day of work. Where summer time skips or repeats
a part of those hours, they are shorter or longer by it.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import polars as pl

from audit_assets.rules.calendar import BusinessCalendar

Stretch = tuple[datetime, datetime]  # [start, end)

_DAY, _MINUTE, _TICK = timedelta(days=1), timedelta(minutes=1), timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=14)
_INSTANT = pl.Datetime("us", "UTC")


def is_open(calendar: BusinessCalendar, at: datetime) -> bool:
    """Whether people are at work at `at`. Raises ValueError where `at` has no time zone."""
    wall = _utc(at, "at").astimezone(calendar.zone).replace(tzinfo=None)
    shown = wall - datetime.combine(wall.date(), time())
    return _is_work(wall.date(), calendar) and calendar.opens <= shown < calendar.closes


def business_minutes_between(calendar: BusinessCalendar, start: datetime, end: datetime) -> float:
    """Minutes of work in [start, end); 0 where `end` is not after `start`.

    Friday 18:30 to Monday 09:30 is 120 where work is from 08:00 to 19:00. Raises ValueError without a time zone.
    """
    stretches = open_stretches(calendar, _utc(start, "start"), _utc(end, "end"))
    return sum((closes - opens for opens, closes in stretches), timedelta()) / _MINUTE


def next_opening(calendar: BusinessCalendar, at: datetime) -> datetime:
    """`at` where people are at work then, else when they next begin (UTC). Raises ValueError without a time zone."""
    start = _utc(at, "at")
    while True:
        for opens, _ in open_stretches(calendar, start, start + _AHEAD):
            return opens
        start += _AHEAD


def open_stretches(calendar: BusinessCalendar, start: datetime, end: datetime) -> Iterator[Stretch]:
    """The times of work within [start, end), in order, none touching the next (UTC)."""
    pending: Stretch | None = None
    for opens, closes in _pieces(calendar, start, end):
        if pending is not None and pending[1] == opens:
            opens = pending[0]
        elif pending is not None:
            yield pending
        pending = opens, closes
    if pending is not None:
        yield pending


def business_minutes(calendar: BusinessCalendar, starts: pl.Series, ends: pl.Series) -> pl.Series:
    """`business_minutes_between` of each pair, null where either is null: the same figures, 3.5M pairs in a second.

    Both are Datetime with a zone, of one length; the answer is Float64 by the name of `starts`. Raises ValueError.
    """
    if starts.len() != ends.len():
        raise ValueError(f"{starts.len()} starts and {ends.len()} ends are no pairs")
    first, last = _ticks(starts, "starts"), _ticks(ends, "ends")
    lowest, highest = first.min(), last.max()
    if not isinstance(lowest, int) or not isinstance(highest, int):  # one of the two holds nothing but nulls
        return pl.Series(starts.name, [None], dtype=pl.Float64()).new_from_index(0, starts.len())
    worked = _Worked(calendar, lowest, highest)
    ticks = (worked.until(last) - worked.until(first)).clip(lower_bound=0)
    # numpy divides; polars multiplies by the reciprocal, and would differ from the other form in the last digit.
    minutes = ticks.fill_null(0).to_numpy() / (_MINUTE // _TICK)
    return pl.Series(starts.name, minutes).set(ticks.is_null(), None)


class _Worked:
    """Microseconds of work since `lowest`, at any microsecond since 1970 up to `highest`: a table of all openings."""

    def __init__(self, calendar: BusinessCalendar, lowest: int, highest: int) -> None:
        stretches = list(open_stretches(calendar, _EPOCH + lowest * _TICK, _EPOCH + highest * _TICK))
        opens = [lowest, *((opens - _EPOCH) // _TICK for opens, _ in stretches)]
        lengths = [0, *((closes - opens) // _TICK for opens, closes in stretches)]
        self._opens = pl.Series(opens, dtype=pl.Int64())
        self._lengths = pl.Series(lengths, dtype=pl.Int64())
        self._before = self._lengths.cum_sum() - self._lengths

    def until(self, ticks: pl.Series) -> pl.Series:
        """Work until each of `ticks`; none before `lowest`, null for null."""
        known = ticks.fill_null(self._opens[0]).clip(lower_bound=self._opens[0])
        row = self._opens.search_sorted(known, side="right") - 1
        within = known - self._opens.gather(row)
        lengths = self._lengths.gather(row)
        total = self._before.gather(row) + within.zip_with(within < lengths, lengths)
        return total.set(ticks.is_null(), None)


def _pieces(calendar: BusinessCalendar, start: datetime, end: datetime) -> Iterator[Stretch]:
    """The times of work within [start, end), cut where the zone's offset changes."""
    for begin, until, offset in _offsets(calendar.zone, start, end):
        wall_begin, wall_until = _wall(begin, offset), _wall(until, offset)
        for day in _workdays(calendar, wall_begin.date(), wall_until.date()):
            midnight = datetime.combine(day, time())
            opens = max(wall_begin, midnight + calendar.opens)
            closes = min(wall_until, midnight + calendar.closes)
            if opens < closes:
                yield begin + (opens - wall_begin), begin + (closes - wall_begin)


def _offsets(zone: tzinfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """[start, end) cut where the zone's offset from UTC changes: from, to, offset.

    Looks at each day: no zone changes its offset twice in one.
    """
    begin, probe = start, start
    while probe < end:
        following = min(probe + _DAY, end)
        if _offset(zone, following) != _offset(zone, probe):
            change = _change(zone, probe, following)
            yield begin, change, _offset(zone, begin)
            begin = change
        probe = following
    if begin < end:
        yield begin, end, _offset(zone, begin)


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """The first instant that has the offset of `after`."""
    old = _offset(zone, before)
    while after - before > _TICK:
        middle = before + (after - before) // 2
        before, after = (middle, after) if _offset(zone, middle) == old else (before, middle)
    return after


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _wall(at: datetime, offset: timedelta) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return at.replace(tzinfo=None) + offset


def _workdays(calendar: BusinessCalendar, first: date, last: date) -> Iterator[date]:
    weekdays, free_days = calendar.weekdays, calendar.free_days
    for number in range((last - first).days + 1):
        day = first + number * _DAY
        if day.weekday() in weekdays and day not in free_days:
            yield day


def _is_work(day: date, calendar: BusinessCalendar) -> bool:
    return any(_workdays(calendar, day, day))


def _utc(at: datetime, name: str) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{name} has no time zone; give it in UTC")
    return at.astimezone(UTC)


def _ticks(instants: pl.Series, name: str) -> pl.Series:
    """Microseconds since 1970."""
    dtype = instants.dtype
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        raise ValueError(f"{name} are {dtype}, where times with their zone are expected; give them in UTC")
    return instants.dt.cast_time_unit("us").to_physical()
