"""Rule evaluation: which rows fire, which are evaluated, which cannot be judged, and the figures of findings."""

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_assets.rules.evaluate import RuleError
from audit_assets.rules.judge import Failure, RuleResult, delta_percent
from audit_assets.rules.load import load_rules
from audit_assets_tests.rules.factories import (
    LAST_STEP,
    NOW,
    PLAIN,
    TODAY,
    YESTERDAY,
    changed,
    days,
    judge,
    judge_all,
    literal_rules,
    steps,
    written,
)

SPIKE, SURGE = literal_rules().rules


@pytest.mark.requirement("R30")
def test_a_spike_fires_above_the_factor_and_not_at_it():
    at = {"capability": "at", "interaction_count": 175, "median_14d": 100}
    above = {"capability": "above", "interaction_count": 176, "median_14d": 100}
    findings = judge(SPIKE, days(at, above), NOW).findings
    assert [finding.dimensions for finding in findings] == [(("capability", "above"),)]
    assert (findings[0].value, findings[0].baseline, findings[0].threshold) == (176, 100, 175)
    assert findings[0].delta_percent == pytest.approx(76)


@pytest.mark.requirement("R30")
def test_the_running_day_and_the_last_closed_one_are_judged_and_no_other():
    rows = [
        {"date": TODAY + timedelta(days=offset), "interaction_count": 900, "median_14d": 100}
        for offset in (-3, -2, -1, 0, 1)
    ]
    result = judge(SPIKE, days(*rows), NOW)
    assert result.judged == 2
    (episode,) = result.episodes
    assert (episode.latest.window_start.date(), episode.since.date()) == (TODAY, TODAY - timedelta(days=3))
    assert result.window_start == datetime(2026, 11, 22, tzinfo=UTC)
    assert result.window_end == datetime(2026, 11, 24, tzinfo=UTC)


def test_a_finding_holds_its_own_window_in_utc():
    (finding,) = judge(SPIKE, days({"interaction_count": 900, "median_14d": 100}), NOW).findings
    assert finding.window_start == datetime(2026, 11, 23, tzinfo=UTC)
    assert finding.window_end == datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.requirement("R30")
def test_without_a_median_or_history_a_row_is_counted_and_not_judged():
    result = judge(
        SPIKE,
        days(
            {"capability": "no median", "interaction_count": 900, "median_14d": None},
            {
                "capability": "new",
                "interaction_count": 900,
                "median_14d": 1,
                "evaluation_status": "insufficient_history",
            },
            {"capability": "no status", "interaction_count": 900, "median_14d": 1, "evaluation_status": None},
            {"capability": "calm", "interaction_count": 1, "median_14d": 1},
        ),
        NOW,
    )
    assert (result.findings, result.judged, result.unjudgeable) == ((), 1, 3)


@pytest.mark.requirement("R33")
def test_an_error_surge_counts_only_calls_whose_outcome_is_known():
    surge = {"capability": "surge", "success_count": 94, "error_count": 6, "unknown_count": 900}
    calm = {"capability": "calm", "success_count": 95, "error_count": 5, "unknown_count": 0}
    silent = {"capability": "silent", "success_count": 0, "error_count": 0, "unknown_count": 40}
    result = judge(SURGE, steps(surge, calm, silent), NOW)
    (finding,) = result.findings
    assert (finding.dimension("capability"), finding.value, finding.threshold) == ("surge", 0.06, 0.05)
    assert (finding.baseline, finding.delta_percent) == (None, None)
    assert (result.judged, result.unjudgeable) == (2, 1)


@pytest.mark.requirement("R33")
def test_only_the_last_complete_quarter_of_an_hour_is_judged():
    bad = {"success_count": 0, "error_count": 9}
    rows = [
        {**bad, "step_start": LAST_STEP - timedelta(minutes=15)},
        {**bad, "step_start": LAST_STEP},
        {**bad, "step_start": LAST_STEP + timedelta(minutes=15)},
    ]
    (finding,) = judge(SURGE, steps(*rows), NOW).findings
    assert (finding.window_start, finding.window_end) == (LAST_STEP, LAST_STEP + timedelta(minutes=15))


