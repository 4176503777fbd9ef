"""Asset checks: one a rule file whatever is in it, and the sync's own promises."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckSeverity, DagsterInstance

from audit_assets.rules.load import load_rules, rule_files
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.duckdb_keeper import DuckDBKeeper
from audit_assets.warehouse.snapshot import publish
from audit_assets_tests.homes import Home

RULES_FOLDER = PROJECT_ROOT / "observability/alerts/ai-audit"


@pytest.fixture
def rules_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the rule files, which the process takes for the real ones. The session's home may have been built a
    quarter of an hour ago: in business hours its data are stale by now, and the other rules would wait."""
    folder = tmp_path / "rules"
    shutil.copytree(RULES_FOLDER, folder, ignore=lambda _, names: {name for name in names if "." not in name})
    stale = folder / "freshness_slo.yaml"
    stale.write_text(stale.read_text().replace("minutes_since_sync > 5 ", "minutes_since_sync > 5000 "))
    monkeypatch.setenv("AI_AUDIT_RULES", str(folder))
    return folder


def judged() -> dict[str, Any]:
    """Check name → evaluation, of a run of the rules alone."""
    from audit_assets.definitions import defs
    from audit_assets.defs.checks import rules

    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection=set(rules.check_keys)
    )
    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
    assert result.success
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


@pytest.mark.requirement("R37")
def test_there_is_one_check_a_rule_file_also_for_one_that_does_not_load(built_home: Home, rules_folder: Path):
    from audit_assets.defs.checks import RULES, rule_checks

    assert len(RULES.ids) == len(rule_files(RULES_FOLDER))
    (rules_folder / "broken.yaml").write_text("id: broken\nseverty: error\n")
    specs = rule_checks(load_rules(rules_folder))
    assert {spec.name for spec in specs} == {path.stem for path in rule_files(rules_folder)}
    (broken,) = [spec for spec in specs if spec.name == "broken"]
    assert broken.asset_key.path == ["published_snapshot"]
    (spike,) = [spec for spec in specs if spec.name == "volume_spike"]
    assert spike.asset_key.path == ["ai_audit_capability_grid"]


@pytest.mark.requirement("R30", "R33", "R37")
def test_a_rule_that_cannot_be_judged_fails_alone_and_says_why(built_home: Home, rules_folder: Path):
    rule = rules_folder / "volume_spike.yaml"
    rule.write_text(rule.read_text().replace("severity: error", "severty: error"))
    (rules_folder / "error_surge.yaml").write_text(
        (rules_folder / "error_surge.yaml").read_text().replace("error_rate_60m > 0.05", "error_rate_60m > 0.999999")
    )
    evaluations = judged()
    spike, surge = evaluations["volume_spike"], evaluations["error_surge"]
    assert not spike.passed
    assert spike.severity == AssetCheckSeverity.ERROR
    assert "volume_spike.yaml" in spike.description
    assert "did you mean severity?" in spike.description
    assert surge.metadata["condition"].value.endswith("> 0.999999")


@pytest.mark.requirement("R37")
def test_a_threshold_that_is_edited_changes_the_check_without_a_reload(built_home: Home, rules_folder: Path):
    rule = rules_folder / "volume_spike.yaml"
    assert not judged()["volume_spike"].passed
    rule.write_text(rule.read_text().replace("comparable_days >= 5", "comparable_days >= 5000"))
    assert judged()["volume_spike"].passed


def test_a_rule_file_that_is_gone_fails_its_check(built_home: Home, rules_folder: Path):
    (rules_folder / "error_surge.yaml").unlink()
    surge = judged()["error_surge"]
    assert (surge.passed, surge.description) == (False, "its file is gone; reload the code location")


@pytest.mark.requirement("R30")
def test_a_finding_is_told_with_its_figures_and_its_runbook(built_home: Home, rules_folder: Path):
    spike = judged()["volume_spike"]
    assert not spike.passed
    worst = spike.metadata["worst"].records
    assert spike.description.startswith(f"{worst[0].data['instance']}: {worst[0].data['value']:,.0f} calls in ")
    assert ", usually " in spike.description
    figures = {"value", "baseline", "threshold", "delta_percent"}
    assert {"instance", "since", "window", "state", "alert", *figures} == set(worst[0].data)
    assert worst[0].data["alert"].startswith("ai-audit/live/volume_spike/"), "as the ledger and PagerDuty have it"
    assert "contract_check" in {record.data["instance"] for record in worst}
    assert len(worst) == spike.metadata["findings"].value
    assert spike.metadata["judged"].value >= len(worst)
    assert spike.metadata["runbook"].value.endswith("INGESTION_WORKFLOW.md#volume_spike")


@pytest.mark.requirement("R13")
def test_the_state_mirror_is_missed_where_it_is_gone_or_behind(home: Home):
    from audit_assets.defs.checks import state_mirror_is_current
    from audit_assets.defs.resources import Surroundings

    def checked() -> Any:
        return state_mirror_is_current(Surroundings())

    assert checked().passed
    mirror = home.folder / "state.json"
    text = mirror.read_text()
    mirror.unlink()
    assert (checked().passed, checked().severity) == (False, AssetCheckSeverity.WARN)
    assert "is missing" in checked().description
    mirror.write_text('{"sync_id": "another", "last_synced_at": "2026-01-01T00:00:00.000000+00:00"}')
    assert "is behind" in checked().description
    mirror.write_text(text)
    assert checked().passed


def test_an_id_held_twice_is_told(home: Home):
    from audit_assets.defs.checks import ids_are_unique
    from audit_assets.defs.resources import Surroundings

    assert ids_are_unique(Surroundings()).passed
    settings = home.settings()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        connection.execute(
            "insert into analytics.ai_audit_logs select * from analytics.ai_audit_logs order by created_at desc limit 1"
        )
        ((day, id_),) = connection.execute(
            "select cast(created_at as date), id from analytics.ai_audit_logs order by created_at desc limit 1"
        ).fetchall()
        DuckDBKeeper(connection).mark_built([day])
        publish(DuckDBKeeper(connection), settings.snapshot_folder, datetime.now(UTC))
    result = ids_are_unique(Surroundings())
    assert not result.passed
    assert result.description == f"{id_}: 2 rows"


def test_the_checks_of_a_warehouse_nothing_was_synced_into_fail_with_words(empty_home: Home):
    from audit_assets.defs.checks import ids_are_unique, state_mirror_is_current
    from audit_assets.defs.resources import Surroundings

    settings = empty_home.settings()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        publish(DuckDBKeeper(connection), settings.snapshot_folder, datetime.now(UTC))
    mirror = state_mirror_is_current(Surroundings())
    assert (mirror.passed, mirror.description) == (False, "no sync has succeeded yet: run `audit sync`")
    assert ids_are_unique(Surroundings()).passed
