"""Options of a rule beside its condition: active hours, missing figures, when an episode ends, and contributors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from audit_assets.rules.evaluate import FIRES, evaluate
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import replay
from audit_assets.rules.model import Rule
from audit_assets.rules.top_contributors import contributors, newly_registered
from audit_assets_tests.rules.factories import CALENDAR, LAST_STEP, STEP_SURGE, judge, made_rule, shipped, steps

pytestmark = pytest.mark.requirement("R33")

QUARTER = timedelta(minutes=15)
UNTIL = LAST_STEP + QUARTER
BAD: dict[str, Any] = {"success_count": 1, "error_count": 9}
MIDDLING: dict[str, Any] = {"success_count": 97, "error_count": 3}
GOOD: dict[str, Any] = {"success_count": 100, "error_count": 0}
UNKNOWN: dict[str, Any] = {"success_count": 0, "error_count": 0}

# A Monday evening in America/Los_Angeles, the calendar's zone, and noon of that day.
NIGHT = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def surge(**for_clause: Any) -> Rule:
    return made_rule(STEP_SURGE).model_copy(update=for_clause)


def fires(rule: Rule, *rows: dict[str, Any]) -> list[bool | None]:
    until = max(row.get("step_start", LAST_STEP) for row in rows) + QUARTER
    return evaluate(rule, steps(*rows), until, CALENDAR).get_column(FIRES).to_list()


def states(rule: Rule, *series: dict[str, Any]) -> list[str]:
    """The states of the episodes of a series, one step per row, up to the last closed step."""
    rows = [{**figures, "step_start": LAST_STEP - (len(series) - 1 - n) * QUARTER} for n, figures in enumerate(series)]
    return [episode.state for episode in replay(rule, evaluate(rule, steps(*rows), UNTIL, CALENDAR), UNTIL)]


def test_a_business_hours_rule_does_not_fire_at_night():
    rows = ({**BAD, "step_start": NOON}, {**BAD, "step_start": NIGHT})
    assert fires(surge(active="business_hours"), *rows) == [True, None]
    assert fires(surge(), *rows) == [True, True]


@pytest.mark.parametrize("policy", ["keep", "ok", "alert"])
def test_a_business_hours_rule_ignores_missing_figures_at_night(policy: str):
    rule = surge(active="business_hours", no_data=policy)
    by_day = {"keep": None, "ok": False, "alert": True}[policy]
    assert fires(rule, {**UNKNOWN, "step_start": NOON}, {**UNKNOWN, "step_start": NIGHT}) == [by_day, None]


def test_an_episode_of_the_day_is_still_open_in_the_morning():
    night = [{**GOOD, "step_start": NIGHT + n * QUARTER} for n in range(8)]
    rows = [{**BAD, "step_start": NOON}, *night]
    (episode,) = replay(
        rule := surge(active="business_hours"),
        evaluate(rule, steps(*rows), NIGHT + 8 * QUARTER, CALENDAR),
        NIGHT + 8 * QUARTER,
    )
    assert episode.state == "firing"


@pytest.mark.parametrize(("policy", "state"), [("keep", "firing"), ("ok", "resolved"), ("alert", "firing")])
def test_what_a_row_without_figures_does_to_an_open_episode(policy: str, state: str):
    assert states(surge(no_data=policy), BAD, UNKNOWN) == [state]


@pytest.mark.parametrize(("policy", "opened"), [("keep", []), ("ok", []), ("alert", ["firing"])])
def test_only_alert_opens_an_episode_without_figures(policy: str, opened: list[str]):
    assert states(surge(no_data=policy), GOOD, UNKNOWN) == opened


def test_an_episode_ends_when_clears_when_holds_and_not_when_its_condition_ends():
    rule = surge(clears_when="error_count / (success_count + error_count) < 0.02")
    assert states(rule, BAD, MIDDLING, MIDDLING) == ["firing"]
    assert states(rule, BAD, MIDDLING, GOOD) == ["resolved"]
    assert states(surge(), BAD, MIDDLING, MIDDLING) == ["resolved"]


def _row(table: str, **figures: Any) -> dict[str, Any]:
    usual = {"step_start": LAST_STEP, "environment": "live"}
    return {**dict.fromkeys(TABLES[table].schema), **usual, **figures}


def _parts(*rows: tuple[str, float, float]) -> pl.DataFrame:
    table = "ai_audit_capability_grid"
    known = [_row(table, capability=name, count_2h=value, usual_2h=usual) for name, value, usual in rows]
    return pl.DataFrame(known, schema=dict(TABLES[table].schema), orient="row")


def _total(value: float, usual: float, **figures: Any) -> pl.DataFrame:
    table = "ai_audit_total_grid"
    row = _row(table, count_2h=value, usual_2h=usual, comparable_days=14, **figures)
    return pl.DataFrame([row], schema=dict(TABLES[table].schema), orient="row")


def test_a_spike_of_a_total_lists_the_contributing_capabilities_largest_first():
    rule = shipped("total_volume_spike")
    peaks = {"peak_2nd_2h": 400, "week_before_2h": 300, "highest_step_2h": 150}
    facts = {rule.watch: _total(1000, 300, **peaks)}
    (finding,) = judge(rule, facts[rule.watch], UNTIL).findings
    parts = _parts(("steady", 100, 100), ("runaway", 650, 50), ("growing", 150, 90), ("less", 60, 80))
    assert contributors(finding, rule, {**facts, "ai_audit_capability_grid": parts}, at_most=2) == [
        ("runaway", 650.0, 50.0),
        ("growing", 150.0, 90.0),
    ]
    assert contributors(finding, rule, facts) == [], "without the parts nobody is named"


def test_a_drop_of_a_total_lists_the_capabilities_that_fell():
    rule = shipped("total_volume_drop")
    low = {"lowest_2nd_2h": 200, "ratio_2h": 0.0, "low_ratio_2nd_2h": 0.5}
    (finding,) = judge(rule, total := _total(0, 300, **low), UNTIL).findings
    parts = _parts(("broken", 0, 250), ("quiet", 0, 50), ("up", 5, 1))
    named = contributors(finding, rule, {rule.watch: total, "ai_audit_capability_grid": parts})
    assert named[0] == ("broken", 0.0, 250.0)


def test_a_flood_of_new_capabilities_lists_the_newest_and_counts_the_rest():
    rule = shipped("capability_cardinality")
    minutes = [1.0, 1.0, *(2.0 + number / 100 for number in range(20_000)), 1441.0]
    names = ["b", "a", *(f"junk {number:05}" for number in range(20_000)), "of yesterday"]
    registry = pl.DataFrame(
        {"capability": names, "environment": "live", "registered_silently": False, "minutes_since_registered": minutes}
    )
    sim, silent = (
        registry.with_columns(pl.lit(value).alias(name))
        for name, value in (("environment", "sim"), ("registered_silently", True))
    )
    tables = {"ai_audit_capabilities": pl.concat([registry, sim, silent])}
    names_shown, more = newly_registered(rule, tables, at_most=3)
    assert (names_shown, more) == (("a", "b", "junk 00000"), 20_000 + 2 - 3)
    assert newly_registered(rule, {}) == ((), 0)
    assert newly_registered(shipped("sync_failed"), tables) == ((), 0)
