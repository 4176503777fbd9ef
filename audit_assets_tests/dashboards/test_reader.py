"""The reader of the dashboards reads one complete published snapshot at a time."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.query.reader import ReadError, SnapshotReader
from audit_assets.dashboards.query.scope import read_scope
from audit_assets.dashboards.query.sql import Query, tile_query
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.schema import MODEL_BUILD_COLUMNS, SCHEMA, SYNC_STATE_COLUMNS
from audit_assets.warehouse.snapshot import publish

COUNTED = Query(
    "select count(*) as rows, sum(interaction_count) as interactions from analytics.ai_audit_daily",
    tables=("ai_audit_daily",),
)
STAGING = f"create view {SCHEMA}.stg_ai_audit_logs as select id, created_at from {SCHEMA}.ai_audit_logs"


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """Two days of two tables, as after a sync and a build."""
    with duckdb.connect() as connection:
        connection.execute(f"""
            set TimeZone = 'UTC';
            create schema {SCHEMA};
            create table {SCHEMA}.warehouse_identity as select 'w' as warehouse_id;
            create table {SCHEMA}.ai_audit_days (date date, changes bigint, builds bigint);
            insert into {SCHEMA}.ai_audit_days values ('2026-11-01', 1, 1), ('2026-11-02', 1, 1);
            create table {SCHEMA}.ai_audit_sync_state ({_columns(SYNC_STATE_COLUMNS)});
            create table {SCHEMA}.ai_audit_model_builds ({_columns(MODEL_BUILD_COLUMNS)});
            create table {SCHEMA}.ai_audit_daily (date date, interaction_count bigint);
            insert into {SCHEMA}.ai_audit_daily values ('2026-11-01', 3), ('2026-11-02', 4);
            create table {SCHEMA}.ai_audit_workspace_stats (date date, total_interactions bigint);
            insert into {SCHEMA}.ai_audit_workspace_stats values ('2026-11-01', 3), ('2026-11-02', 4);
            create table {SCHEMA}.ai_audit_logs (id varchar, created_at timestamptz);
            insert into {SCHEMA}.ai_audit_logs values ('a', '2026-11-01 09:00+00'), ('b', '2026-11-02 09:00+00');
        """)
        connection.execute(STAGING)
        yield connection


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def of_days(first: str, last: str) -> Query:
    return Query(
        "select count(*) as n from analytics.stg_ai_audit_logs",
        tables=("stg_ai_audit_logs",),
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
    )


def totals(query_table: str, column: str) -> Query:
    return Query(f"select sum({column}) as n from analytics.{query_table}", tables=(query_table,))


def test_before_the_first_publish_the_error_names_what_to_run(tmp_path: Path):
    reader = SnapshotReader(tmp_path, ["ai_audit_daily"])
    assert reader.freshness() is None
    with pytest.raises(ReadError, match="run `make demo`"):
        reader.read(COUNTED)


def test_a_new_snapshot_is_followed_and_only_what_changed_is_read_again(
    tmp_path: Path, warehouse: duckdb.DuckDBPyConnection
):
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    publish(DuckDBMaintenance(warehouse), tmp_path, now)
    reader = SnapshotReader(tmp_path, ["ai_audit_daily", "ai_audit_workspace_stats"])
    assert reader.read(COUNTED).row(0) == (2, 7)
    assert reader.read(totals("ai_audit_workspace_stats", "total_interactions")).item() == 7
    unchanged = tmp_path / "ai_audit_workspace_stats/date=2026-11-01"
    shutil.rmtree(unchanged)  # loaded files are not read again
    warehouse.execute(f"update {SCHEMA}.ai_audit_daily set interaction_count = 40 where date = '2026-11-02'")
    warehouse.execute(f"update {SCHEMA}.ai_audit_workspace_stats set total_interactions = 40 where date = '2026-11-02'")
    warehouse.execute(f"update {SCHEMA}.ai_audit_days set builds = 2 where date = '2026-11-02'")
    publish(DuckDBMaintenance(warehouse), tmp_path, now)
    assert reader.read(COUNTED).row(0) == (2, 43)
    assert reader.read(totals("ai_audit_workspace_stats", "total_interactions")).item() == 43


def test_deleted_days_and_new_columns_are_followed(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection):
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    publish(DuckDBMaintenance(warehouse), tmp_path, now)
    reader = SnapshotReader(tmp_path, ["ai_audit_workspace_stats"])
    assert reader.read(totals("ai_audit_workspace_stats", "total_interactions")).item() == 7
    warehouse.execute(f"delete from {SCHEMA}.ai_audit_workspace_stats where date = '2026-11-01'")
    warehouse.execute(f"update {SCHEMA}.ai_audit_days set builds = 2 where date = '2026-11-01'")
    publish(DuckDBMaintenance(warehouse), tmp_path, now)
    assert reader.read(totals("ai_audit_workspace_stats", "total_interactions")).item() == 4
    warehouse.execute(f"alter table {SCHEMA}.ai_audit_workspace_stats add column error_count bigint default 5")
    publish(DuckDBMaintenance(warehouse), tmp_path, now)
    assert reader.read(totals("ai_audit_workspace_stats", "error_count")).item() == 5


def test_a_snapshot_that_cannot_be_read_completely_leaves_the_previous_one(
    tmp_path: Path, warehouse: duckdb.DuckDBPyConnection
):
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    publish(DuckDBMaintenance(warehouse), tmp_path, now)
    reader = SnapshotReader(tmp_path, ["ai_audit_daily", "ai_audit_workspace_stats"])
    reader.read(COUNTED)
    warehouse.execute(f"update {SCHEMA}.ai_audit_daily set interaction_count = 40 where date = '2026-11-02'")
    warehouse.execute(f"update {SCHEMA}.ai_audit_days set builds = 2 where date = '2026-11-02'")
    manifest = publish(DuckDBMaintenance(warehouse), tmp_path, now).manifest
    newest = tmp_path / manifest.files["ai_audit_workspace_stats"][-1].path
    newest.rename(tmp_path / "away")
    with pytest.raises(ReadError, match="No files found"):
        reader.read(COUNTED)
    (tmp_path / "away").rename(newest)
    assert reader.read(COUNTED).row(0) == (2, 43)


def test_only_the_requested_days_of_events_are_opened(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection):
    publish(DuckDBMaintenance(warehouse), tmp_path, datetime(2026, 11, 2, 12, tzinfo=UTC))
    reader = SnapshotReader(tmp_path, [])
    assert reader.read(of_days("2026-11-01", "2026-11-02")).item() == 2
    shutil.rmtree(tmp_path / "ai_audit_logs/date=2026-11-01")
    assert reader.read(of_days("2026-11-02", "2026-11-02")).item() == 1


def test_a_table_that_is_not_published_is_named(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection):
    publish(DuckDBMaintenance(warehouse), tmp_path, datetime(2026, 11, 2, 12, tzinfo=UTC))
    with pytest.raises(ReadError, match="ai_audit_alerts is not published yet: run `audit build`"):
        SnapshotReader(tmp_path, []).read(Query("select 1", tables=("ai_audit_alerts",)))


def test_user_input_is_passed_as_parameters_and_never_as_query_text():
    definition = load_definition(PROJECT_ROOT / "observability/dashboards/ai-audit")
    hostile = "x') or 1=1 --"
    filters: dict[str, str] = dict.fromkeys(
        ("capability", "provider", "team", "owner", "activity", "workspace"), hostile
    )
    scope, _ = read_scope(filters, datetime(2026, 11, 2, 12, tzinfo=UTC))
    for _, tile in definition.tiles:
        for engine in ("duckdb", "bigquery"):
            query = tile_query(tile, definition.source(tile.source), scope, engine=engine)
            assert hostile not in query.sql
            assert set(query.parameters.values()) <= {(hostile,)}
