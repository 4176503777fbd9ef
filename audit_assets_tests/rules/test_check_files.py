"""`audit rules check` and `list`: the shipped files, and what is found in bad ones."""

from pathlib import Path

import pytest

from audit_assets.rules.check_files import check_rule_files, list_rules, runbook_anchors
from audit_assets_tests.rules.made import PLAIN, SHIPPED, shipped, written

pytestmark = pytest.mark.requirement("R37")


def test_the_shipped_rules_do_what_their_examples_say():
    report = check_rule_files(SHIPPED)
    assert report.ok, report.problems
    assert report.examples >= 2 * report.files >= 4


@pytest.mark.requirement("R30", "R33")
def test_the_shipped_rules_are_the_playbooks_literal_ones():
    assert shipped("volume_spike").fires_when == "interaction_count > 1.75 * median_14d"
    assert shipped("error_surge").fires_when == "error_count / (success_count + error_count) > 0.05"
    assert shipped("volume_spike").title == "AI Copilot Audit Spike"
    assert shipped("volume_spike").colour == "#7C3AED"


def test_an_example_that_does_not_hold_is_told_at_its_line(tmp_path: Path):
    written(tmp_path, PLAIN.replace("1.75 *", "2.5 *").replace("175, median_14d: 100", "175, median_14d: 10"))
    report = check_rule_files(tmp_path)
    assert [str(problem) for problem in report.problems] == [
        "volume_spike.yaml:18: examples.fires.0: does not fire; mend the row, or fires_when",
        "volume_spike.yaml:20: examples.does_not_fire.0: fires; mend the row, or fires_when",
    ]


def test_an_example_that_cannot_be_judged_does_not_count_as_firing(tmp_path: Path):
    written(tmp_path, PLAIN.replace("176, median_14d: 100", "176"))
    (problem,) = check_rule_files(tmp_path).problems
    assert problem.message.startswith("cannot be judged (a column it needs is null)")


def test_a_file_that_does_not_load_is_a_problem_and_the_others_are_still_checked(tmp_path: Path):
    written(tmp_path, PLAIN.replace("176", "17"))
    written(tmp_path, PLAIN, "other.yaml")
    report = check_rule_files(tmp_path)
    assert [problem.file for problem in report.problems] == ["other.yaml", "volume_spike.yaml"]
    assert report.files == 2


def test_an_empty_folder_is_a_problem_since_nothing_is_watched(tmp_path: Path):
    (problem,) = check_rule_files(tmp_path).problems
    assert "nothing is watched" in problem.message


def test_a_rule_without_its_runbook_section_is_told(tmp_path: Path):
    rules = tmp_path / "rules"
    rules.mkdir()
    written(rules, PLAIN)
    page = tmp_path / "INGESTION_WORKFLOW.md"
    page.write_text("# Ingestion\n## Incident Response\n### `volume_spike`\n")
    assert check_rule_files(rules, page).ok
    page.write_text("# Ingestion\nvolume_spike is not a heading here\n")
    assert [str(problem) for problem in check_rule_files(rules, page).problems] == [
        "volume_spike.yaml:15: runbook: volume_spike is no heading of INGESTION_WORKFLOW.md; write its section"
    ]


def test_anchors_are_made_as_github_makes_them():
    text = "# Incident Response\n## AI audit: incidents ##\ntext\n### volume_spike\n"
    assert runbook_anchors(text) == {"incident-response", "ai-audit-incidents", "volume_spike"}


def test_the_list_names_every_file_broken_ones_with_their_error(tmp_path: Path):
    written(tmp_path, PLAIN)
    written(tmp_path, "id: [", "a.yaml")
    broken, fine = list_rules(tmp_path)
    assert (broken.id, broken.file) == ("a", "a.yaml")
    assert broken.problem.startswith("a.yaml:")
    assert (fine.id, fine.severity, fine.problem) == ("volume_spike", "error", "")
