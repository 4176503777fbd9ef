"""The scope of a URL: any query string gives a valid range and valid filters, with notices for ignored values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_assets.dashboards.query.scope import FILTERS, LONGEST_DAYS, LONGEST_VALUE, MOST_VALUES, Scope, read_scope

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
def test_any_url_gives_a_valid_range_and_valid_filters(query: dict[str, str | list[str]]):
    scope, notices = read_scope(query, NOW)

    assert scope.first <= scope.last <= TODAY
    assert (scope.last - scope.first).days < LONGEST_DAYS
    assert all(len(values) <= MOST_VALUES for values in scope.filters.values())
    assert all(0 < len(value) <= LONGEST_VALUE for values in scope.filters.values() for value in values)
    for window in ("range", "24h", "2d", "7d", "14d", "all"):
        span = scope.span(window)
        assert span.start < span.end
        assert span.before.end == span.start
        assert span.first <= span.last
    assert all(len(one) < 300 for one in notices)


@pytest.mark.requirement("R54")
@given(_queries)
def test_a_scope_written_as_a_query_string_is_read_back_unchanged(query: dict[str, str | list[str]]):
    scope, _ = read_scope(query, NOW)

    again, notices = read_scope(parse_qs(scope.query()), NOW)

    assert notices == ()
    assert (again.first, again.last, again.filters) == (scope.first, scope.last, scope.filters)
    assert (again.exact is None) == (scope.exact is None)


@given(st.integers(1, LONGEST_DAYS), st.integers(0, 2000))
def test_days_in_either_order_give_the_same_range(length: int, ago: int):
    last = TODAY - timedelta(days=ago)
    first = last - timedelta(days=length - 1)

    right, _ = read_scope({"from": first.isoformat(), "to": last.isoformat()}, NOW)
    wrong, notices = read_scope({"from": last.isoformat(), "to": first.isoformat()}, NOW)

    assert (right.first, right.last) == (wrong.first, wrong.last) == (first, last)
    assert bool(notices) == (length > 1)


def test_the_default_range_is_the_last_seven_days_including_today():
    scope, notices = read_scope({}, NOW)

    assert (scope.first, scope.last, scope.filters, notices) == (TODAY - timedelta(days=6), TODAY, {}, ())
    assert scope.query() == ""


def test_hours_reach_back_from_now_or_from_the_end_of_a_day_that_is_over():
    today, _ = read_scope({}, NOW)
    past, _ = read_scope({"from": "2026-10-01", "to": "2026-10-03"}, NOW)

    assert today.span("24h").end == NOW
    assert past.span("24h").start == datetime(2026, 10, 3, tzinfo=UTC)
    assert past.span("7d").first == date(2026, 9, 27)


@pytest.mark.requirement("R54")
def test_exact_times_of_an_alert_link_are_kept():
    scope, notices = read_scope({"from": "2026-11-05T10:05:00Z", "to": "2026-11-05T10:20:00+00:00"}, NOW)

    assert notices == ()
    assert scope.span("range").start == datetime(2026, 11, 5, 10, 5, tzinfo=UTC)
    assert scope.span("range").end == datetime(2026, 11, 5, 10, 20, tzinfo=UTC)
    assert "T10%3A05" in scope.query()


@pytest.mark.parametrize(
    ("query", "notice"),
    [
        ({"range": "1y"}, "is not one of 7d, 14d, 30d, 90d"),
        ({"from": "junk"}, "is not a day such as 2026-11-01"),
        ({"from": "2027-01-01"}, "is in the future"),
        ({"from": "2026-11-04", "to": "2026-11-01"}, "swapped"),
        ({"from": "0001-01-01", "to": "2026-11-01"}, f"longer than {LONGEST_DAYS} days"),
        ({"capability": ["x" * 5000, "chat"]}, "ignored 1 of 2 values"),
    ],
)
def test_ignored_input_is_reported_in_a_notice(query: dict[str, str | list[str]], notice: str):
    _, notices = read_scope(query, NOW)

    assert [notice in one for one in notices] == [True]


def test_a_cleared_filter_is_removed_from_the_query_string():
    scope = Scope(TODAY, TODAY, NOW, filters={"capability": ("chat",)})

    assert scope.query() == f"capability=chat&from={TODAY}&to={TODAY}"
    assert scope.with_filter("capability").query() == f"from={TODAY}&to={TODAY}"
