"""What scripts depend on: exit codes, JSON keys, one line per error, and no secret in the output."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from audit_assets_tests.cli.running import PASSWORD, Audit, error_line
from audit_assets_tests.environments import DAYS, NOW, Home


@pytest.mark.requirement("R14")
def test_sync_status_reports_how_far_the_warehouse_is(audit: Audit, built_home: Home):
    figures = audit("sync", "status", "--json").figures
    names = {"last_synced_at", "source_max_created_at", "lag_seconds", "records_synced", "sync_duration_ms"}
    assert names <= set(figures)
    ((at_source, newest),) = built_home.query("select count(*), max(created_at) from ai_audit_logs")
    assert figures["records_synced"] == at_source
    assert datetime.fromisoformat(str(figures["source_max_created_at"])) == newest
    assert float(str(figures["lag_seconds"])) >= 0
    result = audit("sync", "status")
    assert result.code == 0
    assert "last_synced_at" in result.out
    assert " UTC" in result.out


def test_sync_status_of_an_empty_home_names_the_command_to_run(audit: Audit, empty_home: Home):
    assert "no sync has succeeded yet: run `audit sync`" in error_line(audit("sync", "status", "--json"), 1)


@pytest.mark.requirement("R11")
def test_a_sync_reports_its_run_as_one_json_object(audit: Audit, home: Home):
    home.insert(12)
    figures = audit("sync", "--json").figures
    assert (figures["mode"], figures["status"], figures["records_added"], figures["days_changed"]) == (
        "delta",
        "succeeded",
        12,
        1,
    )
    assert audit("sync", "--mode", "full", "--lookback", "24h", "--json").figures["mode"] == "full"
    since = (NOW - timedelta(days=2)).isoformat()
    again = audit("sync", "--mode", "delta", "--since", since, "--json").figures
    assert (again["records_added"], again["records_changed"]) == (0, 0)
    assert json.loads((home.folder / "state.json").read_text())["sync_id"] == again["sync_id"]


@pytest.mark.requirement("R11")
def test_to_stdout_there_are_rows_and_nothing_else_and_no_watermark_moves(audit: Audit, built_home: Home):
    before = (built_home.folder / "state.json").read_text()
    result = audit("sync", "--destination", "stdout", "--since", str(NOW.date() - timedelta(days=1)))
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert len(rows) > 100
    assert result.err == f"{len(rows):,} rows written; the watermark is unchanged\n"
    assert all("prompt" not in row and "response" not in row for row in rows)
    assert (built_home.folder / "state.json").read_text() == before


@pytest.mark.requirement("R11")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sync", "--since", "yesterday"], "--since yesterday: not a time; write 2026-11-01T08:00:00Z"),
        (["sync", "--since", "2026-11-01T08:00:00"], "has no time zone; add Z for UTC"),
        (["sync", "--lookback", "soon"], "--lookback: 'soon' is not a duration"),
        (["build", "--from", "1.11.2026"], "--from 1.11.2026: not a day; write it as 2026-11-01"),
        (["build", "--from", "2026-11-02", "--to", "2026-11-01"], "give two days in order, from 2023-01-01 to"),
        (["build", "--from", "2019-01-01", "--to", "2019-01-02"], "give two days in order, from 2023-01-01 to"),
        (["build", "--to", "2999-01-01"], "give two days in order, from 2023-01-01 to"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_line_with_its_fix(
    audit: Audit, built_home: Home, arguments: list[str], expected: str
):
    assert expected in error_line(audit(*arguments), 2)


@pytest.mark.parametrize(
    "arguments", ["sync --mode sideways", "sync --destination bigtable", "gaps --days 0", "nonsense", "load"]
)
def test_wrong_usage_exits_2(audit: Audit, built_home: Home, arguments: str):
    result = audit(*arguments.split())
    assert result.code == 2
    assert result.out == ""
    assert "Usage: audit" in result.err


def test_a_wrong_setting_is_wrong_usage_and_names_the_variable(
    audit: Audit, built_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_WAREHOUSE_DESTINATION", PASSWORD)
    assert "AI_AUDIT_WAREHOUSE_DESTINATION" in error_line(audit("sync"), 2)


@pytest.mark.parametrize("arguments", [["sync"], ["gaps"], ["sync", "--destination", "stdout"]])
def test_a_source_that_is_down_is_one_line_without_its_password(
    audit: Audit, home: Home, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", f"postgresql://reader:{PASSWORD}@127.0.0.1:1/app")
    assert "127.0.0.1" in error_line(audit(*arguments), 1)


@pytest.mark.requirement("R18")
def test_gaps_are_days_and_hours_that_differ_and_a_finding(audit: Audit, home: Home):
    assert audit("gaps", "--days", str(DAYS), "--json").figures["days"] == {}
    hour = NOW.replace(minute=10, second=0, microsecond=0) - timedelta(days=2)
    home.insert(9, at=hour)
    result = audit("gaps", "--days", str(DAYS), "--json")
    assert result.code == 1
    (counts,) = result.figures["days"].values()
    assert counts["source"] - counts["loaded"] == 9
    assert [hour.replace(minute=0).isoformat()] == list(result.figures["hours"])
    table = audit("gaps", "--days", str(DAYS))
    assert (table.code, str(hour.date()) in table.out, "`audit build" in table.err) == (1, True, True)


def test_made_rows_go_into_no_source_that_is_not_ours(audit: Audit, home: Home):
    line = error_line(audit("simulate", "traffic", "--days", "1"), 2)
    assert "--write-to-source" in line
    assert "--write-to-source" in error_line(audit("load", "rows.parquet"), 2)


@pytest.mark.requirement("R10")
def test_a_file_is_loaded_and_its_rows_counted(audit: Audit, empty_home: Home, tmp_path: Path):
    file = tmp_path / "rows.parquet"
    pl.DataFrame(
        {
            "id": ["a", "b", "b"],
            "workflow_id": ["w", "w", "w"],
            "capability": ["c", "c", "c"],
            "provider": ["p", "p", "p"],
            "created_at": [datetime(2026, 11, 1, tzinfo=UTC)] * 3,
            "request_metadata": ["{}"] * 3,
            "response_metadata": ["{}"] * 3,
        }
    ).write_parquet(file)
    figures = audit("load", str(file), "--write-to-source", "--json").figures
    assert (figures["read"], figures["loaded"], figures["rejected"]) == (3, 2, 1)
    assert empty_home.query("select count(*) from ai_audit_logs") == [(2,)]
    assert "missing.parquet" in error_line(audit("load", str(tmp_path / "missing.parquet"), "--write-to-source"), 1)


def test_the_embedded_source_is_not_started_where_another_is_named(audit: Audit, home: Home):
    assert "AI_AUDIT_SOURCE_URL is set; unset it" in error_line(audit("source", "start"), 2)


def test_the_embedded_source_starts_once_and_stops(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AI_AUDIT_SOURCE_URL", raising=False)
    try:
        first = audit("source", "start")
        assert first.code == 0
        assert "the embedded Postgres runs at 127.0.0.1:" in first.out
        secret = (tmp_path / "home/postgres/url").read_text().split(":")[2].split("@")[0]
        assert secret not in first.out + first.err
        assert audit("source", "start").out == first.out
        assert audit("source", "stop").out == "stopped\n"
        assert audit("source", "stop").out == "not running\n"
    finally:
        assert audit("source", "remove").code == 0
    assert not (tmp_path / "home/postgres").exists()


@pytest.mark.requirement("R18")
def test_a_build_reports_its_run_and_its_checks(audit: Audit, home: Home):
    day = NOW.date() - timedelta(days=2)
    home.insert(8, at=NOW - timedelta(days=2))
    figures = audit("build", "--from", str(day), "--to", str(day), "--json").figures
    assert (figures["succeeded"], figures["failure"]) == (True, None)
    assert set(figures["checks_failed"]) >= {
        "ai_audit_capability_grid:volume_spike",
        "ai_audit_capability_outcomes:error_surge",
    }
    assert home.query_snapshot("select count(*) from analytics.ai_audit_logs where id like 'new%'") == [(8,)]


def test_help_groups_the_commands_and_no_command_is_a_stub(audit: Audit):
    result = audit("--help")
    assert result.code == 0
    for command in ("sync", "gaps", "build", "load", "source", "simulate", "rules", "demo", "dev"):
        assert f" {command} " in result.out
    for later in ("trace", "export", "evidence", "reveal"):
        assert f" {later} " not in result.out
