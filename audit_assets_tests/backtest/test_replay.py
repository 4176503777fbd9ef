"""Backtests: alerts per week, spans, weekends, both forms; the plot and the YAML block."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import yaml

from audit_assets.backtest.plot import plot_page
from audit_assets.backtest.replay import backtest, backtest_yaml
from audit_assets.rules.evaluate import evaluate
from audit_assets.rules.explain import explain_rule
from audit_assets.rules.judge import replay
from audit_assets.rules.load import rule_schema
from audit_assets.rules.model import Backtest
from audit_assets_tests.rules.factories import CALENDAR, SHIPPED, STEP_SURGE, made_rule, shipped, steps

pytestmark = pytest.mark.requirement("R38")

QUARTER = timedelta(minutes=15)
SATURDAY = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)  # noon in Los Angeles
SURGE = made_rule(STEP_SURGE)


def two_weeks(*bad: datetime) -> pl.DataFrame:
    """Two weeks of 15-minute steps up to SATURDAY for one capability; `bad` are the failing steps."""
    start = SATURDAY - timedelta(days=14)
    rows: list[dict[str, Any]] = [
        {"step_start": at, "success_count": 0 if at in bad else 9, "error_count": 9 if at in bad else 0}
        for at in (start + n * QUARTER for n in range(14 * 96 + 8))
    ]
    return steps(*rows)


def test_alerts_per_week_are_episodes_over_the_days_that_were_judged():
    until = SATURDAY + timedelta(hours=2)
    history = backtest(SURGE, two_weeks(SATURDAY - timedelta(days=3), SATURDAY, SATURDAY + QUARTER), until, CALENDAR)
    (only,) = history.instances
    assert only.instance == ("live", "chat")
    assert (history.alerts, only.days) == (2, pytest.approx(14 + 2 / 24))
    assert history.alerts_a_week == pytest.approx(2 / (14 + 2 / 24) * 7)
    assert history.weekend_share == 0.5
    assert history.longest == 3 * QUARTER
    assert history.first == SATURDAY - timedelta(days=14)


def test_episodes_that_opened_before_the_requested_days_are_left_out():
    rows = two_weeks(SATURDAY - timedelta(days=3), SATURDAY)
    until, since = SATURDAY + timedelta(hours=2), SATURDAY - timedelta(days=1)
    history = backtest(SURGE, rows, until, CALENDAR, since=since)
    assert history.alerts == 1
    assert history.days == pytest.approx(1 + 2 / 24)


def test_a_backtest_and_live_judging_find_the_same_episodes():
    rows, until = two_weeks(SATURDAY - timedelta(hours=3), SATURDAY), SATURDAY + QUARTER
    live = [episode for episode in replay(SURGE, evaluate(SURGE, rows, until, CALENDAR), until) if episode.is_open]
    assert live == [episode for episode in backtest(SURGE, rows, until, CALENDAR).episodes if episode.is_open]
    assert len(live) == 1


def test_a_backtest_without_rows_has_no_alerts_and_no_error():
    history = backtest(SURGE, steps(), SATURDAY, CALENDAR)
    assert (history.alerts, history.alerts_a_week, history.weekend_share, history.first) == (0, 0.0, None, None)


def test_the_backtest_yaml_block_validates_against_the_model():
    ours = backtest(SURGE, two_weeks(SATURDAY), SATURDAY + QUARTER, CALENDAR)
    block = backtest_yaml(ours, ours, "made rows", date(2026, 11, 25))
    read = Backtest.model_validate(yaml.safe_load(block)["backtest"])
    assert (read.series, read.days, read.alerts_a_week, read.literal_alerts_a_week) == (1, 14, 0.5, 0.5)


def test_the_plot_needs_no_network_and_escapes_capability_names():
    rows = two_weeks(SATURDAY).with_columns(pl.lit("<script>x</script>").alias("capability"))
    history = backtest(SURGE, rows, SATURDAY + QUARTER, CALENDAR)
    page = plot_page({SURGE.watch: rows}, [history], {SURGE.id: SURGE})
    assert "<script>x</script>" not in page
    assert 'src="http' not in page
    assert "error_surge" in page


def outcomes() -> pl.DataFrame:
    """One step in which many calls of one capability failed, but too few to be sure."""
    row = {
        "step_start": SATURDAY, "environment": "live", "capability": "chat", "error_rate_15m": 0.2,
        "error_count_15m": 2, "error_rate_15m_low": 0.1, "base_error_rate": 0.01, "error_rate_60m": 0.1,
        "error_count_60m": 3, "error_rate_60m_low": 0.03, "errors_in_two_workspaces_60m": True,
        "workspace_known_count_60m": 10, "interaction_count": 5, "interaction_count_60m": 10,
    }  # fmt: skip
    return pl.DataFrame([row]).with_columns(pl.col("step_start").dt.convert_time_zone("UTC"))


def test_the_plot_leaves_out_rules_on_tables_without_expected_calls():
    rule = shipped("error_surge")
    history = backtest(rule, outcomes(), SATURDAY + QUARTER, CALENDAR)
    assert history.instances
    page = plot_page({rule.watch: outcomes()}, [history], {rule.id: rule})
    assert "None of these rules evaluates calls per step" in page


def test_an_explanation_gives_the_reason_in_words():
    (explanation,) = explain_rule(shipped("error_surge"), outcomes(), SATURDAY + QUARTER, CALENDAR)
    assert (explanation.instance, explanation.value, explanation.recent) == (("live", "chat"), 0.2, (False,))
    assert explanation.why == "suppressed by surely_twice_the_usual_rate"


@pytest.mark.requirement("R37")
def test_the_committed_rule_schema_matches_the_model():
    assert (SHIPPED / "rule.schema.json").read_text() == rule_schema(), "write it again with `make format`"
