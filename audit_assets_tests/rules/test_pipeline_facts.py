"""Facts on asset checks and runs, from hand-written evaluations and runs."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from audit_assets.rules.pipeline_facts import CheckResult, RunResult, check_facts, run_facts

pytestmark = pytest.mark.requirement("R48")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


def result(passed: bool, *days: date | None, check: str = "grain", asset: str = "daily", rows: int = 3) -> CheckResult:
    return CheckResult(asset, check, "run", NOW, passed, True, frozenset(days or (None,)), 0 if passed else rows)


def failing(*results: CheckResult) -> list[tuple[str, int, int]]:
    found = check_facts(results, NOW, "live")
    return [(row["asset"], row["failing_checks"], row["failing_days"]) for row in found.to_dicts()]


def test_six_failing_checks_of_a_table_are_one_row_that_names_them():
    found = check_facts(
        [result(False, TUESDAY, check=f"check {number}", rows=number) for number in range(6)], NOW, "live"
    )
    (row,) = found.to_dicts()
    assert (row["asset"], row["failing_checks"], row["failing_rows"]) == ("daily", 6, 5)
    assert row["checks"][5] == {"name": "check 5", "rows": 5}


def test_a_check_fails_until_each_day_on_which_it_failed_has_passed():
    wrong = result(False, MONDAY, TUESDAY)
    assert failing(wrong, result(True, TUESDAY)) == [("daily", 1, 1)], "Monday's rows are still wrong"
    assert failing(wrong, result(True, TUESDAY), result(True, MONDAY)) == []
    assert failing(wrong, result(True)) == [], "the whole table has passed"
    assert failing(result(True, MONDAY), wrong) == [("daily", 1, 2)]


def test_a_check_of_a_whole_table_goes_by_its_newest_evaluation():
    assert failing(result(False), result(True)) == []
    assert failing(result(True), result(False)) == [("daily", 1, 0)]


def test_an_evaluation_without_rows_neither_closes_nor_opens_a_failure():
    over_nothing = replace(result(False), is_error=False, was_checked=False)
    assert failing(result(False), over_nothing) == [("daily", 1, 0)]
    assert failing(over_nothing) == []
    assert failing(result(False), over_nothing, result(True)) == []


def test_a_warning_is_not_a_failure_and_does_not_affect_other_tables():
    warned = CheckResult("daily", "mirror", "run", NOW, False, False, frozenset({None}), 1)
    assert failing(warned) == []
    assert failing(result(False, asset="a"), result(True, asset="b")) == [("a", 1, 0)]


def test_failed_runs_are_counted_by_kind():
    runs = [
        RunResult("audit_sync delta", f"r{number}", NOW - timedelta(minutes=number), "models") for number in range(2)
    ]
    found = run_facts([*runs, RunResult("upkeep upkeep", "r9", NOW, "prune_runs")], NOW, "live").to_dicts()
    assert [(row["run"], row["failed_runs"]) for row in found] == [("audit_sync delta", 2), ("upkeep upkeep", 1)]
    assert run_facts([], NOW, "live").height == check_facts([], NOW, "live").height == 0
