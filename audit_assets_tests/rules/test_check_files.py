"""`audit rules check` and `list`: the shipped files, and the problems of invalid ones."""

from pathlib import Path

import pytest

from audit_assets.rules.load import RulesReport, check_rule_files, list_rules, runbook_anchors
from audit_assets.rules.routing import read_routing
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.rules.factories import PLAIN, SHIPPED, shipped, shipped_rules, written

pytestmark = pytest.mark.requirement("R37")

ROUTING = read_routing(PROJECT_ROOT / "observability/alerts/routing.yaml")


def checked(folder: Path, runbook: Path | None = None) -> RulesReport:
    return check_rule_files(folder, ROUTING, runbook)


def test_the_shipped_rules_do_what_their_examples_say():
    report = checked(SHIPPED, PROJECT_ROOT / "docs/INGESTION_WORKFLOW.md")
    assert report.ok, report.problems
    assert report.examples >= 2 * report.files >= 22


@pytest.mark.requirement("R38")
def test_a_rule_that_pages_must_have_a_backtest(tmp_path: Path):
    written(tmp_path, PLAIN.replace("[ops]", "[on_call]"))
    (problem,) = checked(tmp_path).problems
    assert str(problem).startswith("volume_spike.yaml:22: routes: pages, but has no backtest; run `audit")


def test_an_unknown_route_is_reported_with_a_suggestion(tmp_path: Path):
    written(tmp_path, PLAIN.replace("[ops]", "[opps]"))
    (problem,) = checked(tmp_path).problems
    assert problem.message == "opps: no such route in routing.yaml; did you mean ops?"


@pytest.mark.requirement("R30", "R31", "R32", "R33", "R34", "R35")
def test_every_rule_that_alerting_names_is_there():
    named = {
        "volume_spike", "volume_drop", "total_volume_spike", "total_volume_drop", "no_recent_logs", "error_surge",
        "total_error_surge", "new_capability", "unknown_status", "freshness_slo", "sync_failed", "long_transaction",
        "removal_held", "check_failed", "run_failed", "capability_cardinality",
        "rows_differ", "repair_overdue", "source_clock_skew", "source_clock_wrong", "source_replica_lag",
    }  # fmt: skip
    assert set(shipped_rules().ids) == named
    assert shipped_rules().problems == ()


@pytest.mark.requirement("R30", "R31", "R33", "R37")
@pytest.mark.parametrize(
    ("rule_id", "literal"),
    [
        ("volume_spike", "day_count > 1.75 * day_median_14d"),
        ("total_volume_spike", "day_count > 1.75 * day_median_14d"),
        ("volume_drop", "day_is_over and day_count < 0.4 * day_median_14d"),
        ("total_volume_drop", "day_is_over and day_count < 0.4 * day_median_14d"),
        ("error_surge", "error_rate_15m > 0.05"),
    ],
)
def test_judge_by_switches_a_rule_to_the_playbooks_literal_form(rule_id: str, literal: str):
    rule = shipped(rule_id)
    assert rule.literal is not None
    assert rule.literal.fires_when == literal
    assert not rule.is_literal
    assert rule.model_copy(update={"judge_by": "literal"}).form.fires_when == literal


def test_a_spike_has_the_playbooks_name_and_colour():
    assert (shipped("volume_spike").title, shipped("volume_spike").colour) == ("AI Copilot Audit Spike", "#7C3AED")


def test_a_failing_example_is_reported_at_its_line(tmp_path: Path):
    written(tmp_path, PLAIN.replace("1.75 *", "2.5 *").replace("175, median_14d: 100", "175, median_14d: 10"))
    report = checked(tmp_path)
    assert [str(problem) for problem in report.problems] == [
        "volume_spike.yaml:18: examples.fires.0: does not fire; fix the row or the condition",
        "volume_spike.yaml:20: examples.does_not_fire.0: fires; fix the row or the condition",
    ]


def test_an_example_that_cannot_be_judged_does_not_count_as_firing(tmp_path: Path):
    written(tmp_path, PLAIN.replace("176, median_14d: 100", "176"))
    (problem,) = checked(tmp_path).problems
    assert problem.message.startswith("cannot be judged (a column it needs is null)")


def test_a_file_that_does_not_load_is_a_problem_and_the_others_are_still_checked(tmp_path: Path):
    written(tmp_path, PLAIN.replace("176", "17"))
    written(tmp_path, PLAIN, "other.yaml")
    report = checked(tmp_path)
    assert [problem.file for problem in report.problems] == ["other.yaml", "volume_spike.yaml"]
    assert report.files == 2


def test_an_empty_folder_is_a_problem_since_nothing_is_watched(tmp_path: Path):
    (problem,) = checked(tmp_path).problems
    assert "nothing is watched" in problem.message


def test_a_rule_without_a_runbook_section_is_reported(tmp_path: Path):
    rules = tmp_path / "rules"
    rules.mkdir()
    written(rules, PLAIN)
    page = tmp_path / "INGESTION_WORKFLOW.md"
    page.write_text("# Ingestion\n## Incident Response\n### `volume_spike`\n")
    assert checked(rules, page).ok
    page.write_text("# Ingestion\nvolume_spike is not a heading here\n")
    assert [str(problem) for problem in checked(rules, page).problems] == [
        "volume_spike.yaml:15: runbook: volume_spike is not a heading of INGESTION_WORKFLOW.md; add its section"
    ]


def test_anchors_are_made_as_github_makes_them():
    text = "# Incident Response\n## AI audit: incidents ##\ntext\n### volume_spike\n"
    assert runbook_anchors(text) == {"incident-response", "ai-audit-incidents", "volume_spike"}


def test_the_list_contains_every_file_and_the_error_of_broken_ones(tmp_path: Path):
    written(tmp_path, PLAIN)
    written(tmp_path, "id: [", "a.yaml")
    broken, fine = list_rules(tmp_path)
    assert (broken.id, broken.file) == ("a", "a.yaml")
    assert broken.problem.startswith("a.yaml:")
    assert (fine.id, fine.severity, fine.problem) == ("volume_spike", "error", "")
