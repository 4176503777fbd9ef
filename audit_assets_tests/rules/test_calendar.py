"""The calendar of business hours: the shipped file, and the errors of an invalid one."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_assets.rules.business_clock import CalendarError, parse_calendar, read_calendar
from audit_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.requirement("R32")

SHIPPED = PROJECT_ROOT / "observability/alerts/calendar.yaml"

PLAIN = """\
timezone: America/Los_Angeles
days: [mon, tue, wed, thu, fri]
opens: "08:00"
closes: "19:00"
holidays:
  - {date: 2026-11-26, name: Thanksgiving Day}
  - date: 2026-12-25
    name: Christmas Day
"""


def changed(old: str, new: str) -> bytes:
    assert old in PLAIN
    return PLAIN.replace(old, new).encode()


def problems_of(content: bytes) -> list[str]:
    """The problems of a calendar with `content`; empty if it is valid."""
    try:
        parse_calendar(content)
    except CalendarError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_work_is_from_eight_to_seven_pacific_time_on_weekdays():
    calendar = read_calendar(SHIPPED)
    assert (calendar.timezone, calendar.days) == ("America/Los_Angeles", ("mon", "tue", "wed", "thu", "fri"))
    assert (calendar.opens, calendar.closes) == (timedelta(hours=8), timedelta(hours=19))


def test_the_shipped_holidays_are_eleven_per_year_and_on_weekdays():
    calendar = read_calendar(SHIPPED)
    # New Year's Day of 2028 falls on a Saturday, so it is observed in 2027.
    assert Counter(holiday.date.year for holiday in calendar.holidays) == {2026: 11, 2027: 12}
    assert [holiday for holiday in calendar.holidays if holiday.date.weekday() > 4] == []


@pytest.mark.parametrize("year", [2026, 2027])
def test_the_shipped_holidays_are_the_federal_ones(year: int):
    def nth(month: int, weekday: int, number: int) -> date:
        """The `number`th such weekday of the month; -1 is the last."""
        days = [date(year, month, 1) + timedelta(days=day) for day in range(31)]
        return [day for day in days if day.month == month and day.weekday() == weekday][number]

    def kept(day: date) -> date:
        return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))

    monday, thursday = 0, 3
    moving = [nth(1, monday, 2), nth(2, monday, 2), nth(5, monday, -1), nth(9, monday, 0), nth(10, monday, 1)]
    moving.append(nth(11, thursday, 3))
    fixed = [kept(date(year, month, day)) for month, day in ((1, 1), (6, 19), (7, 4), (11, 11), (12, 25))]
    shipped = {day for day in read_calendar(SHIPPED).free_days if day.year == year}
    assert shipped - {date(2027, 12, 31)} == {*moving, *fixed}


def test_a_plain_calendar_loads():
    calendar = parse_calendar(PLAIN.encode())
    assert [(holiday.date, holiday.name) for holiday in calendar.holidays] == [
        (date(2026, 11, 26), "Thanksgiving Day"),
        (date(2026, 12, 25), "Christmas Day"),
    ]
    assert calendar.weekdays == {0, 1, 2, 3, 4}


def test_a_calendar_without_holidays_and_with_whole_days_loads():
    calendar = parse_calendar(b'timezone: UTC\ndays: [sun]\nopens: "00:00"\ncloses: "24:00"\nholidays: []\n')
    assert (calendar.closes - calendar.opens, calendar.free_days) == (timedelta(days=1), frozenset())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "America/Los_Angeles",
            "America/Los_Angles",
            "1: timezone: 'America/Los_Angles' is not an IANA time zone; write one such as",
        ),
        (
            "America/Los_Angeles",
            "America",
            "1: timezone: 'America' is not an IANA time zone; write one such as America/Los_Angeles",
        ),
        ("timezone:", "timezon:", "1: timezon: unknown field; did you mean timezone?"),
        ("wed", "wednesday", "2: days.2: 'wednesday' is not mon, tue, wed, thu, fri, sat or sun"),
        ("wed", "Wed", "2: days.2: 'Wed' is not mon, tue, wed, thu, fri, sat or sun; did you mean wed?"),
        ("wed", "tue", "2: days.2: tue is listed twice; remove one"),
        ("[mon, tue, wed, thu, fri]", "[]", "2: days: [] is not valid"),
        ("[mon, tue, wed, thu, fri]", "mon", "2: days: 'mon' is not valid"),
        ('"08:00"', '"8:00"', "3: opens: '8:00' is not a time of day; write hours and minutes in quotes, such as"),
        ('"08:00"', '"08:60"', "3: opens: '08:60' is not a time of day"),
        ('"08:00"', "null", "3: opens: None is not a time of day"),
        ('"19:00"', "19:00", '4: closes: is read as a number; write the time in quotes, such as "19:00"'),
        ('"19:00"', '"24:01"', "4: closes: '24:01' is not a time of day"),
        (
            '"19:00"',
            '"07:30"',
            "4: closes: 07:30 is not after opens (08:00); business hours are within one day, and 24:00 is its end",
        ),
        ('"19:00"', '"08:00"', "4: closes: 08:00 is not after opens (08:00)"),
        ('closes: "19:00"\n', "", "1: closes: is missing: the time of day at which business hours end, in quotes:"),
        ("2026-11-26", "2026-11-31", "6: holidays.0.date: cannot read '2026-11-31' as timestamp"),
        ("2026-11-26", "20261126", "6: holidays.0.date: '20261126' is not a date; write it as 2026-11-26"),
        ("2026-11-26", '"20261126"', "6: holidays.0.date: '20261126' is not a date; write it as 2026-11-26"),
        ("2026-11-26", '"2026-11-31"', "6: holidays.0.date: "),
        ("2026-11-26", "2026-11-26 09:00:00", "6: holidays.0.date: '2026-11-26 09:00:00' is not a date"),
        ("2026-12-25", "2026-11-26", "7: holidays.1.date: 2026-11-26 is listed twice; remove one"),
        ("    name: Christmas Day\n", "", "7: holidays.1.name: is missing: the holiday's name"),
        ("    name:", "    nam:", "8: holidays.1.nam: unknown field; did you mean name?"),
        ("    name: Christmas Day", "    name: 25", "8: holidays.1.name: 25 is not valid"),
        (
            "{date: 2026-11-26, name: Thanksgiving Day}",
            "2026-11-26",
            "6: holidays.0: datetime.date(2026, 11, 26) is not",
        ),
        ("fri]", "fri", "3: is not YAML"),
    ],
)
def test_an_error_names_its_line_field_and_fix_and_is_reported_once(old: str, new: str, message: str):
    (line,) = problems_of(changed(old, new))
    assert line.startswith(f"calendar.yaml:{message}")


def test_all_errors_are_reported_together_in_line_order():
    content = changed("wed", "wensday").replace(b'"19:00"', b"19:00").replace(b"2026-12-25", b"soon")
    assert [line.split(": ")[:2] for line in problems_of(content)] == [
        ["calendar.yaml:2", "days.2"],
        ["calendar.yaml:4", "closes"],
        ["calendar.yaml:7", "holidays.1.date"],
    ]


def test_a_calendar_that_cannot_be_read_names_the_file_and_why(tmp_path: Path):
    with pytest.raises(CalendarError, match=r"^none\.yaml:1: cannot be read: No such file or directory"):
        read_calendar(tmp_path / "none.yaml")
    (tmp_path / "hours.yaml").write_text("soon", encoding="utf-8")
    with pytest.raises(CalendarError, match=r"^hours\.yaml:1: has no fields"):
        read_calendar(tmp_path / "hours.yaml")


def test_the_message_of_an_invalid_calendar_lists_one_error_per_line():
    with pytest.raises(CalendarError) as error:
        parse_calendar(b"days: 1\nopens: 1\n", "hours.yaml")
    lines = str(error.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["hours.yaml:1"] * 4 + ["hours.yaml:2"]


def test_a_calendar_cannot_be_changed_after_loading():
    calendar = parse_calendar(PLAIN.encode())
    with pytest.raises(ValueError, match="frozen"):
        calendar.timezone = "UTC"


@settings(deadline=None)
@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 8), st.text("[]{}:-\"' \n0a,#", max_size=3))
def test_any_edit_of_the_file_loads_or_reports_an_error_with_its_line(at: int, removed: int, typed: str):
    for line in problems_of((PLAIN[:at] + typed + PLAIN[at + removed :]).encode()):
        assert line.startswith("calendar.yaml:")
