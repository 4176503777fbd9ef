"""Business hours: the calendar of observability/alerts/calendar.yaml and time counted within its hours; pure."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from audit_assets.config.validation import FrozenModel, InvalidFileError, Problem, Timezone, dotted, parse_model
from audit_assets.config.yaml_files import FieldPath

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)  # in the order of date.weekday()
Interval = tuple[datetime, datetime]  # [start, end)

_DAY, _MINUTE, _TICK = timedelta(days=1), timedelta(minutes=1), timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = pl.Datetime("us", "UTC")


class CalendarError(InvalidFileError):
    """The calendar file is invalid."""


def _clock_time(value: Any) -> timedelta:
    """`08:00` as the time since midnight on the local clock; `24:00` is the end of the day."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int) and not isinstance(value, bool):  # YAML reads a bare 19:00 as 19 × 60
        raise ValueError('is read as a number; write the time in quotes, such as "19:00"')
    match = re.fullmatch(r"(\d\d):([0-5]\d)", value) if isinstance(value, str) else None
    time_of_day = match and timedelta(hours=int(match[1]), minutes=int(match[2]))
    if time_of_day is None or time_of_day > timedelta(days=1):
        raise ValueError(f'{value!r} is not a time of day; write hours and minutes in quotes, such as "08:00"')
    return time_of_day


def _plain_date(value: Any) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"{str(value)!r} is not a date; write it as 2026-11-26")
    return value


ClockTime = Annotated[timedelta, BeforeValidator(_clock_time)]
PlainDate = Annotated[date, BeforeValidator(_plain_date)]
HolidayName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Holiday(FrozenModel):
    """A day without business hours."""

    date: PlainDate = Field(description="the date it is observed, such as 2026-11-26")
    name: HolidayName = Field(description="the holiday's name, such as Thanksgiving Day")


class BusinessCalendar(FrozenModel):
    """Open from `opens` to `closes` (local time of `timezone`, since midnight) on `days` that are not holidays."""

    timezone: Timezone = Field(description="the IANA time zone of the hours, such as America/Los_Angeles")
    days: tuple[Weekday, ...] = Field(min_length=1, description="the working days, such as [mon, tue, wed, thu, fri]")
    opens: ClockTime = Field(description='the time of day at which business hours begin, in quotes: "08:00"')
    closes: ClockTime = Field(description='the time of day at which business hours end, in quotes: "19:00"')
    holidays: tuple[Holiday, ...] = Field(description="a list of {date, name}; [] if there are none")

    @field_validator("closes")
    @classmethod
    def _after_opening(cls, closes: timedelta, info: ValidationInfo) -> timedelta:
        opens = info.data.get("opens")
        if opens is not None and closes <= opens:
            raise ValueError(
                f"{_clock_text(closes)} is not after opens ({_clock_text(opens)}); business hours are within one day, "
                "and 24:00 is its end"
            )
        return closes

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def free_days(self) -> frozenset[date]:
        """The dates of the holidays."""
        return frozenset(holiday.date for holiday in self.holidays)

    @property
    def weekdays(self) -> frozenset[int]:
        """The working days as date.weekday() counts them: Monday is 0."""
        return frozenset(WEEKDAYS.index(day) for day in self.days)