@pytest.mark.parametrize(
    ("now", "start"),
    [
        (datetime(2026, 11, 23, 14, 0, tzinfo=UTC), datetime(2026, 11, 23, 13, 45, tzinfo=UTC)),
        (datetime(2026, 11, 23, 13, 59, 59, 999999, tzinfo=UTC), datetime(2026, 11, 23, 13, 30, tzinfo=UTC)),
        (
            datetime(2026, 11, 23, 20, 5, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(2026, 11, 23, 14, 0, tzinfo=UTC),
        ),
    ],
)
def test_a_step_is_closed_when_its_last_microsecond_is_over(now: datetime, start: datetime):
    rows = [
        {"success_count": 0, "error_count": 9, "step_start": LAST_STEP + n * timedelta(minutes=15)}
        for n in range(-4, 4)
    ]
    result = judge(SURGE, steps(*rows), now)
    assert (result.window_start, result.window_end) == (start, start + timedelta(minutes=15))
    assert result.judged == 1


def test_a_day_ends_at_midnight_utc_in_whatever_zone_now_is_given():
    evening_in_california = datetime(2026, 11, 22, 17, 0, tzinfo=timezone(timedelta(hours=-8)))
    calm = [{"interaction_count": 1, "median_14d": 9, "date": TODAY + timedelta(days=n)} for n in (-2, -1, 0)]
    result = judge(SPIKE, days(*calm), evening_in_california)
    assert (result.window_start, result.window_end) == (
        datetime(2026, 11, 22, tzinfo=UTC),
        datetime(2026, 11, 24, tzinfo=UTC),
    )


def test_a_running_day_that_does_not_fire_yet_does_not_resolve_an_episode():
    rows = [
        {"date": YESTERDAY, "interaction_count": 900, "median_14d": 100},
        {"date": TODAY, "interaction_count": 1, "median_14d": 100},
    ]
    assert len(judge(SPIKE, days(*rows), NOW).episodes) == 1
    over = NOW + timedelta(days=1)
    assert judge(SPIKE, days(*rows), over).episodes == ()


def test_a_now_without_a_zone_is_rejected():
    with pytest.raises(ValueError, match="no time zone"):
        judge(SPIKE, days(), datetime(2026, 11, 23))  # noqa: DTZ001


def test_each_environment_is_an_instance_of_its_own():
    bad = {"success_count": 0, "error_count": 9}
    findings = judge(SURGE, steps({**bad, "environment": "sim"}, {**bad, "environment": "local"}), NOW).findings
    assert [finding.environment for finding in findings] == ["local", "sim"]


def test_episodes_are_ordered_worst_first():
    rows = [
        {"capability": "some", "interaction_count": 200, "median_14d": 100},
        {"capability": "none usually", "interaction_count": 3, "median_14d": 0},
        {"capability": "most", "interaction_count": 9000, "median_14d": 1000},
    ]
    findings = judge(SPIKE, days(*rows), NOW).findings
    assert [finding.dimension("capability") for finding in findings] == ["most", "some", "none usually"]
    assert findings[2].delta_percent is None


def test_without_rows_nothing_is_judged():
    for result in (judge(SPIKE, days(), NOW), judge(SURGE, steps(), NOW)):
        assert (result.findings, result.judged, result.unjudgeable) == ((), 0, 0)


def test_a_missing_column_is_an_error_that_names_it():
    for column in ("median_14d", "interaction_count", "date", "capability", "evaluation_status"):
        with pytest.raises(RuleError, match=f"^volume_spike: the facts lack {SPIKE.watch}.{column}; rebuild"):
            judge(SPIKE, days().drop(column), NOW)


def test_a_column_no_expression_needs_may_be_missing():
    facts = days({"interaction_count": 900, "median_14d": 100}).drop("z_score", "reason")
    assert len(judge(SPIKE, facts, NOW).findings) == 1


def test_a_column_of_another_type_is_an_error():
    with pytest.raises(RuleError, match=r"median_14d is String, but a number is expected"):
        judge(SPIKE, days().with_columns(pl.lit("7").alias("median_14d")), NOW)
    with pytest.raises(RuleError, match=r"step_start is .*, but a time with a time zone is expected"):
        judge(SURGE, steps().with_columns(pl.col("step_start").dt.replace_time_zone(None)), NOW)
    with pytest.raises(RuleError, match=r"date is String, but a date is expected"):
        judge(SPIKE, days().with_columns(pl.col("date").cast(pl.String)), NOW)


def test_decimals_small_integers_and_other_zones_are_judged_alike():
    facts = days({"interaction_count": 176, "median_14d": 100}).with_columns(
        pl.col("interaction_count").cast(pl.Int32), pl.col("median_14d").cast(pl.Decimal(18, 3))
    )
    assert len(judge(SPIKE, facts, NOW).findings) == 1
    moved = steps({"success_count": 0, "error_count": 1}).with_columns(
        pl.col("step_start").dt.convert_time_zone("America/Los_Angeles").dt.cast_time_unit("ms")
    )
    (finding,) = judge(SURGE, moved, NOW).findings
    assert finding.window_start == LAST_STEP
    assert finding.window_start.utcoffset() == timedelta(0)


def test_a_duplicate_row_is_an_error_and_not_two_findings():
    row = {"interaction_count": 900, "median_14d": 100}
    with pytest.raises(RuleError, match=r"has two rows for .*chat"):
        judge(SPIKE, days(row, row), NOW)


@pytest.mark.requirement("R37")
def test_editing_a_threshold_changes_what_fires(tmp_path: Path):
    facts = {SPIKE.watch: days({"interaction_count": 176, "median_14d": 100})}
    for factor, count in (("1.75", 1), ("2.5", 0)):
        written(tmp_path, changed(f"fires_when: interaction_count > {factor} * median_14d"))
        (outcome,) = judge_all(load_rules(tmp_path), facts, NOW)
        assert isinstance(outcome, RuleResult)
        assert len(outcome.findings) == count


@pytest.mark.requirement("R37")
def test_a_rule_that_cannot_be_evaluated_fails_alone_and_a_broken_file_is_a_failure(tmp_path: Path):
    written(tmp_path, PLAIN)
    written(tmp_path, PLAIN.replace("volume_spike", "other_spike").replace("unit:", "unt:"), "other_spike.yaml")
    written(
        tmp_path,
        PLAIN.replace("volume_spike", "z_spike").replace("when: interaction_count", "when: z_score"),
        "z_spike.yaml",
    )
    facts = {SPIKE.watch: days({"interaction_count": 900, "median_14d": 100}).drop("z_score")}
    broken, fine, failing = judge_all(load_rules(tmp_path), facts, NOW)
    assert isinstance(broken, Failure)
    assert "did you mean unit?" in broken.message
    assert isinstance(fine, RuleResult)
    assert len(fine.findings) == 1
    assert isinstance(failing, Failure)
    assert "z_spike: the facts lack" in failing.message


def test_a_table_that_was_not_built_is_a_failure():
    outcomes = judge_all(literal_rules(), {}, NOW)
    assert [type(outcome) for outcome in outcomes] == [Failure, Failure]
    assert "ai_audit_capability_grid is missing; build the models first" in outcomes[0].message  # type: ignore[union-attr]


ODD = st.one_of(st.none(), st.floats(), st.integers(-(2**63), 2**63 - 1).map(float))
COUNTS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(st.tuples(COUNTS, ODD, st.sampled_from(["ok", "incomplete_day", None])), max_size=8))
def test_whatever_figures_the_facts_hold_every_row_is_judged_or_counted(rows: list[tuple[Any, Any, Any]]):
    facts = days(
        *(
            {"capability": str(n), "interaction_count": count, "median_14d": median, "evaluation_status": status}
            for n, (count, median, status) in enumerate(rows)
        )
    )
    result = judge(SPIKE, facts, NOW)
    assert result.judged + result.unjudgeable == len(rows)
    for finding in result.findings:
        count, median, status = rows[int(finding.dimension("capability"))]
        assert status is not None
        assert math.isfinite(median)
        assert float(count) > 1.75 * median
        assert finding.delta_percent is None or math.isfinite(finding.delta_percent)
    assert list(result.findings) == sorted(result.findings, key=lambda finding: -finding.deviation)


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=8))
def test_a_surge_never_fires_without_a_known_outcome(rows: list[tuple[Any, Any]]):
    facts = steps(
        *({"capability": str(n), "success_count": good, "error_count": bad} for n, (good, bad) in enumerate(rows))
    )
    for finding in judge(SURGE, facts, NOW).findings:
        good, bad = rows[int(finding.dimension("capability"))]
        assert float(good) + float(bad) != 0
        assert float(bad) / (float(good) + float(bad)) > 0.05


