"""dbt in process yields the same events as the stock resource: assets, checks and outcomes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetExecutionContext, DagsterEventType, DagsterInstance, Definitions
from dagster_dbt import DbtCliResource, dbt_assets

from audit_assets.defs import dbt_events
from audit_assets.defs.dbt_events import read_manifest
from audit_assets.ingest.policy import Statuses
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.environments import NOW, Home, resources

pytestmark = pytest.mark.requirement("R27")

KINDS = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.ASSET_OBSERVATION,
)


def asset_events(result: Any) -> set[tuple[Any, ...]]:
    """The run's asset events with their content and the names of their metadata."""
    events: set[tuple[Any, ...]] = set()
    for event in result.all_events:
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            one = event.event_specific_data
            names = tuple(sorted(set(one.metadata) - {"days", "built_days"}))  # ours adds the days
            events.add(("check", one.asset_key, one.check_name, one.passed, one.severity, one.partition, names))
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            one = event.step_materialization_data.materialization
            events.add(("asset", one.asset_key, one.partition, frozenset(one.metadata)))
        elif event.event_type == DagsterEventType.ASSET_OBSERVATION:
            events.add(("observation", event.asset_key))
    return events


def test_the_events_of_a_build_equal_those_of_the_stock_resource(home: Home, monkeypatch: pytest.MonkeyPatch):
    from audit_assets.defs.dbt_events import DBT_FOLDER
    from audit_assets.defs.models import Translator, dbt_models
    from audit_assets.defs.project import ONE_RUN, read_project

    settings = home.settings()
    project = read_project(settings)
    models = dbt_models(project)
    day = NOW.date().isoformat()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        for _ in range(2):  # a duplicate row in the built day, so that a test fails
            connection.execute(
                """insert into analytics.ai_audit_logs select * replace (cast(? as timestamptz) as created_at)
                from analytics.ai_audit_logs order by created_at desc, id limit 1""",
                [day],
            )

    @dbt_assets(
        manifest=project.manifest,
        partitions_def=project.partitions,
        backfill_policy=ONE_RUN,
        dagster_dbt_translator=Translator(project),
        name="stock",
    )
    def stock(context: AssetExecutionContext) -> Iterator[Any]:
        dbt = DbtCliResource(
            project_dir=str(DBT_FOLDER),
            profiles_dir=str(DBT_FOLDER),
            dbt_executable=str(Path(sys.executable).with_name("dbt")),
        )
        for command in (["run"], ["test", "--exclude-resource-type", "unit_test"]):
            build = dbt.cli(command, context=context, target_path=home.folder / "dbt", raise_on_error=False)
            yield from build.stream()

    monkeypatch.setenv("AI_AUDIT_BUILD_DAYS", day)
    monkeypatch.setenv("AI_AUDIT_BUILD_NOW", NOW.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for name, value in Statuses().environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AI_AUDIT_DUCKDB_PATH", str(settings.duckdb_path))
    results: list[set[tuple[Any, ...]]] = []
    with DagsterInstance.ephemeral() as instance:
        for assets in (stock, models):
            defs = Definitions(assets=[assets], resources=resources())
            job = defs.resolve_implicit_global_asset_job_def()
            results.append(
                asset_events(job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False))
            )
    by_stock, by_ours = results
    assert by_ours - by_stock == set()
    assert by_stock - by_ours == set()
    failed = {event[2] for event in by_ours if event[0] == "check" and not event[3]}
    assert "unique_combination_of_columns_stg_ai_audit_logs_id" in failed
    assert {event[1].path[-1] for event in by_ours if event[0] == "asset"} == {key.path[-1] for key in models.keys}


def test_no_model_is_ephemeral_so_that_commands_can_share_the_parsed_project(built_home: Home):
    nodes = read_manifest(built_home.settings())["nodes"].values()
    kinds = {node["config"]["materialized"] for node in nodes if node["resource_type"] == "model"}
    assert "incremental" in kinds
    assert "ephemeral" not in kinds


def test_a_build_leaves_the_manifest_that_other_processes_read(home: Home, monkeypatch: pytest.MonkeyPatch):
    """They read it under a lock, which a build does not hold."""
    monkeypatch.setattr(dbt_events, "_parsed", {})
    read_manifest(home.settings())
    manifest = home.settings().dbt_target / "manifest.json"
    written = manifest.stat().st_mtime_ns
    assert home.build().succeeded
    assert manifest.stat().st_mtime_ns == written