def read_calendar(path: Path) -> BusinessCalendar:
    """The calendar in the file `path`. Raises CalendarError with file, line, field and fix of every problem."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}; business hours are read from this file"
        raise CalendarError((Problem(path.name, 1, "", message),)) from None
    return parse_calendar(content, path.name)


def parse_calendar(content: bytes, file: str = "calendar.yaml") -> BusinessCalendar:
    """Parses `content` (YAML) as a calendar; `file` is its name in messages. Raises CalendarError."""
    try:
        calendar, document = parse_model(file, content, BusinessCalendar)
    except InvalidFileError as error:
        raise CalendarError(error.problems) from None
    duplicates = [
        Problem(file, document.line(field_path), dotted(field_path), f"{day} is listed twice; remove one")
        for field_path, day in _duplicates(calendar)
    ]
    if duplicates:
        raise CalendarError(duplicates)
    return calendar


def _duplicates(calendar: BusinessCalendar) -> Iterator[tuple[FieldPath, str]]:
    """Days of the week and dates that are listed a second time."""
    for number, day in enumerate(calendar.days):
        if day in calendar.days[:number]:
            yield ("days", number), day
    seen: set[date] = set()
    for number, holiday in enumerate(calendar.holidays):
        if holiday.date in seen:
            yield ("holidays", number, "date"), holiday.date.isoformat()
        seen.add(holiday.date)


def _clock_text(since_midnight: timedelta) -> str:
    minutes = since_midnight // timedelta(minutes=1)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def is_open(calendar: BusinessCalendar, at: datetime) -> bool:
    """Whether `at` is within business hours. Raises ValueError if `at` has no time zone."""
    wall = _utc(at, "at").astimezone(calendar.zone).replace(tzinfo=None)
    since_midnight = wall - datetime.combine(wall.date(), time())
    return _is_workday(wall.date(), calendar) and calendar.opens <= since_midnight < calendar.closes


def business_minutes_between(calendar: BusinessCalendar, start: datetime, end: datetime) -> float:
    """Business minutes in [start, end); 0 if `end` is not after `start`.

    Friday 18:30 to Monday 09:30 is 120 minutes with hours from 08:00 to 19:00. Raises ValueError without a time zone.
    """
    intervals = open_intervals(calendar, _utc(start, "start"), _utc(end, "end"))
    return sum((closes - opens for opens, closes in intervals), timedelta()) / _MINUTE


def open_intervals(calendar: BusinessCalendar, start: datetime, end: datetime) -> Iterator[Interval]:
    """The business hours within [start, end) as ordered intervals with gaps between them (UTC)."""
    pending: Interval | None = None
    for opens, closes in _pieces(calendar, start, end):
        if pending is not None and pending[1] == opens:
            opens = pending[0]
        elif pending is not None:
            yield pending
        pending = opens, closes
    if pending is not None:
        yield pending


def business_minutes(calendar: BusinessCalendar, starts: pl.Series, ends: pl.Series) -> pl.Series:
    """`business_minutes_between` for each pair, vectorized: the same results, 3.5M pairs per second.

    Both series are Datetime with a time zone and have the same length. The result is Float64, has the name of `starts`
    and is null where either input is null. Raises ValueError.
    """
    if starts.len() != ends.len():
        raise ValueError(f"{starts.len()} starts and {ends.len()} ends do not have the same length")
    first, last = _ticks(starts, "starts"), _ticks(ends, "ends")
    lowest, highest = first.min(), last.max()
    if not isinstance(lowest, int) or not isinstance(highest, int):  # one of the two contains only nulls
        return pl.Series(starts.name, [None], dtype=pl.Float64()).new_from_index(0, starts.len())
    business_time = _BusinessTime(calendar, lowest, highest)
    ticks = (business_time.until(last) - business_time.until(first)).clip(lower_bound=0)
    # numpy divides; polars multiplies by the reciprocal and would differ from the scalar form in the last digit.
    minutes = ticks.fill_null(0).to_numpy() / (_MINUTE // _TICK)
    return pl.Series(starts.name, minutes).set(ticks.is_null(), None)


class _BusinessTime:
    """Business microseconds since `lowest` for any microsecond since 1970 up to `highest`, from a table of openings."""

    def __init__(self, calendar: BusinessCalendar, lowest: int, highest: int) -> None:
        intervals = list(open_intervals(calendar, _EPOCH + lowest * _TICK, _EPOCH + highest * _TICK))
        opens = [lowest, *((opens - _EPOCH) // _TICK for opens, _ in intervals)]
        lengths = [0, *((closes - opens) // _TICK for opens, closes in intervals)]
        self._opens = pl.Series(opens, dtype=pl.Int64())
        self._lengths = pl.Series(lengths, dtype=pl.Int64())
        self._before = self._lengths.cum_sum() - self._lengths

    def until(self, ticks: pl.Series) -> pl.Series:
        """Business microseconds until each of `ticks`; 0 before `lowest`, null for null."""
        known = ticks.fill_null(self._opens[0]).clip(lower_bound=self._opens[0])
        row = self._opens.search_sorted(known, side="right") - 1
        within = known - self._opens.gather(row)
        lengths = self._lengths.gather(row)
        total = self._before.gather(row) + within.zip_with(within < lengths, lengths)
        return total.set(ticks.is_null(), None)


def _pieces(calendar: BusinessCalendar, start: datetime, end: datetime) -> Iterator[Interval]:
    """The business hours within [start, end), split where the zone's offset changes."""
    for begin, until, offset in _offsets(calendar.zone, start, end):
        wall_begin, wall_until = _wall(begin, offset), _wall(until, offset)
        for day in _workdays(calendar, wall_begin.date(), wall_until.date()):
            midnight = datetime.combine(day, time())
            opens = max(wall_begin, midnight + calendar.opens)
            closes = min(wall_until, midnight + calendar.closes)
            if opens < closes:
                yield begin + (opens - wall_begin), begin + (closes - wall_begin)


def _offsets(zone: tzinfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """[start, end) split where the zone's offset from UTC changes: from, to, offset.

    Checks once per day: no zone changes its offset twice in one day.
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
    """Local time, without a zone."""
    return at.replace(tzinfo=None) + offset


def _workdays(calendar: BusinessCalendar, first: date, last: date) -> Iterator[date]:
    weekdays, free_days = calendar.weekdays, calendar.free_days
    for number in range((last - first).days + 1):
        day = first + number * _DAY
        if day.weekday() in weekdays and day not in free_days:
            yield day


def _is_workday(day: date, calendar: BusinessCalendar) -> bool:
    return any(_workdays(calendar, day, day))


def _utc(at: datetime, name: str) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{name} has no time zone; give it in UTC")
    return at.astimezone(UTC)


def _ticks(instants: pl.Series, name: str) -> pl.Series:
    """Microseconds since 1970."""
    dtype = instants.dtype
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        raise ValueError(f"{name} are {dtype}, but times with a time zone are expected; give them in UTC")
    return instants.dt.cast_time_unit("us").to_physical()
