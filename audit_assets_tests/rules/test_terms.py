"""What a rule says beside its condition: when it is awake, what missing figures mean, when it is over, whose part it
was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from audit_assets.rules.answers import FIRES, answers
from audit_assets.rules.contributors import contributors
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import replay
from audit_assets.rules.model import Rule
from audit_assets_tests.rules.made import CALENDAR, LAST_STEP, STEP_SURGE, judge, made_rule, shipped, steps

pytestmark = pytest.mark.requirement("R33")

QUARTER = timedelta(minutes=15)
UNTIL = LAST_STEP + QUARTER
BAD: dict[str, Any] = {"success_count": 1, "error_count": 9}
MIDDLING: dict[str, Any] = {"success_count": 97, "error_count": 3}
GOOD: dict[str, Any] = {"success_count": 100, "error_count": 0}
UNKNOWN: dict[str, Any] = {"success_count": 0, "error_count": 0}

# The calendar's zone is America/Los_Angeles: a Monday evening there, and the noon before.
NIGHT = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def surge(**terms: Any) -> Rule:
    return made_rule(STEP_SURGE).model_copy(update=terms)


def told(rule: Rule, *rows: dict[str, Any]) -> list[bool | None]:
    until = max(row.get("step_start", LAST_STEP) for row in rows) + QUARTER
    return answers(rule, steps(*rows), until, CALENDAR).get_column(FIRES).to_list()


def states(rule: Rule, *series: dict[str, Any]) -> list[str]:
    """The states of the episodes of a series, a step each up to the last closed one."""
    rows = [{**figures, "step_start": LAST_STEP - (len(series) - 1 - n) * QUARTER} for n, figures in enumerate(series)]
    return [episode.state for episode in replay(rule, answers(rule, steps(*rows), UNTIL, CALENDAR), UNTIL)]


def test_a_rule_of_business_hours_says_nothing_at_night():
    rows = ({**BAD, "step_start": NOON}, {**BAD, "step_start": NIGHT})
    assert told(surge(active="business_hours"), *rows) == [True, None]
    assert told(surge(), *rows) == [True, True]


@pytest.mark.parametrize("policy", ["keep", "ok", "alert"])
def test_at_night_it_says_nothing_of_missing_figures_either(policy: str):
    rule = surge(active="business_hours", no_data=policy)
    by_day = {"keep": None, "ok": False, "alert": True}[policy]
    assert told(rule, {**UNKNOWN, "step_start": NOON}, {**UNKNOWN, "step_start": NIGHT}) == [by_day, None]


def test_an_episode_of_the_day_is_still_open_in_the_morning():
    night = [{**GOOD, "step_start": NIGHT + n * QUARTER} for n in range(8)]
    rows = [{**BAD, "step_start": NOON}, *night]
    (episode,) = replay(
        rule := surge(active="business_hours"),
        answers(rule, steps(*rows), NIGHT + 8 * QUARTER, CALENDAR),
        NIGHT + 8 * QUARTER,
    )
    assert episode.state == "firing"


@pytest.mark.parametrize(("policy", "state"), [("keep", "firing"), ("ok", "resolved"), ("alert", "firing")])
def test_what_a_row_without_figures_does_to_an_open_episode(policy: str, state: str):
    assert states(surge(no_data=policy), BAD, UNKNOWN) == [state]


@pytest.mark.parametrize(("policy", "opened"), [("keep", []), ("ok", []), ("alert", ["firing"])])
def test_only_alert_opens_an_episode_without_figures(policy: str, opened: list[str]):
    assert states(surge(no_data=policy), GOOD, UNKNOWN) == opened


def test_an_episode_ends_where_the_rule_says_and_not_where_its_condition_ends():
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


def test_a_totals_spike_names_the_capabilities_that_made_it_the_greatest_first():
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


def test_a_totals_drop_names_those_that_fell():
    rule = shipped("total_volume_drop")
    low = {"lowest_2nd_2h": 200, "ratio_2h": 0.0, "low_ratio_2nd_2h": 0.5}
    (finding,) = judge(rule, total := _total(0, 300, **low), UNTIL).findings
    parts = _parts(("broken", 0, 250), ("quiet", 0, 50), ("up", 5, 1))
    named = contributors(finding, rule, {rule.watch: total, "ai_audit_capability_grid": parts})
    assert named[0] == ("broken", 0.0, 250.0)
