"""Asset checks: one per rule file, valid or not, and the checks of the sync."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckSeverity, DagsterInstance, Definitions

from audit_assets.rules.load import load_rules, rule_files
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.snapshot import publish
from audit_assets_tests.environments import DATA_QUALITY, NOW, Home, definitions, resources_at

RULES_FOLDER = PROJECT_ROOT / "observability/alerts/ai-audit"


@pytest.fixture
def rules_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the rule files, which the process uses instead of the real ones."""
    folder = tmp_path / "rules"
    shutil.copytree(RULES_FOLDER, folder, ignore=lambda _, names: {name for name in names if "." not in name})
    monkeypatch.setenv("AI_AUDIT_RULES", str(folder))
    return folder


def judged(now: datetime = NOW, defs: Definitions | None = None) -> dict[str, Any]:
    """The evaluations by check name, from a run of the rules alone at `now` (UTC), with definitions loaded now or
    earlier."""
    job = (defs or definitions()).resolve_job_def("audit_judge")
    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, run_config={"resources": resources_at(now)})
    assert result.success
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


@pytest.mark.requirement("R37")
def test_there_is_one_check_a_rule_file_also_for_one_that_does_not_load(built_home: Home, rules_folder: Path):
    from audit_assets.defs.checks import rule_specs

    judged_alone = definitions().resolve_job_def("audit_judge").asset_layer.asset_graph.asset_check_keys
    assert len(judged_alone) == len(rule_files(RULES_FOLDER))
    (rules_folder / "broken.yaml").write_text("id: broken\nseverty: error\n")
    specs = rule_specs(load_rules(rules_folder))
    assert {spec.name for spec in specs} == {path.stem for path in rule_files(rules_folder)}
    (broken,) = [spec for spec in specs if spec.name == "broken"]
    assert broken.asset_key.path == ["published_snapshot"]
    (spike,) = [spec for spec in specs if spec.name == "volume_spike"]
    assert spike.asset_key.path == ["ai_audit_capability_grid"]


@pytest.mark.requirement("R30", "R33", "R37")
def test_a_rule_that_cannot_be_judged_fails_alone_and_reports_why(built_home: Home, rules_folder: Path):
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


def test_a_deleted_rule_file_fails_its_check(built_home: Home, rules_folder: Path):
    loaded_before = definitions()
    (rules_folder / "error_surge.yaml").unlink()
    surge = judged(defs=loaded_before)["error_surge"]
    assert (surge.passed, surge.description) == (False, "the rule file was deleted; reload the code location")


@pytest.mark.requirement("R30")
def test_a_finding_is_reported_with_its_figures_and_its_runbook(built_home: Home, rules_folder: Path):
    spike = judged()["volume_spike"]
    assert not spike.passed
    worst = spike.metadata["worst"].records
    assert spike.description.startswith(f"{worst[0].data['instance']}: {worst[0].data['value']:,.0f} calls in ")
    assert ", usually " in spike.description
    figures = {"value", "baseline", "threshold", "delta_percent"}
    assert {"instance", "since", "window", "state", "alert", *figures} == set(worst[0].data)
    assert worst[0].data["alert"].startswith("ai-audit/live/volume_spike/"), "the key of the ledger"
    assert "contract_check" in {record.data["instance"] for record in worst}
    assert len(worst) == spike.metadata["findings"].value
    assert spike.metadata["judged"].value >= len(worst)
    assert spike.metadata["runbook"].value.endswith("INGESTION_WORKFLOW.md#volume_spike")


@pytest.mark.requirement("R13")
def test_a_missing_or_stale_state_mirror_fails_its_check(home: Home):
    from audit_assets.defs.checks import check_state_mirror

    def checked() -> Any:
        return check_state_mirror(home.settings())

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


def test_a_duplicate_id_is_reported(home: Home):
    from audit_assets.defs.checks import check_ids
    from audit_assets.defs.resources import WarehouseResource

    settings = home.settings()
    assert check_ids(settings, WarehouseResource()).passed
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        connection.execute(
            "insert into analytics.ai_audit_logs select * from analytics.ai_audit_logs order by created_at desc limit 1"
        )
        ((day, id_),) = connection.execute(
            "select cast(created_at as date), id from analytics.ai_audit_logs order by created_at desc limit 1"
        ).fetchall()
        DuckDBMaintenance(connection).mark_built([day])
        publish(DuckDBMaintenance(connection), settings.snapshot_folder, NOW)
    result = check_ids(settings, WarehouseResource())
    assert not result.passed
    assert result.description == f"{id_}: 2 rows"


