"""`audit rules` and the drills: output, rejected arguments, effects."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.cli.running import Audit, error_line
from audit_assets_tests.environments import Home

DAYS_OF_COUNTS = 40
BURST = (DAYS_OF_COUNTS - 1) * 96 + 48


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series with identical days, except for two hours of the last day with nine times the calls."""
    rows: list[tuple[str, int, int]] = []
    for number in range(DAYS_OF_COUNTS * 96):
        usual = 200 + round(80 * math.sin(number % 96 / 96 * math.tau)) + number * 7919 % 13
        rows.append(("chat", number, usual * 9 if BURST <= number < BURST + 8 else usual))
    path = tmp_path_factory.mktemp("counts") / "chat.parquet"
    pl.DataFrame(rows, schema=["series", "bin", "count"], orient="row").write_parquet(path)
    return path


@pytest.mark.requirement("R37")
def test_the_rule_files_are_listed_and_checked(
    audit: Audit, built_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listed = audit("rules", "list", "--json").figures["rules"]
    assert {line["id"] for line in listed} >= {"volume_spike", "error_surge"}
    checked = audit("rules", "check", "--json")
    assert (checked.code, checked.figures["problems"]) == (0, [])
    for rule in (PROJECT_ROOT / "observability/alerts/ai-audit").glob("*.yaml"):
        (tmp_path / rule.name).write_text(rule.read_text().replace("severity:", "severty:"))
    monkeypatch.setenv("AI_AUDIT_RULES", str(tmp_path))
    refused = audit("rules", "check")
    assert refused.code == 1
    assert "volume_spike.yaml:" in refused.out
    assert "did you mean severity?" in refused.out
    assert audit("rules", "check", "--json").figures["problems"]


@pytest.mark.requirement("R37")
def test_the_examples_of_one_rule_run_by_its_id(audit: Audit, built_home: Home):
    examples = audit("rules", "test", "volume_spike", "--json").figures["examples"]
    assert {(one["rule_id"], one["passed"]) for one in examples} == {("volume_spike", True)}
    assert {one["expected"] for one in examples} == {True, False}
    assert {one["form"] for one in examples} >= {"literal"}
    assert "volume_spike (literal) fires: " in audit("rules", "test", "volume_spike").out


@pytest.mark.requirement("R37")
def test_explain_prints_why_a_rule_fires_or_does_not(audit: Audit, built_home: Home):
    figures = audit("rules", "explain", "volume_spike", "--json").figures
    assert figures["rule"] == "volume_spike"
    used = built_home.query_snapshot("select distinct capability from analytics.ai_audit_capability_grid")
    assert {one["instance"][-1] for one in figures["instances"]} == {capability for (capability,) in used}
    assert all(one["why"] for one in figures["instances"])
    result = audit("rules", "explain", "volume_spike")
    assert (result.code, "fires when" in result.out, " UTC" in result.out) == (0, True, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("explain volume_spik", "volume_spik: no such rule; did you mean volume_spike?"),
        ("test volume_spik", "volume_spik: no such rule; did you mean volume_spike?"),
        ("backtest volume_spik", "volume_spik: no such rule; did you mean volume_spike?"),
        ("backtest --from 1.11.2026", "--from 1.11.2026: not a day; write it as 2026-11-01"),
        ("backtest --counts nowhere.parquet", "nowhere.parquet: no such file"),
        ("backtest volume_spike --out alerts.csv", "--out needs --counts"),
    ],
)
def test_what_a_rule_command_cannot_do_is_reported_in_one_line(
    audit: Audit, built_home: Home, arguments: str, expected: str
):
    result = audit("rules", *arguments.split())
    assert result.code != 0
    assert expected in error_line(result, result.code)


def test_a_home_without_tables_names_the_command_to_run(audit: Audit, empty_home: Home):
    for command in ("explain", "backtest"):
        assert "audit build" in error_line(audit("rules", command, "volume_spike"), 1)


@pytest.mark.requirement("R38")
def test_counts_from_outside_are_judged_alerts_written_and_drawn(
    audit: Audit, built_home: Home, counts: Path, tmp_path: Path
):
    alerts, page = tmp_path / "alerts.csv", tmp_path / "chat.html"
    arguments = (
        "rules",
        "backtest",
        "volume_spike",
        "--counts",
        str(counts),
        "--out",
        str(alerts),
        "--plot",
        str(page),
    )
    (figures,) = audit(*arguments, "--json").figures["rules"]
    (chat,) = figures["instances"]
    assert (chat["instance"][-1], chat["alerts"], figures["alerts"]) == ("chat", 1, 1)
    assert figures["literal"]["alerts"] == 0, "the literal condition compares whole days, so two hours do not fire"
    ((series, at, kind),) = [line.split(",") for line in alerts.read_text().splitlines()[1:]]
    assert (series, kind) == ("chat", "spike")
    assert BURST <= int(at) < BURST + 8
    assert "volume_spike" in page.read_text()
    assert "<script src" not in page.read_text(), "the page needs no network"


@pytest.mark.requirement("R38")
def test_a_backtest_prints_the_block_its_rule_quotes(audit: Audit, built_home: Home, counts: Path):
    result = audit("rules", "backtest", "volume_spike", "--counts", str(counts), "--from", "2001-02-01")
    assert result.code == 0
    block = result.out[result.out.index("# volume_spike.yaml") :]
    assert "backtest:" in block
    assert 'data: "chat.parquet"' in block


@pytest.mark.requirement("R38")
def test_what_is_published_is_judged_from_a_day_on(audit: Audit, built_home: Home):
    ((first,),) = built_home.query_snapshot("select min(date)::text from analytics.ai_audit_daily")
    everything = audit("rules", "backtest", "new_capability", "--json").figures
    assert everything["data"] == "what is published"
    since = (datetime.fromisoformat(first) + timedelta(days=10)).date().isoformat()
    (later,) = audit("rules", "backtest", "new_capability", "--from", since, "--json").figures["rules"]
    assert later["first"] >= since
    assert later["alerts"] <= everything["rules"][0]["alerts"]


@pytest.mark.requirement("R39")
@pytest.mark.parametrize("drill", ["spike", "drop", "errors", "silence", "new-capability"])
def test_a_drill_makes_no_rows_in_a_source_that_is_not_ours(audit: Audit, built_home: Home, drill: str):
    assert "--write-to-source" in error_line(audit("simulate", drill), 2)
