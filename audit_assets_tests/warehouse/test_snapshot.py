"""The published snapshot: what is written, what stays, what goes."""

from datetime import UTC, date, datetime, timedelta
from os import utime
from pathlib import Path

import duckdb
import pytest

from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.duckdb_keeper import DuckDBKeeper
from audit_assets.warehouse.raw import count_days
from audit_assets.warehouse.snapshot import (
    KEEP_REPLACED,
    Manifest,
    Published,
    SnapshotError,
    open_snapshot,
    publish,
    read_manifest,
    sweep,
)
from audit_assets_tests.warehouse.publishing import FIRST, add, assert_whole, counts, warehouse_in

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)


class Desk:
    """A warehouse held open, and the folder it is published to."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.connection, self.folder = connection, folder

    def publish(self, now: datetime = NOW) -> Published:
        return publish(DuckDBKeeper(self.connection), self.folder, now)


@pytest.fixture
def desk(tmp_path: Path):
    warehouse: DuckDBWarehouse = warehouse_in(tmp_path)
    with warehouse.connection("a test") as connection:
        yield Desk(connection, tmp_path / "published")


def paths(manifest: Manifest, table: str) -> dict[date | None, str]:
    return {file.day: file.path for file in manifest.files[table]}


@pytest.mark.requirement("R23c")
def test_without_a_snapshot_the_error_says_what_makes_one(tmp_path: Path):
    with pytest.raises(SnapshotError, match="run `make demo`, or `audit sync` and `audit build`"):
        open_snapshot(tmp_path / "nowhere")
    assert read_manifest(tmp_path / "nowhere") is None
    assert sweep(tmp_path / "nowhere", NOW) == 0


def test_a_snapshot_of_empty_tables_has_all_their_columns(desk: Desk):
    manifest = desk.publish().manifest
    assert manifest.files["ai_audit_logs"] == ()
    with open_snapshot(desk.folder) as connection:
        relation = connection.sql("select * from analytics.ai_audit_logs")
        assert relation.columns[:5] == ["id", "workflow_id", "capability", "provider", "created_at"]
        assert "date" in relation.columns
        assert str(dict(zip(relation.columns, relation.types, strict=True))["created_at"]) == "TIMESTAMP WITH TIME ZONE"
        assert relation.fetchall() == []
        assert connection.execute("select count(*) from analytics.ai_audit_daily").fetchall() == [(0,)]


def test_only_the_days_that_changed_are_written_again(desk: Desk):
    for day in (FIRST, SECOND, THIRD):
        add(desk.connection, day, 10)
    before = desk.publish().manifest
    add(desk.connection, SECOND, 5)
    published = desk.publish(NOW + timedelta(seconds=1))
    for table in ("ai_audit_logs", "ai_audit_workspace_stats"):
        was, now = paths(before, table), paths(published.manifest, table)
        assert {day for day in now if now[day] != was[day]} == {SECOND}, table
    assert counts(desk.folder) == (35, 35, 35)
    assert assert_whole(desk.folder).snapshot_id == published.manifest.snapshot_id


def test_a_dense_table_is_written_again_from_the_first_changed_day_on(desk: Desk):
    days = (FIRST, SECOND, THIRD)
    for day in days:
        add(desk.connection, day, 1)
        desk.connection.execute("insert into analytics.ai_audit_capability_grid values (?, 'c', 1)", [day])
    before = paths(desk.publish().manifest, "ai_audit_capability_grid")
    add(desk.connection, SECOND, 1)
    after = paths(desk.publish().manifest, "ai_audit_capability_grid")
    assert [day for day in days if before[day] != after[day]] == [SECOND, THIRD]


def test_days_that_left_a_dense_table_leave_the_snapshot(desk: Desk):
    grid = "analytics.ai_audit_capability_grid"
    add(desk.connection, FIRST, 1)
    for day in (FIRST, SECOND, THIRD):  # zeros follow the first day, without a build of their own
        desk.connection.execute(f"insert into {grid} values (?, 'c', 1)", [day])
    desk.publish()
    desk.connection.execute(f"delete from {grid} where date < ?", [THIRD])
    DuckDBKeeper(desk.connection).mark_built([FIRST])
    desk.publish()
    with open_snapshot(desk.folder) as connection:
        assert connection.execute(f"select date from {grid}").fetchall() == [(THIRD,)]


def test_an_emptied_day_empties_in_the_snapshot(desk: Desk):
    add(desk.connection, FIRST, 10)
    add(desk.connection, SECOND, 4)
    desk.publish()
    for table, column in (
        ("ai_audit_logs", "cast(created_at as date)"),
        ("ai_audit_workspace_stats", "date"),
        ("ai_audit_daily", "date"),
    ):
        desk.connection.execute(f"delete from analytics.{table} where {column} = ?", [FIRST])
    count_days(desk.connection, {FIRST}, {FIRST})
    DuckDBKeeper(desk.connection).mark_built([FIRST])
    desk.publish()
    assert counts(desk.folder) == (4, 4, 4)
    assert_whole(desk.folder)


def test_a_table_that_gains_a_column_is_written_whole_again(desk: Desk):
    for day in (FIRST, SECOND):
        add(desk.connection, day, 3)
    before = desk.publish().manifest
    desk.connection.execute("alter table analytics.ai_audit_workspace_stats add column team varchar")
    after = desk.publish().manifest
    assert not set(paths(before, "ai_audit_workspace_stats").values()) & set(
        paths(after, "ai_audit_workspace_stats").values()
    )
    assert paths(before, "ai_audit_logs") == paths(after, "ai_audit_logs")
    with open_snapshot(desk.folder) as connection:
        assert connection.execute(
            "select count(*), count(team) from analytics.ai_audit_workspace_stats"
        ).fetchall() == [(2, 0)]


def test_a_dropped_table_leaves_the_snapshot_and_a_new_one_enters(desk: Desk):
    desk.publish()
    desk.connection.execute("drop table analytics.ai_audit_daily")
    desk.connection.execute("create table analytics.ai_audit_new as select 1 as one")
    manifest = desk.publish().manifest
    assert "ai_audit_daily" not in manifest.files
    with open_snapshot(desk.folder, ["ai_audit_new", "no_such_table"]) as connection:
        assert connection.execute("select one from analytics.ai_audit_new").fetchall() == [(1,)]


def test_replaced_files_stay_ten_minutes_for_readers_that_are_on_them(desk: Desk):
    add(desk.connection, FIRST, 10)
    old = desk.publish().manifest
    with open_snapshot(desk.folder) as reader:
        add(desk.connection, FIRST, 10)
        desk.publish(NOW + timedelta(minutes=1))
        desk.publish(NOW + timedelta(minutes=1) + KEEP_REPLACED)
        assert reader.execute("select count(*) from analytics.ai_audit_logs").fetchall() == [(10,)]
        assert counts(desk.folder) == (20, 20, 20)
        published = desk.publish(NOW + timedelta(minutes=1, seconds=1) + KEEP_REPLACED)
        assert published.files_removed > 0
        assert not (desk.folder / old.files["ai_audit_logs"][0].path).exists()
    assert_whole(desk.folder)


@pytest.mark.requirement("R24")
def test_workspaces_are_written_again_only_when_they_were_read_again(desk: Desk):
    workspaces = "analytics.ai_audit_workspaces"
    desk.connection.execute(f"insert into {workspaces} (workspace_id, synced_at) values ('w1', ?)", [NOW])
    first, second = (paths(desk.publish().manifest, "ai_audit_workspaces") for _ in range(2))
    assert first == second
    desk.connection.execute(f"update {workspaces} set synced_at = ?", [NOW + timedelta(hours=1)])
    assert paths(desk.publish().manifest, "ai_audit_workspaces") != first
    desk.connection.execute(f"delete from {workspaces}")
    desk.publish()
    with open_snapshot(desk.folder) as connection:
        assert connection.execute(f"select count(*) from {workspaces}").fetchall() == [(0,)]


def test_what_a_killed_publishing_left_is_swept_after_ten_minutes(desk: Desk):
    add(desk.connection, FIRST, 10)
    desk.publish()
    add(desk.connection, FIRST, 10)
    desk.publish(NOW)
    known = set(desk.folder.rglob("*.parquet"))
    fresh, old = (desk.folder / "ai_audit_logs/date=2026-11-01" / name for name in ("fresh.parquet", "old.parquet"))
    for path in (fresh, old):
        path.write_bytes(b"half")
    utime(old, (0, 0))
    assert sweep(desk.folder, datetime.now(UTC)) == 1
    assert set(desk.folder.rglob("*.parquet")) == known | {fresh}


@pytest.mark.requirement("R14")
def test_the_manifest_says_how_far_the_source_was_read(desk: Desk):
    states = (
        ("a", "succeeded", NOW - timedelta(hours=2), NOW - timedelta(hours=3)),
        ("b", "failed", NOW - timedelta(hours=1), NOW - timedelta(hours=3)),
    )
    for sync_id, status, synced, watermark in states:
        desk.connection.execute(
            """insert into analytics.ai_audit_sync_state (sync_id, mode, status, started_at, last_synced_at, watermark)
            values (?, 'delta', ?, ?, ?, ?)""",
            [sync_id, status, synced, synced, watermark],
        )
    manifest = desk.publish().manifest
    assert manifest.last_synced_at == NOW - timedelta(hours=2)
    assert manifest.watermark == NOW - timedelta(hours=3)


@pytest.mark.requirement("R28")
def test_a_day_is_unbuilt_until_the_models_have_read_its_last_change(desk: Desk):
    keeper = DuckDBKeeper(desk.connection)
    builds = "select date, builds from analytics.ai_audit_days where builds > 0"
    count_days(desk.connection, {FIRST, SECOND}, {FIRST})
    assert keeper.unbuilt_days() == (FIRST,)
    keeper.mark_built([FIRST, THIRD])
    assert keeper.unbuilt_days() == ()
    assert dict(keeper.fetch(builds)) == {FIRST: 1, THIRD: 1}
    count_days(desk.connection, {FIRST}, {FIRST})
    assert keeper.unbuilt_days() == (FIRST,)
    keeper.mark_built([FIRST])
    assert dict(keeper.fetch(builds)) == {FIRST: 2, THIRD: 1}
