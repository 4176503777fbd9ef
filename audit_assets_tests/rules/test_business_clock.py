"""The business clock: weekends, holidays, summer time, and both forms against a reference count by minute."""

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_assets.rules.business_clock import (
    WEEKDAYS,
    BusinessCalendar,
    business_minutes,
    business_minutes_between,
    is_open,
    open_intervals,
    read_calendar,
)
from audit_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.requirement("R32")

CALENDAR = read_calendar(PROJECT_ROOT / "observability/alerts/calendar.yaml")
PACIFIC = ZoneInfo("America/Los_Angeles")
INSTANT = pl.Datetime("us", "UTC")
MINUTE = timedelta(minutes=1)

# Days near a clock change of these zones: by an hour at night, at midnight, by half an hour, in the south.
CHANGES = {
    "America/Los_Angeles": (date(2026, 3, 8), date(2026, 11, 1)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "America/Santiago": (date(2026, 4, 5), date(2026, 9, 6)),
    "Africa/Cairo": (date(2026, 4, 24), date(2026, 10, 30)),
    "Asia/Kolkata": (date(2026, 3, 8),),
}


def pacific(text: str) -> datetime:
    """A local time in Los Angeles as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=PACIFIC).astimezone(UTC)


def hours(
    opens: str,
    closes: str,
    timezone: str = "America/Los_Angeles",
    days: Sequence[str] = WEEKDAYS,
    holidays: Sequence[date] = (),
) -> BusinessCalendar:
    return BusinessCalendar.model_validate(
        {
            "timezone": timezone,
            "days": days,
            "opens": opens,
            "closes": closes,
            "holidays": [{"date": day, "name": "a holiday"} for day in holidays],
        }
    )


def minutes(start: str, end: str, calendar: BusinessCalendar = CALENDAR) -> float:
    """Business minutes between two local times in Los Angeles; asserts that both forms agree."""
    scalar = business_minutes_between(calendar, pacific(start), pacific(end))
    assert vectorised(calendar, [(pacific(start), pacific(end))]) == [scalar]
    return scalar


def vectorised(
    calendar: BusinessCalendar, pairs: Sequence[tuple[datetime | None, datetime | None]]
) -> list[float | None]:
    starts = pl.Series("since", [start for start, _ in pairs], dtype=INSTANT)
    ends = pl.Series("until", [end for _, end in pairs], dtype=INSTANT)
    answer = business_minutes(calendar, starts, ends)
    assert (answer.name, answer.dtype, answer.len()) == ("since", pl.Float64, len(pairs))
    return answer.to_list()


def test_friday_evening_to_monday_morning_is_two_business_hours():
    assert minutes("2026-11-13 18:30", "2026-11-16 09:30") == 120


def test_a_day_of_work_is_eleven_hours_whenever_it_is_looked_at():
    assert minutes("2026-11-17 00:00", "2026-11-18 00:00") == 11 * 60
    assert minutes("2026-11-17 08:00", "2026-11-17 19:00") == 11 * 60


def test_nights_weekends_and_holidays_have_no_business_minutes():
    assert minutes("2026-11-17 19:00", "2026-11-18 08:00") == 0
    assert minutes("2026-11-13 19:00", "2026-11-16 08:00") == 0
    assert minutes("2026-11-25 19:00", "2026-11-27 08:00") == 0


def test_an_evening_in_los_angeles_counts_for_the_local_day_not_the_utc_day():
    assert is_open(CALENDAR, datetime(2026, 11, 14, 2, 59, tzinfo=UTC))  # Friday 18:59
    assert not is_open(CALENDAR, datetime(2026, 11, 16, 2, 59, tzinfo=UTC))  # Sunday 18:59


def test_the_first_minute_is_open_and_the_closing_minute_is_not():
    moments = ["2026-11-17 07:59:59.999999", "2026-11-17 08:00", "2026-11-17 18:59:59.999999", "2026-11-17 19:00"]
    assert [is_open(CALENDAR, pacific(moment)) for moment in moments] == [False, True, True, False]


def test_a_holiday_is_closed_and_the_day_after_it_is_not():
    days = ["2026-11-25 12:00", "2026-11-26 12:00", "2026-11-27 12:00"]
    assert [is_open(CALENDAR, pacific(day)) for day in days] == [True, False, True]


def test_fractions_of_a_minute_count():
    assert minutes("2026-11-17 09:00:00", "2026-11-17 09:00:00.000003") == 3 / 60e6
    assert minutes("2026-11-17 18:59:30", "2026-11-18 08:00:15") == 0.75


def test_business_minutes_are_zero_when_the_end_is_before_the_start():
    assert minutes("2026-11-17 10:00", "2026-11-17 10:00") == 0
    assert minutes("2026-11-17 10:00", "2026-11-16 10:00") == 0


def test_a_day_on_which_clocks_move_is_23_or_25_hours_long():
    always = hours("00:00", "24:00")
    assert minutes("2026-03-08 00:00", "2026-03-09 00:00", always) == 23 * 60
    assert minutes("2026-11-01 00:00", "2026-11-02 00:00", always) == 25 * 60
    assert minutes("2026-03-10 00:00", "2026-03-11 00:00", always) == 24 * 60


@pytest.mark.parametrize("weekend", ["2026-03-06 18:30/2026-03-09 09:30", "2026-10-30 18:30/2026-11-02 09:30"])
def test_a_weekend_on_which_clocks_move_changes_nothing(weekend: str):
    start, end = weekend.split("/")
    assert minutes(start, end) == 120


def test_hours_that_summer_time_skips_are_short_and_those_it_repeats_are_long():
    night = hours("01:30", "03:30")
    assert minutes("2026-03-08 00:00", "2026-03-08 12:00", night) == 60
    assert minutes("2026-11-01 00:00", "2026-11-01 12:00", night) == 30 + 120  # 01:30–02:00, 01:30–03:30
    skipped = hours("02:15", "02:45")
    assert minutes("2026-03-08 00:00", "2026-03-08 12:00", skipped) == 0


def test_silence_through_a_long_weekend_is_counted_without_its_holiday():
    # Friday 18:00 to Tuesday 09:00 over Memorial Day.
    assert minutes("2026-05-22 18:00", "2026-05-26 09:00") == 120


def test_a_time_without_a_zone_is_rejected():
    naive, zoned = datetime(2026, 11, 17, 12), datetime(2026, 11, 17, 12, tzinfo=UTC)  # noqa: DTZ001
    for start, end in ((naive, zoned), (zoned, naive)):
        with pytest.raises(ValueError, match="has no time zone; give it in UTC"):
            business_minutes_between(CALENDAR, start, end)
    with pytest.raises(ValueError, match="at has no time zone"):
        is_open(CALENDAR, naive)
    with pytest.raises(ValueError, match="but times with a time zone are expected"):
        business_minutes(CALENDAR, pl.Series([naive]), pl.Series([naive]))


def test_instants_may_come_in_any_zone_and_unit():
    start, end = pacific("2026-11-13 18:30"), pacific("2026-11-16 09:30")
    assert (
        business_minutes_between(CALENDAR, start.astimezone(PACIFIC), end.astimezone(ZoneInfo("Asia/Kolkata"))) == 120
    )
    starts = pl.Series([start], dtype=INSTANT).cast(pl.Datetime("ms", "America/Los_Angeles"))
    assert business_minutes(CALENDAR, starts, pl.Series([end], dtype=INSTANT)).to_list() == [120]


def test_null_inputs_stay_null_in_the_vectorized_form():
    at = pacific("2026-11-17 12:00")
    later = at + 5 * MINUTE
    assert vectorised(CALENDAR, [(at, later), (None, at), (at, None), (None, None)]) == [5, None, None, None]
    assert vectorised(CALENDAR, [(None, at), (None, later)]) == [None, None]
    assert vectorised(CALENDAR, [(at, None)]) == [None]
    assert vectorised(CALENDAR, []) == []


def test_series_of_different_lengths_are_rejected():
    at = pl.Series([pacific("2026-11-17 12:00")], dtype=INSTANT)
    with pytest.raises(ValueError, match="1 starts and 2 ends do not have the same length"):
        business_minutes(CALENDAR, at, at.extend_constant(None, 1))


def test_half_a_million_pairs_take_seconds():
    span = pl.Series([pacific("2026-01-01 00:00"), pacific("2026-12-31 00:00")], dtype=INSTANT).to_physical()
    starts = pl.int_range(span[0], span[1], (span[1] - span[0]) // 500_000, eager=True).cast(INSTANT).shuffle(seed=1)
    ends = starts.dt.offset_by("3d")
    begun = time.monotonic()
    answer = business_minutes(CALENDAR, starts, ends)
    assert time.monotonic() - begun < 5  # the scalar form takes half a minute
    assert answer[1000] == business_minutes_between(CALENDAR, starts[1000], ends[1000])


def counted(calendar: BusinessCalendar, closed: Sequence[date], start: datetime, end: datetime) -> int:
    """Reference: counts the minutes whose local time is within business hours."""
    zone = ZoneInfo(calendar.timezone)
    opens, closes = calendar.opens // MINUTE, calendar.closes // MINUTE
    found = 0
    for number in range(max(0, (end - start) // MINUTE)):
        wall = (start + number * MINUTE).astimezone(zone)
        works = WEEKDAYS[wall.weekday()] in calendar.days and wall.date() not in closed
        found += works and opens <= wall.hour * 60 + wall.minute < closes
    return found


@st.composite
def situations(draw: st.DrawFn) -> tuple[BusinessCalendar, list[date], datetime, datetime]:
    """A calendar, its holidays and a span of up to four days near a clock change."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    near = draw(st.sampled_from(CHANGES[zone]))
    opens, closes = sorted(draw(st.lists(st.integers(0, 24 * 60), min_size=2, max_size=2, unique=True)))
    days = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True))
    closed = [near + timedelta(days=day) for day in draw(st.lists(st.integers(-3, 3), max_size=2, unique=True))]
    first, last = (f"{minute // 60:02}:{minute % 60:02}" for minute in (opens, closes))
    calendar = hours(first, last, zone, days, closed)
    noon = datetime(near.year, near.month, near.day, 12, tzinfo=UTC)
    start = noon + draw(st.integers(-4 * 1440, 2 * 1440)) * MINUTE
    return calendar, closed, start, start + draw(st.integers(-100, 4 * 1440)) * MINUTE


