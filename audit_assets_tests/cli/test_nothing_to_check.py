"""Commands without data: an unchecked result is not a pass, and the output names the next step."""

from pathlib import Path

import polars as pl
import pytest

from audit_assets.defs.runner import BuildOutcome
from audit_assets_tests.cli.running import Audit
from audit_assets_tests.environments import Home

RULES_COMMANDS = ("check", "test", "list", "backtest")


@pytest.fixture
def published_home(empty_home: Home) -> Home:
    """A home whose first build found no row: every model is built and empty."""
    assert empty_home.build().succeeded
    return empty_home


def test_a_home_over_an_empty_source_passes_nothing_fails_nothing_and_reports_it(published_home: Home, audit: Audit):
    built = audit("build", "--json")
    assert (built.code, built.figures["succeeded"], built.figures["rows"]) == (1, True, 0)
    assert built.figures["checks_passed"] < 15, "of the sync itself, of checks and of runs: those have facts"
    assert built.figures["checks_failed"] == []
    assert len(built.figures["checks_not_checked"]) > 50
    result = audit("build")
    assert "nothing was built: the warehouse has no row of 2026-02-18" in result.out
    compared = audit("verify-kpis")
    assert compared.code == 1
    assert "nothing was compared: " in compared.out
    figures = audit("verify-kpis", "--json").figures
    assert (figures["agree"], figures["compared_rows"]) == (False, 0)
    assert audit("gaps").code == 1
    listed = audit("alerts", "list", "--json")
    assert (listed.code, listed.figures["alerts"]) == (0, []), "nothing pages, and the rules have been judged"


def test_days_without_a_row_are_not_compared_with_raw_and_not_built(built_home: Home, audit: Audit):
    days = ("--from", "2025-06-01", "--to", "2025-06-02")
    result = audit("verify-kpis", *days, "--tile", "T05")
    assert (result.code, "no call from 2025-06-01 to 2025-06-02" in result.out) == (1, True)


@pytest.mark.parametrize("command", RULES_COMMANDS)
def test_a_folder_without_rules_is_not_well(
    audit: Audit, built_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.setenv("AI_AUDIT_RULES", str(tmp_path))
    result = audit("rules", command)
    assert (result.code, f"{tmp_path}" in (result.out + result.err).replace("\n", "")) == (1, True)
    assert audit("rules", command, "--json").code == 1
    monkeypatch.setenv("AI_AUDIT_RULES", str(tmp_path / "missing"))
    assert audit("rules", command).code == 1


def test_the_examples_of_a_rule_that_does_not_load_are_not_passed(
    audit: Audit, built_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken.yaml").write_text("id: broken\nseverty: error\n")
    monkeypatch.setenv("AI_AUDIT_RULES", str(tmp_path))
    result = audit("rules", "test")
    assert result.code == 1
    assert "broken.yaml" in result.out
    assert [one["id"] for one in audit("rules", "test", "--json").figures["not_run"]] == ["broken"]


def test_a_backtest_over_no_row_gives_no_figures(audit: Audit, built_home: Home, tmp_path: Path):
    result = audit("rules", "backtest", "volume_spike", "--from", "2026-02-25")
    assert result.code == 1
    assert "volume_spike: not backtested: " in result.out
    assert "backtest:" not in result.out, "zero alerts over no data is not a measurement"
    counts = tmp_path / "none.parquet"
    pl.DataFrame(schema={"series": pl.String(), "bin": pl.Int64(), "count": pl.Int64()}).write_parquet(counts)
    assert audit("rules", "backtest", "volume_spike", "--counts", str(counts)).code == 1


def test_nothing_is_open_is_printed_only_after_rules_were_judged(audit: Audit, empty_home: Home):
    for arguments in ((), ("--all",)):
        result = audit("alerts", "list", *arguments)
        assert result.code == 1
        assert result.out == "No rule has been evaluated yet: start `audit dev`, or run `audit build`.\n"
    figures = audit("alerts", "list", "--json")
    assert (figures.code, figures.figures["judged_at"]) == (1, None)


def test_checks_that_had_nothing_to_look_at_are_neither_passed_nor_failed(audit: Audit, built_home: Home):
    outcome = BuildOutcome("run", True, None, {"a": True, "b": False, "c": False}, frozenset({"c"}))
    assert (outcome.passed, outcome.failing) == (("a",), ("b",))
