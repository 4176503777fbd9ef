"""The asset graph, as the UI shows it before any run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import AssetKey

from audit_assets_tests.environments import Home, definitions

MARTS = {
    "ai_audit_capabilities",
    "ai_audit_capability_anomalies",
    "ai_audit_capability_grid",
    "ai_audit_capability_outcomes",
    "ai_audit_capability_stats",
    "ai_audit_daily",
    "ai_audit_data_quality",
    "ai_audit_status_words",
    "ai_audit_error_funnel",
    "ai_audit_latency_histogram",
    "ai_audit_total_grid",
    "ai_audit_total_outcomes",
    "ai_audit_workspace_counts",
    "ai_audit_workspace_coverage",
    "ai_audit_workspace_stats",
}
INTERMEDIATE = {
    "int_ai_audit_calendar_steps",
    "int_ai_audit_expected_counts",
    "int_ai_audit_step_counts",
    "int_ai_audit_trailing_outcomes",
}
COPIES = {"ai_audit_alerts", "ai_audit_alert_events", "ai_audit_alert_deliveries", "ai_audit_remediations"}
INGESTED = {
    "ai_audit_days",
    "ai_audit_discrepancies",
    "ai_audit_logs",
    "ai_audit_rejects",
    "ai_audit_repair_diff",
    "ai_audit_sync_state",
    "ai_audit_workspaces",
}
SOURCES = {"source_ai_audit_logs", "source_workflows"}
DASHBOARDS = {"dashboard_overview", "dashboard_workspace", "dashboard_capability"}


@pytest.fixture
def graph(built_home: Home) -> Any:
    return definitions().resolve_asset_graph()


def nodes(graph: Any) -> Iterator[Any]:
    return (graph.get(key) for key in graph.get_all_asset_keys())


def columns_of(node: Any) -> list[Any]:
    schema = node.metadata["dagster/column_schema"]
    return list(getattr(schema, "schema", schema).columns)


@pytest.mark.requirement("R01", "R20", "R21", "R22", "R23", "R24", "R26")
def test_every_table_is_an_asset_of_its_own_name(graph: Any, built_home: Home):
    from audit_assets.defs.project import read_project

    project = read_project(built_home.settings())
    models, sources = project.model_names, {node["name"] for node in project.manifest["sources"].values()}
    assert {key.path[-1] for key in graph.get_all_asset_keys()} == {
        *models,
        *sources,
        *SOURCES,
        "published_snapshot",
        *COPIES,
        *DASHBOARDS,
    }
    assert all(len(key.path) == 1 for key in graph.get_all_asset_keys())
    assert sources == INGESTED
    assert models >= MARTS


def test_assets_lie_in_groups_by_stage(graph: Any):
    groups: dict[str, set[str]] = {}
    for node in nodes(graph):
        groups.setdefault(node.group_name, set()).add(node.key.path[-1])
    assert groups["source"] == SOURCES
    assert groups["ingestion"] == INGESTED
    assert groups["staging"] == {"stg_ai_audit_logs"}
    assert groups["intermediate"] == INTERMEDIATE
    assert groups["marts"] >= MARTS
    assert groups["serving"] == {"published_snapshot"}
    assert groups["alerting"] == COPIES
    assert groups["dashboards"] == DASHBOARDS


def test_every_asset_has_a_description_an_owner_and_a_kind(graph: Any):
    for node in nodes(graph):
        assert node.description, node.key
        assert node.owners == ["team:data-platform"], node.key
        assert node.kinds, node.key
    assert graph.get(AssetKey("ai_audit_daily")).kinds == {"dbt", "duckdb", "table"}
    assert graph.get(AssetKey("stg_ai_audit_logs")).kinds == {"dbt", "duckdb", "view"}


@pytest.mark.requirement("R01", "R04")
def test_every_table_shows_its_columns(graph: Any):
    for node in nodes(graph):
        if node.key.path[-1] in {"published_snapshot", *DASHBOARDS}:
            continue
        columns = columns_of(node)
        assert columns, node.key
        if node.group_name in ("marts", "staging", "alerting") or node.key.path[-1] == "ai_audit_logs":
            assert [column.name for column in columns if not column.description] == [], node.key


def test_no_column_of_raw_holds_what_people_wrote(graph: Any):
    columns = columns_of(graph.get(AssetKey("ai_audit_logs")))
    assert not {"request_metadata", "response_metadata", "prompt", "response", "error"} & {c.name for c in columns}


@pytest.mark.requirement("R15")
def test_raw_and_marts_are_to_be_fresh_within_five_minutes(graph: Any):
    fresh = {"ai_audit_logs", "stg_ai_audit_logs", "published_snapshot", *INTERMEDIATE, *MARTS}
    for node in nodes(graph):
        if node.key.path[-1] in fresh:
            assert node.freshness_policy.fail_window.to_timedelta() == timedelta(minutes=5), node.key
        else:
            assert node.freshness_policy is None, node.key


@pytest.mark.requirement("R18")
def test_tables_by_day_share_partitions_from_the_first_day_to_the_running_one(graph: Any, built_home: Home):
    from audit_assets.defs.project import read_project

    project = read_project(built_home.settings())
    for node in nodes(graph):
        if node.key.path[-1] in {"ai_audit_logs", "stg_ai_audit_logs", *INTERMEDIATE, *MARTS}:
            assert node.partitions_def == project.partitions
            assert node.backfill_policy.max_partitions_per_run is None  # a range is one run
    keys = project.partitions.get_partition_keys(current_time=datetime(2026, 11, 5, 0, 0, 1, tzinfo=UTC))
    assert (keys[0], keys[-1]) == (project.policy.first_day.isoformat(), "2026-11-05")


def test_the_data_flow_one_way_from_the_source_to_the_snapshot(graph: Any):
    def parents(name: str) -> set[str]:
        return {key.path[-1] for key in graph.get(AssetKey(name)).parent_keys}

    assert parents("ai_audit_logs") == {"source_ai_audit_logs"}
    assert parents("ai_audit_workspaces") == {"source_workflows"}
    assert parents("ai_audit_workspace_coverage") == {"ai_audit_workspaces", "ai_audit_workspace_counts"}
    assert parents("stg_ai_audit_logs") == {"ai_audit_logs"}
    assert parents("ai_audit_capability_anomalies") >= {"ai_audit_capability_stats"}
    assert parents("published_snapshot") >= {*MARTS, *INGESTED}
    assert all(parents(copy) == {"published_snapshot"} for copy in COPIES)
    assert all(parents(dashboard) > {"published_snapshot"} for dashboard in DASHBOARDS)
    assert parents("dashboard_workspace") == {"ai_audit_workspace_counts", "published_snapshot"}


@pytest.mark.requirement("R27")
def test_a_second_load_does_not_parse_the_dbt_project_again(built_home: Home):
    from audit_assets.defs.dbt_events import read_manifest

    read_manifest(built_home.settings())
    path = built_home.folder / "dbt/manifest.json"
    before = path.stat().st_mtime_ns
    assert read_manifest(built_home.settings())["nodes"]
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:1000])
    assert read_manifest(built_home.settings())["nodes"], "a truncated file is written again"