ALWAYS = hours("00:00", "24:00", "America/Santiago")


@settings(max_examples=150, deadline=None)
@given(st.lists(situations(), min_size=1, max_size=3))
@example([(ALWAYS, [], datetime(2026, 9, 5, 3, tzinfo=UTC), datetime(2026, 9, 7, 3, tzinfo=UTC))])
def test_both_forms_are_what_a_count_of_every_minute_gives(
    drawn: list[tuple[BusinessCalendar, list[date], datetime, datetime]],
):
    for calendar, closed, start, end in drawn:
        count = counted(calendar, closed, start, end)
        assert business_minutes_between(calendar, start, end) == count
        # A second, wider pair makes the table of openings longer.
        wider = (start - timedelta(days=9), end + timedelta(days=9))
        assert vectorised(calendar, [(start, end), wider])[0] == count


instants = st.datetimes(datetime(2026, 2, 20), datetime(2026, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=50, deadline=None)
@given(situations(), st.lists(st.tuples(st.none() | instants, st.none() | instants), max_size=20))
def test_both_forms_agree_to_the_microsecond(
    drawn: tuple[BusinessCalendar, list[date], datetime, datetime],
    pairs: list[tuple[datetime | None, datetime | None]],
):
    calendar = drawn[0]
    assert vectorised(calendar, pairs) == [
        None if start is None or end is None else business_minutes_between(calendar, start, end) for start, end in pairs
    ]


@settings(max_examples=100, deadline=None)
@given(situations())
def test_is_open_agrees_with_the_open_intervals(
    drawn: tuple[BusinessCalendar, list[date], datetime, datetime],
):
    calendar, _, start, end = drawn
    before = start
    for opens, closes in open_intervals(calendar, start, end):
        assert before < opens < closes <= end or opens == before == start
        assert before == opens or not is_open(calendar, before)
        assert is_open(calendar, opens)
        assert is_open(calendar, closes - timedelta(microseconds=1))
        assert closes == end or not is_open(calendar, closes)
        before = closes
