"""`audit access …`: output, confirmation and exit codes."""

import io
import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from audit_assets.cli import access
from audit_assets_tests.access.fake_iam import FakeAccessPlane
from audit_assets_tests.access.shipped import FOLDER, altered, known, owned
from audit_assets_tests.cli.conftest import audit as audit
from audit_assets_tests.cli.running import Audit, error_line

pytestmark = pytest.mark.requirement("R60")


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> FakeAccessPlane:
    made = FakeAccessPlane(known().tables)
    monkeypatch.setattr(access, "_plane", Mock(return_value=made))
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Access files of this test, with real addresses instead of placeholders."""
    monkeypatch.setattr(access, "FOLDER", owned(tmp_path))
    return tmp_path


def test_a_check_of_the_shipped_files_finds_nothing(audit: Audit):
    result = audit("access", "check", "--json")
    assert (result.code, result.figures) == (0, {"problems": []})


def test_a_check_names_what_is_wrong_and_ends_with_1(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(access, "FOLDER", altered(tmp_path, ("rows", "to: [sre]", "to: [srre]")))
    result = audit("access", "check")
    assert result.code == 1
    assert "rows.yaml:17: tables.ai_audit_logs.policies.last_30_days.to.0: srre: no such group" in result.out


def test_a_plan_of_files_that_do_not_fit_is_wrong_usage(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(access, "FOLDER", altered(tmp_path, ("groups", "former:", "formr:")))
    assert "did you mean former?" in error_line(audit("access", "plan"), 2)


def test_an_offline_plan_is_sql_to_review_and_asks_nobody(audit: Audit):
    result = audit("access", "plan", "--offline")
    assert result.code == 0
    assert "create or replace row access policy ai_audit_no_drills" in result.out
    assert "grant `roles/bigquery.dataViewer`" in result.out


def test_a_plan_says_who_gains_what_and_ends_with_1_until_there_is_nothing_to_do(
    audit: Audit, plane: FakeAccessPlane, folder: Path
):
    result = audit("access", "plan")
    assert result.code == 1
    assert "+ sre (group:ai-audit-sre@ai-audit.test) read analytics.ai_audit_days" in result.out
    assert "- product-analytics see rows where drill_id is null of analytics.ai_audit_logs" in result.out
    applied = audit("access", "apply", "--yes")
    assert applied.code == 0
    records = [json.loads(line) for line in applied.out.splitlines()]
    assert {record["event"] for record in records} == {"access"}
    assert any("grant `roles/bigquery.dataViewer`" in record["did"] for record in records)
    after = audit("access", "plan", "--json")
    assert (after.code, after.figures["changes"]) == (0, [])


def test_nothing_is_applied_without_a_yes(
    audit: Audit, plane: FakeAccessPlane, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert audit("access", "apply").code == 1
    assert plane.statements == []


def test_addresses_that_stand_in_for_others_are_not_applied(audit: Audit, plane: FakeAccessPlane):
    result = audit("access", "apply", "--yes")
    assert result.code == 2
    assert "groups.yaml:5: groups.compliance.principals.0: " in result.err
    assert result.err.endswith("replace it by your own address; the same on lines 8, 11, 14, 21\n")
    assert plane.statements == []


def test_a_refusal_by_bigquery_is_one_line_with_its_fix(audit: Audit, plane: FakeAccessPlane, folder: Path):
    plane.denied_text = "ai_audit_no_drills"
    result = audit("access", "apply", "--yes")
    assert result.code == 1
    assert len(result.out.splitlines()) == 1
    assert "Permission bigquery.rowAccessPolicies.create denied" in result.err
    assert "`audit access plan` shows what is left" in result.err


def test_files_are_written_again_where_the_yaml_changed_and_only_compared_with_check(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = tmp_path / "access.md"
    page.write_text(access.PAGE.read_text())
    folder = altered(tmp_path / "access", ("dashboards", "[compliance, sre]", "[compliance]"))
    for name, value in (("FOLDER", folder), ("PAGE", page), ("PROJECT_ROOT", tmp_path)):
        monkeypatch.setattr(access, name, value)
    compared = audit("access", "generate", "--check")
    assert compared.code == 1
    assert "access/generated/looker_folders.yaml: is not as generated" in compared.out
    assert audit("access", "generate").code == 0
    assert audit("access", "generate", "--check").code == 0
    assert "    sre: none" in (folder / "generated/metabase_collections.yaml").read_text()


def test_the_shipped_folders_and_collections_are_as_generated(audit: Audit):
    assert audit("access", "generate", "--check").code == 0
    assert sorted(path.name for path in (FOLDER / "generated").iterdir()) == [
        "looker_folders.yaml",
        "metabase_collections.yaml",
    ]
