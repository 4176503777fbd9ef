"""`audit dashboards generate` and `check`: output, and when they exit with 1."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from audit_assets.bi_export import verification as twins
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.cli.running import Audit

pytestmark = pytest.mark.requirement("R51")
FILE = "looker/dashboards/overview.dashboard.lookml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dashboards for one test."""
    shutil.copytree(PROJECT_ROOT / "observability/dashboards/ai-audit", tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("AI_AUDIT_DASHBOARDS", str(tmp_path))
    return tmp_path


def test_files_are_written_again_where_a_page_changed_and_only_compared_with_check(audit: Audit, folder: Path):
    page = folder / "vizro/overview.yaml"
    page.write_text(page.read_text().replace("title: Provider mix", "title: Who answered"))
    compared = audit("dashboards", "generate", "--check")
    assert compared.code == 1
    assert f"{FILE}: is out of date; run `audit dashboards generate`" in compared.out
    written = audit("dashboards", "generate")
    assert (written.code, f"{FILE}: updated" in written.out) == (0, True)
    assert audit("dashboards", "generate", "--check").code == 0


def test_a_check_without_the_tools_reports_what_it_skipped_and_still_finds_drift(
    audit: Audit, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    found = importlib.util.find_spec
    absent = ("lkml", "zetasql", "sqlglot")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else found(name))
    monkeypatch.setattr(twins, "validator", lambda: None)
    monkeypatch.setattr(twins, "schema_problems", lambda _: [])
    result = audit("dashboards", "check")
    assert result.code == 0
    assert result.err.count("not checked: ") == 4
    assert "zetasql is not installed; `make install` installs it" in result.err
    (folder / FILE).write_text((folder / FILE).read_text().replace("title: Provider mix", "title: Who answered"))
    figures = audit("dashboards", "check", "--json")
    assert figures.code == 1
    assert [problem["file"] for problem in figures.figures["problems"]] == [FILE]
    assert len(figures.figures["skipped"]) == 4
