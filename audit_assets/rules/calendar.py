"""When people are at work, as judged by people: the frozen form of observability/alerts/calendar.yaml."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from audit_assets.rules.complaints import complaints, dotted
from audit_assets.rules.document import DocumentError, Place, read_document
from audit_assets.rules.durations import Timezone
from audit_assets.rules.model import Problem

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)  # in the order of date.weekday()


class CalendarError(Exception):
    """A calendar that cannot be used; the message is its problems, a line each."""

    def __init__(self, problems: tuple[Problem, ...]):
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def _clock_time(value: Any) -> timedelta:
    """`08:00` as the time since midnight that the clock shows; `24:00` is the end of the day."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int) and not isinstance(value, bool):  # YAML reads a bare 19:00 as 19 × 60
        raise ValueError('is read as a number; write the time in quotes, such as "19:00"')
    match = re.fullmatch(r"(\d\d):([0-5]\d)", value) if isinstance(value, str) else None
    shown = match and timedelta(hours=int(match[1]), minutes=int(match[2]))
    if shown is None or shown > timedelta(days=1):
        raise ValueError(f'{value!r} is no time of day; write hours and minutes in quotes, such as "08:00"')
    return shown


def _plain_date(value: Any) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"{str(value)!r} is no date; write it as 2026-11-26")
    return value


ClockTime = Annotated[timedelta, BeforeValidator(_clock_time)]
PlainDate = Annotated[date, BeforeValidator(_plain_date)]
HolidayName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Holiday(_Frozen):
    """A day on which nobody is at work."""

    date: PlainDate = Field(description="the day it is kept, such as 2026-11-26")
    name: HolidayName = Field(description="what day it is, such as Thanksgiving Day")


class BusinessCalendar(_Frozen):
    """Open from `opens` to `closes` (the clock of `timezone`, since midnight) on `days` that are no holiday."""

    timezone: Timezone = Field(description="the IANA time zone of the hours, such as America/Los_Angeles")
    days: tuple[Weekday, ...] = Field(min_length=1, description="the days of work, such as [mon, tue, wed, thu, fri]")
    opens: ClockTime = Field(description='the time of day at which work begins, in quotes: "08:00"')
    closes: ClockTime = Field(description='the time of day at which work ends, in quotes: "19:00"')
    holidays: tuple[Holiday, ...] = Field(description="a list of {date, name}; [] where there are none")

    @field_validator("closes")
    @classmethod
    def _after_opening(cls, closes: timedelta, info: ValidationInfo) -> timedelta:
        opens = info.data.get("opens")
        if opens is not None and closes <= opens:
            raise ValueError(
                f"{_shown(closes)} is not after opens ({_shown(opens)}); hours lie within one day, 24:00 is its end"
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
        """The days of work as date.weekday() counts them: Monday is 0."""
        return frozenset(WEEKDAYS.index(day) for day in self.days)


def read_calendar(path: Path) -> BusinessCalendar:
    """The calendar in the file `path`. Raises CalendarError with file, line, field and mend of all that is wrong."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}; the business hours are kept there"
        raise CalendarError((Problem(path.name, 1, "", message),)) from None
    return parse_calendar(content, path.name)


def parse_calendar(content: bytes, file: str = "calendar.yaml") -> BusinessCalendar:
    """The calendar that `content` (YAML) holds; `file` is its name in messages. Raises CalendarError."""
    try:
        document = read_document(content)
    except DocumentError as error:
        raise CalendarError((Problem(file, error.line, error.field, error.message),)) from None
    try:
        calendar = BusinessCalendar.model_validate(document.values)
    except ValidationError as error:
        raise CalendarError(_in_order(complaints(file, document, BusinessCalendar, error))) from None
    doubles = [
        Problem(file, document.line(place), dotted(place), f"{day} stands twice; remove one")
        for place, day in _doubles(calendar)
    ]
    if doubles:
        raise CalendarError(_in_order(doubles))
    return calendar


def _doubles(calendar: BusinessCalendar) -> Iterator[tuple[Place, str]]:
    """Days of the week and dates that stand there a second time."""
    for number, day in enumerate(calendar.days):
        if day in calendar.days[:number]:
            yield ("days", number), day
    seen: set[date] = set()
    for number, holiday in enumerate(calendar.holidays):
        if holiday.date in seen:
            yield ("holidays", number, "date"), holiday.date.isoformat()
        seen.add(holiday.date)


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.field)))


def _shown(since_midnight: timedelta) -> str:
    minutes = since_midnight // timedelta(minutes=1)
    return f"{minutes // 60:02}:{minutes % 60:02}"