@pytest.mark.requirement("R30")
@given(st.floats(0, 1e9), st.floats(1e-3, 1e9))
def test_delta_is_value_over_baseline_less_one_in_percent(value: float, baseline: float):
    assert delta_percent(value, baseline) == pytest.approx((value / baseline - 1) * 100)


def test_delta_is_none_without_a_baseline():
    assert delta_percent(5, 0) is None
    assert delta_percent(5, None) is None
    assert delta_percent(None, 5) is None
    assert delta_percent(0, 5) == -100


TWO_CONDITIONS = (
    PLAIN
    + """\
any_of:
  by_hand:
    fires_when: interaction_count > 1000
    value: interaction_count
    threshold: 1000
"""
)


@pytest.mark.requirement("R37")
def test_a_finding_has_the_figures_of_the_first_condition_that_holds(tmp_path: Path):
    written(tmp_path, TWO_CONDITIONS)
    (rule,) = load_rules(tmp_path).rules
    rows = [
        {"capability": "both", "interaction_count": 2000, "median_14d": 100},
        {"capability": "other", "interaction_count": 1001, "median_14d": 900},
        {"capability": "no median", "interaction_count": 1002, "median_14d": None},
        {"capability": "neither", "interaction_count": 900, "median_14d": 900},
    ]
    findings = {finding.dimension("capability"): finding for finding in judge(rule, days(*rows), NOW).findings}
    assert {name: (finding.condition, finding.threshold, finding.baseline) for name, finding in findings.items()} == {
        "both": ("", 175, 100),
        "other": ("by_hand", 1000, None),
        "no median": ("by_hand", 1000, None),
    }


@pytest.mark.requirement("R37")
def test_an_error_in_a_further_condition_is_reported_at_its_line(tmp_path: Path):
    written(tmp_path, TWO_CONDITIONS.replace("threshold: 1000", "threshold: interactions"))
    (broken,) = load_rules(tmp_path).broken
    assert broken.message.startswith("volume_spike.yaml:27: any_of.by_hand.threshold: interactions: unknown column of")
