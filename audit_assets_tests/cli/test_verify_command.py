"""`audit verify-kpis`: what it compares, what it says where a mart is wrong, and where there is none."""

from pathlib import Path

import pytest

from audit_assets_tests.cli.running import Audit, one_line
from audit_assets_tests.dashboards.altered import altered
from audit_assets_tests.homes import Home


@pytest.mark.requirement("R53")
def test_a_tile_is_compared_with_raw_under_ranges_and_filters(audit: Audit, built_home: Home):
    figures = audit("verify-kpis", "--tile", "T05", "--tile", "T22", "--json").figures
    assert (figures["agree"], figures["differing"]) == (True, [])
    first, second = figures["tiles"]
    assert (first["id"], second["id"], first["agrees"]) == ("T05", "T22", True)
    assert "order in which the runs began" in second["note"]
    scopes = [check["scope"] for check in first["scopes"]]
    assert len(scopes) == 6
    assert any(", capability " in scope for scope in scopes)
    said = audit("verify-kpis", "--tile", "T05")
    assert said.code == 0
    assert said.out.split()[:2] == ["tile", "title"]
    assert " yes" in said.out
    assert said.err == "6 comparisons of 1 tiles and marts: what could be compared agrees with raw\n"


@pytest.mark.requirement("R53")
def test_a_mart_that_is_wrong_exits_1_with_the_scope_and_both_figures(
    audit: Audit, built_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = built_home.folder / "published"
    altered(published, tmp_path / "published", "ai_audit_error_funnel", "interaction_count", "interaction_count + 1")
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path))
    said = audit("verify-kpis", "--tile", "T11")
    assert said.code == 1
    assert "T11, " in said.out
    assert ": shown interactions " in said.out
    assert "; raw interactions " in said.out
    figures = audit("verify-kpis", "--tile", "T11", "--json").figures
    assert (figures["agree"], figures["differing"]) == (False, ["T11"])


@pytest.mark.requirement("R53")
def test_where_nothing_is_published_it_says_so(audit: Audit, empty_home: Home):
    assert "nothing has been published yet: run `make demo`" in one_line(audit("verify-kpis"), 1)


def test_what_cannot_be_compared_is_wrong_usage(audit: Audit, built_home: Home):
    assert "T99: no tile and no mart with a proof" in one_line(audit("verify-kpis", "--tile", "T99"), 2)
    assert "give two days in order" in one_line(audit("verify-kpis", "--from", "2026-02-02", "--to", "2026-02-01"), 2)
