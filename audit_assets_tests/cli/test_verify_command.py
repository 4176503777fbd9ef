"""`audit verify-kpis`: what it compares, and its output for a wrong mart and for a missing one."""

from pathlib import Path

import pytest

from audit_assets_tests.cli.running import Audit, error_line
from audit_assets_tests.dashboards.altered import altered
from audit_assets_tests.environments import Home


@pytest.mark.requirement("R53")
def test_a_tile_is_compared_with_raw_under_ranges_and_filters(audit: Audit, built_home: Home):
    figures = audit("verify-kpis", "--tile", "T05", "--tile", "T22", "--json").figures
    assert (figures["agree"], figures["differing"]) == (True, [])
    first, second = figures["tiles"]
    assert (first["id"], second["id"], first["agrees"]) == ("T05", "T22", True)
    assert "ended before the oldest build" in second["note"]
    scopes = [check["scope"] for check in first["scopes"]]
    assert len(scopes) == 6
    assert any(", capability " in scope for scope in scopes)
    result = audit("verify-kpis", "--tile", "T05")
    assert result.code == 0
    assert result.out.split()[:2] == ["tile", "title"]
    assert " yes" in result.out
    assert result.err == "6 comparisons of 1 tiles and marts: no differences from raw rows\n"


@pytest.mark.requirement("R53")
def test_a_mart_that_is_wrong_exits_1_with_the_scope_and_both_figures(
    audit: Audit, built_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = built_home.folder / "published"
    altered(published, tmp_path / "published", "ai_audit_error_funnel", "interaction_count", "interaction_count + 1")
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path))
    result = audit("verify-kpis", "--tile", "T11")
    assert result.code == 1
    assert "T11, " in result.out
    assert ": shown interactions " in result.out
    assert "; raw interactions " in result.out
    figures = audit("verify-kpis", "--tile", "T11", "--json").figures
    assert (figures["agree"], figures["differing"]) == (False, ["T11"])


@pytest.mark.requirement("R53")
def test_an_unpublished_home_is_reported(audit: Audit, empty_home: Home):
    assert "nothing has been published yet: run `make demo`" in error_line(audit("verify-kpis"), 1)


def test_what_cannot_be_compared_is_wrong_usage(audit: Audit, built_home: Home):
    assert "T99: no tile or mart with a reconciliation query" in error_line(audit("verify-kpis", "--tile", "T99"), 2)
    assert "give two days in order" in error_line(audit("verify-kpis", "--from", "2026-02-02", "--to", "2026-02-01"), 2)
