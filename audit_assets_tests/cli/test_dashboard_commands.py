"""`audit dashboards generate` and `check`: output, and when they exit with 1."""

import shutil
from pathlib import Path

import pytest

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


def test_a_check_names_the_files_that_are_not_as_generated(audit: Audit, folder: Path):
    well = audit("dashboards", "check", "--json")
    assert (well.code, well.figures["problems"]) == (0, [])
    assert well.figures["tiles"] > 25
    (folder / FILE).write_text((folder / FILE).read_text().replace("title: Provider mix", "title: Who answered"))
    figures = audit("dashboards", "check", "--json")
    assert figures.code == 1
    assert [problem["file"] for problem in figures.figures["problems"]] == [FILE]


def test_a_check_names_the_tile_whose_query_fails(audit: Audit, folder: Path):
    metrics = folder / "metrics.yaml"
    metrics.write_text(metrics.read_text().replace("sum(interaction_count)", "sum(interaction_cuont)", 1))
    assert audit("dashboards", "generate").code == 0
    result = audit("dashboards", "check")
    assert result.code == 1
    assert 'fails: Binder Error: Referenced column "interaction_cuont" not found' in result.out
