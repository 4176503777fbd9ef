"""What an address asks for: any text gives a range and filters that can be shown, and says what was left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_assets.dashboards.scope import FILTERS, LONGEST_DAYS, LONGEST_VALUE, MOST_VALUES, Scope, read_scope

NOW = datetime(2026, 11, 5, 12, 7, tzinfo=UTC)
TODAY = NOW.date()

_days = st.dates(date(1, 1, 1), date(9999, 12, 31)).map(date.isoformat)
_times = st.datetimes(timezones=st.sampled_from([None, UTC])).map(datetime.isoformat)
_values = st.one_of(
    st.text(max_size=300), _days, _times, st.sampled_from(["7d", "90d", "", "T", "9999-99-99", "\x00", "0"])
)
_names = st.sampled_from([*FILTERS, "range", "from", "to", "page"])
_queries = st.dictionaries(_names, st.one_of(_values, st.lists(_values, max_size=60)), max_size=8)


@pytest.mark.requirement("R54")
@given(_queries)
def test_any_address_gives_a_range_and_filters_that_can_be_shown(query: dict[str, str | list[str]]):
    scope, told = read_scope(query, NOW)

    assert scope.first <= scope.last <= TODAY
    assert (scope.last - scope.first).days < LONGEST_DAYS
    assert all(len(values) <= MOST_VALUES for values in scope.filters.values())
    assert all(0 < len(value) <= LONGEST_VALUE for values in scope.filters.values() for value in values)
    for window in ("range", "24h", "2d", "7d", "14d", "all"):
        span = scope.span(window)
        assert span.start < span.end
        assert span.before.end == span.start
        assert span.first <= span.last
    assert all(len(one) < 300 for one in told)


@pytest.mark.requirement("R54")
@given(_queries)
def test_a_scope_that_is_written_as_an_address_is_read_back_the_same(query: dict[str, str | list[str]]):
    scope, _ = read_scope(query, NOW)

    again, told = read_scope(parse_qs(scope.query()), NOW)

    assert told == ()
    assert (again.first, again.last, again.filters) == (scope.first, scope.last, scope.filters)
    assert (again.exact is None) == (scope.exact is None)


@given(st.integers(1, LONGEST_DAYS), st.integers(0, 2000))
def test_days_in_either_order_are_the_days_asked_for(length: int, ago: int):
    last = TODAY - timedelta(days=ago)
    first = last - timedelta(days=length - 1)

    right, _ = read_scope({"from": first.isoformat(), "to": last.isoformat()}, NOW)
    wrong, told = read_scope({"from": last.isoformat(), "to": first.isoformat()}, NOW)

    assert (right.first, right.last) == (wrong.first, wrong.last) == (first, last)
    assert bool(told) == (length > 1)


def test_without_a_word_it_is_the_last_seven_days_with_today():
    scope, told = read_scope({}, NOW)

    assert (scope.first, scope.last, scope.filters, told) == (TODAY - timedelta(days=6), TODAY, {}, ())
    assert scope.query() == ""


def test_hours_reach_back_from_now_or_from_the_end_of_a_day_that_is_over():
    today, _ = read_scope({}, NOW)
    past, _ = read_scope({"from": "2026-10-01", "to": "2026-10-03"}, NOW)

    assert today.span("24h").end == NOW
    assert past.span("24h").start == datetime(2026, 10, 3, tzinfo=UTC)
    assert past.span("7d").first == date(2026, 9, 27)


@pytest.mark.requirement("R54")
def test_an_alerts_link_names_times_and_they_are_kept():
    scope, told = read_scope({"from": "2026-11-05T10:05:00Z", "to": "2026-11-05T10:20:00+00:00"}, NOW)

    assert told == ()
    assert scope.span("range").start == datetime(2026, 11, 5, 10, 5, tzinfo=UTC)
    assert scope.span("range").end == datetime(2026, 11, 5, 10, 20, tzinfo=UTC)
    assert "T10%3A05" in scope.query()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"range": "1y"}, "not one of 7d, 14d, 30d, 90d"),
        ({"from": "junk"}, "not a day, as 2026-11-01"),
        ({"from": "2027-01-01"}, "lies in the future"),
        ({"from": "2026-11-04", "to": "2026-11-01"}, "swapped"),
        ({"from": "0001-01-01", "to": "2026-11-01"}, f"longer than {LONGEST_DAYS} days"),
        ({"capability": ["x" * 5000, "chat"]}, "1 of 2 values are not usable"),
    ],
)
def test_what_is_left_out_is_told(query: dict[str, str | list[str]], said: str):
    _, told = read_scope(query, NOW)

    assert [said in one for one in told] == [True]


def test_a_filter_that_is_taken_back_is_gone_from_the_address():
    scope = Scope(TODAY, TODAY, NOW, filters={"capability": ("chat",)})

    assert scope.query() == f"capability=chat&from={TODAY}&to={TODAY}"
    assert scope.with_filter("capability").query() == f"from={TODAY}&to={TODAY}"
