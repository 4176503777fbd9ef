"""The format of figures, limits, windows and durations on every channel."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.alerting.notify import formatting
from audit_assets.rules.model import Unit
from audit_assets_tests.alerting.notification_factories import alert
from audit_assets_tests.rules.factories import NOW, shipped, shipped_rules

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1742, "count", "1,742"),
        (12.5, "count", "12.5"),
        (0.0, "count", "0"),
        (0.0725, "share", "7.25 %"),
        (7.2, "minutes", "7 min"),
        (1e300, "count", "1e+300"),
        (None, "count", "not known"),
        (NAN, "share", "not known"),
        (-INF, "minutes", "not known"),
    ],
)
def test_a_figure_is_written_by_its_unit(value: float | None, unit: Unit, expected: str):
    assert formatting.figure(value, unit) == expected


@pytest.mark.parametrize(
    ("rule", "condition", "expected"),
    [
        ("volume_spike", "", "above 625 calls in 2 hours"),
        ("volume_spike", "one_hour", "above 625 calls in an hour"),
        ("volume_drop", "", "below 118 calls in 2 hours"),
        ("volume_drop", "low_day", "below 118 calls since midnight"),
        ("no_recent_logs", "", "at least 120 min of business time without a call"),
        ("error_surge", "", "above 5.00 % of the calls of 15 minutes failed"),
        ("new_capability", "", "at most 60 min since its first use"),
        ("freshness_slo", "", "above 5 min since the last complete sync"),
        ("sync_failed", "", "at least 3 syncs failed in a row"),
        ("repair_overdue", "", "above 36 hours since the last good repair"),
    ],
)
def test_a_limit_shows_on_which_side_it_fires(rule: str, condition: str, expected: str):
    of = shipped(rule)
    assert formatting.limit(of, alert(of, condition=condition)) == expected


def test_every_condition_of_every_rule_shows_what_it_counts():
    assert [
        rule.id for rule in shipped_rules().rules if any(each.value_is is None for each in rule.conditions.values())
    ] == []


def test_a_condition_that_was_removed_is_shown_as_the_rules_main_condition():
    rule = shipped("volume_spike")
    assert formatting.how_much(rule, alert(rule, condition="gone")).startswith("1,742 calls in 2 hours, usually 399")


def test_a_deviation_without_a_baseline_is_not_shown():
    episode = alert(shipped("volume_spike"))
    assert formatting.delta(episode) == "+337 %"
    assert [formatting.delta(replace(episode, delta_percent=percent)) for percent in (None, NAN, INF)] == ["", "", ""]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-11-23T13:45", "2026-11-23T14:00", "2026-11-23 13:45 to 14:00 UTC"),
        ("2026-11-22T00:00", "2026-11-23T00:00", "2026-11-22 00:00 to 24:00 UTC"),
        ("2026-11-23T00:00", "2026-11-24T00:00", "2026-11-23 00:00 to 24:00 UTC, still running at 14:05"),
        ("2026-11-22T23:00", "2026-11-23T01:00", "2026-11-22 23:00 to 2026-11-23 01:00 UTC"),
        ("2026-11-23T14:05", "2026-11-23T14:05", "2026-11-23 14:05 UTC"),
    ],
)
def test_a_window_shows_its_date_and_utc(start: str, end: str, expected: str):
    begins, ends = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    assert formatting.window(begins, ends, NOW) == expected


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(-3, "0 min"), (0, "0 min"), (59, "59 min"), (60, "1 h"), (80, "1 h 20 min"), (1440, "1 d"), (3000, "2 d 2 h")],
)
def test_a_duration_has_at_most_two_units(minutes: int, expected: str):
    assert formatting.duration(timedelta(minutes=minutes)) == expected


def test_data_freshness_shows_the_date_if_it_is_not_today():
    assert formatting.known_up_to(NOW - timedelta(minutes=2), NOW) == "data known up to 14:03 UTC, 2 min ago"
    assert formatting.known_up_to(NOW - timedelta(days=1), NOW) == "data known up to 2026-11-22 14:05 UTC, 1 d ago"
    assert "unknown" in formatting.known_up_to(None, NOW)


def test_bars_go_from_zero_to_the_highest_and_leave_gaps():
    assert formatting.sparkline((0, None, 50, 100, NAN)) == "▁ ▅█ "
    assert formatting.sparkline(tuple(map(float, range(50)))) == formatting.sparkline(tuple(map(float, range(38, 50))))
    assert formatting.sparkline((0.0, 0.0)) == "▁▁"
    assert formatting.sparkline((None, NAN)) == formatting.sparkline(()) == ""