def test_the_checks_of_a_warehouse_without_rows_say_that_they_had_nothing_to_check_and_page_nobody(empty_home: Home):
    from audit_assets.defs.checks import check_ids, check_state_mirror
    from audit_assets.defs.data_quality import check_results
    from audit_assets.defs.resources import WarehouseResource

    settings = empty_home.settings()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        publish(DuckDBMaintenance(connection), settings.snapshot_folder, NOW)
    for result in (
        check_state_mirror(settings),
        check_ids(settings, WarehouseResource()),
        *check_results(settings),
    ):
        assert (result.passed, result.severity) == (False, AssetCheckSeverity.WARN)
        assert (result.description or "").startswith("not checked: ")
        assert "not_checked" in result.metadata


@pytest.mark.requirement("R28")
def test_calls_logged_twice_unlisted_status_words_and_unusable_values_are_warned_of_with_counts(empty_home: Home):
    def results() -> dict[str, tuple[bool, str]]:
        defs = definitions()
        keys = {key for key in defs.resolve_asset_graph().asset_check_keys if key.name in DATA_QUALITY}
        job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(), asset_check_selection=keys)
        with DagsterInstance.ephemeral() as instance:
            found = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        assert {result.severity for result in found} == {AssetCheckSeverity.WARN}
        return {result.check_name: (result.passed, result.description or "") for result in found}

    settings = empty_home.settings()
    unpublished = results()
    assert [passed for passed, _ in unpublished.values()] == [False] * 3
    assert "not checked: ai_audit_data_quality is not published yet; run" in unpublished["values_are_usable"][1]
    columns = (
        "date, capability, interaction_count, duplicate_call_count, unlisted_status_count, invalid_duration_count, "
        "invalid_prompt_tokens_count, invalid_completion_tokens_count, invalid_source_documents_count"
    )
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        # The third newest day has faults that no longer count.
        connection.execute(
            f"""create table analytics.ai_audit_data_quality as select * from (values
                (date '2026-11-01', 'old', 50, 9, 9, 9, 9, 9, 9), (date '2026-11-02', 'chat', 90, 3, 2, 0, 4, 0, 0),
                (date '2026-11-03', 'chat', 100, 1, 0, 1, 0, 0, 0), (date '2026-11-03', 'draft', 10, 0, 0, 0, 0, 0, 0)
            ) as made ({columns})"""
        )
        connection.execute(
            """create table analytics.ai_audit_status_words as select * from (values
                (date '2026-11-01', 'old', false, 9), (date '2026-11-02', 'banana', false, 2),
                (date '2026-11-03', 'ok', true, 110)) as made (date, status, is_listed, interaction_count)"""
        )
        publish(DuckDBMaintenance(connection), settings.snapshot_folder, NOW)
    found = results()
    assert set(found) == DATA_QUALITY
    assert not any(passed for passed, _ in found.values())
    assert "4 of 200 interactions of the newest 2 days (2.00%)" in found["calls_are_logged_once"][1]
    assert "chat (4); ai_audit_data_quality.call_count" in found["calls_are_logged_once"][1]
    assert "2 of 200" in found["status_words_are_listed"][1]
    assert ": banana (2); add it to source.statuses" in found["status_words_are_listed"][1]
    assert "durations (1), prompt tokens (4);" in found["values_are_usable"][1]
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        connection.execute("delete from analytics.ai_audit_data_quality where date < '2026-11-03'")
        connection.execute("delete from analytics.ai_audit_status_words where date < '2026-11-03'")
        connection.execute(
            "update analytics.ai_audit_data_quality set duplicate_call_count = 0, invalid_duration_count = 0"
        )
        publish(DuckDBMaintenance(connection), settings.snapshot_folder, NOW)
    assert all(passed for passed, _ in results().values())
