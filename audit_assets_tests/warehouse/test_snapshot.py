"""The published snapshot: which files are written, kept and deleted."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from os import utime
from pathlib import Path

import duckdb
import pytest

from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.statements import count_loads
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.snapshot import (
    KEEP_REPLACED,
    Manifest,
    Published,
    SnapshotError,
    delete_orphans,
    open_snapshot,
    publish,
    read_manifest,
)
from audit_assets_tests.warehouse.publishing import FIRST, NOW, add, assert_whole, counts, warehouse_in

SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)


class Publisher:
    """An open warehouse, and the folder it is published to."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.connection, self.folder = connection, folder

    def publish(self, now: datetime = NOW) -> Published:
        return publish(DuckDBMaintenance(self.connection), self.folder, now)


@pytest.fixture
def publisher(tmp_path: Path):
    warehouse: DuckDBWarehouse = warehouse_in(tmp_path)
    with warehouse.connection("a test") as connection:
        yield Publisher(connection, tmp_path / "published")


def paths(manifest: Manifest, table: str) -> dict[date | None, str]:
    return {file.day: file.path for file in manifest.files[table]}


@pytest.mark.requirement("R23c")
def test_without_a_snapshot_the_error_says_what_makes_one(tmp_path: Path):
    with pytest.raises(SnapshotError, match="run `make demo`, or `audit sync` and `audit build`"):
        open_snapshot(tmp_path / "nowhere")
    assert read_manifest(tmp_path / "nowhere") is None
    assert delete_orphans(tmp_path / "nowhere", NOW) == 0


@pytest.mark.parametrize("kept", [0, 1, 300])
def test_a_manifest_that_is_cut_off_is_named_to_readers_and_written_anew_by_the_next_publishing(
    publisher: Publisher, kept: int
):
    add(publisher.connection, FIRST, 10)
    publisher.publish()
    path = publisher.folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SnapshotError, match=r"manifest.json is truncated.*audit build"):
        open_snapshot(publisher.folder)
    assert read_manifest(publisher.folder) is None
    publisher.publish(NOW + timedelta(seconds=1))
    assert counts(publisher.folder) == (10, 10, 10)


def test_a_snapshot_of_empty_tables_has_all_their_columns(publisher: Publisher):
    manifest = publisher.publish().manifest
    assert manifest.files["ai_audit_logs"] == ()
    with open_snapshot(publisher.folder) as connection:
        relation = connection.sql("select * from analytics.ai_audit_logs")
        assert relation.columns[:5] == ["id", "workflow_id", "capability", "provider", "created_at"]
        assert "date" in relation.columns
        assert str(dict(zip(relation.columns, relation.types, strict=True))["created_at"]) == "TIMESTAMP WITH TIME ZONE"
        assert relation.fetchall() == []
        assert connection.execute("select count(*) from analytics.ai_audit_daily").fetchall() == [(0,)]


def test_only_the_days_that_changed_are_written_again(publisher: Publisher):
    for day in (FIRST, SECOND, THIRD):
        add(publisher.connection, day, 10)
    before = publisher.publish().manifest
    add(publisher.connection, SECOND, 5)
    published = publisher.publish(NOW + timedelta(seconds=1))
    for table in ("ai_audit_logs", "ai_audit_workspace_stats"):
        was, now = paths(before, table), paths(published.manifest, table)
        assert {day for day in now if now[day] != was[day]} == {SECOND}, table
    assert counts(publisher.folder) == (35, 35, 35)
    assert assert_whole(publisher.folder).snapshot_id == published.manifest.snapshot_id


def test_a_dense_table_is_written_again_from_the_first_changed_day_on(publisher: Publisher):
    days = (FIRST, SECOND, THIRD)
    for day in days:
        add(publisher.connection, day, 1)
        publisher.connection.execute("insert into analytics.ai_audit_capability_grid values (?, 'c', 1)", [day])
    before = paths(publisher.publish().manifest, "ai_audit_capability_grid")
    add(publisher.connection, SECOND, 1)
    after = paths(publisher.publish().manifest, "ai_audit_capability_grid")
    assert [day for day in days if before[day] != after[day]] == [SECOND, THIRD]


def test_days_that_left_a_dense_table_leave_the_snapshot(publisher: Publisher):
    grid = "analytics.ai_audit_capability_grid"
    add(publisher.connection, FIRST, 1)
    for day in (FIRST, SECOND, THIRD):  # the days of zeros after the first day have no build of their own
        publisher.connection.execute(f"insert into {grid} values (?, 'c', 1)", [day])
    publisher.publish()
    publisher.connection.execute(f"delete from {grid} where date < ?", [THIRD])
    DuckDBMaintenance(publisher.connection).mark_built([FIRST])
    publisher.publish()
    with open_snapshot(publisher.folder) as connection:
        assert connection.execute(f"select date from {grid}").fetchall() == [(THIRD,)]


def test_an_emptied_day_empties_in_the_snapshot(publisher: Publisher):
    add(publisher.connection, FIRST, 10)
    add(publisher.connection, SECOND, 4)
    publisher.publish()
    for table, column in (
        ("ai_audit_logs", "cast(created_at as date)"),
        ("ai_audit_workspace_stats", "date"),
        ("ai_audit_daily", "date"),
    ):
        publisher.connection.execute(f"delete from analytics.{table} where {column} = ?", [FIRST])
    count_loads(publisher.connection, {FIRST}, {FIRST})
    DuckDBMaintenance(publisher.connection).mark_built([FIRST])
    publisher.publish()
    assert counts(publisher.folder) == (4, 4, 4)
    assert_whole(publisher.folder)


def test_a_table_that_gains_a_column_is_written_whole_again(publisher: Publisher):
    for day in (FIRST, SECOND):
        add(publisher.connection, day, 3)
    before = publisher.publish().manifest
    publisher.connection.execute("alter table analytics.ai_audit_workspace_stats add column team varchar")
    after = publisher.publish().manifest
    assert not set(paths(before, "ai_audit_workspace_stats").values()) & set(
        paths(after, "ai_audit_workspace_stats").values()
    )
    assert paths(before, "ai_audit_logs") == paths(after, "ai_audit_logs")
    with open_snapshot(publisher.folder) as connection:
        assert connection.execute(
            "select count(*), count(team) from analytics.ai_audit_workspace_stats"
        ).fetchall() == [(2, 0)]


def test_a_dropped_table_leaves_the_snapshot_and_a_new_one_enters(publisher: Publisher):
    publisher.publish()
    publisher.connection.execute("drop table analytics.ai_audit_daily")
    publisher.connection.execute("create table analytics.ai_audit_new as select 1 as one")
    manifest = publisher.publish().manifest
    assert "ai_audit_daily" not in manifest.files
    with open_snapshot(publisher.folder, ["ai_audit_new", "no_such_table"]) as connection:
        assert connection.execute("select one from analytics.ai_audit_new").fetchall() == [(1,)]


def test_replaced_files_stay_ten_minutes_for_readers_that_are_on_them(publisher: Publisher):
    add(publisher.connection, FIRST, 10)
    old = publisher.publish().manifest
    with open_snapshot(publisher.folder) as reader:
        add(publisher.connection, FIRST, 10)
        publisher.publish(NOW + timedelta(minutes=1))
        publisher.publish(NOW + timedelta(minutes=1) + KEEP_REPLACED)
        assert reader.execute("select count(*) from analytics.ai_audit_logs").fetchall() == [(10,)]
        assert counts(publisher.folder) == (20, 20, 20)
        published = publisher.publish(NOW + timedelta(minutes=1, seconds=1) + KEEP_REPLACED)
        assert published.files_removed > 0
        assert not (publisher.folder / old.files["ai_audit_logs"][0].path).exists()
    assert_whole(publisher.folder)


@pytest.mark.requirement("R24")
def test_workspaces_are_written_again_only_when_they_were_read_again(publisher: Publisher):
    workspaces = "analytics.ai_audit_workspaces"
    publisher.connection.execute(f"insert into {workspaces} (workspace_id, synced_at) values ('w1', ?)", [NOW])
    first, second = (paths(publisher.publish().manifest, "ai_audit_workspaces") for _ in range(2))
    assert first == second
    publisher.connection.execute(f"update {workspaces} set synced_at = ?", [NOW + timedelta(hours=1)])
    assert paths(publisher.publish().manifest, "ai_audit_workspaces") != first
    publisher.connection.execute(f"delete from {workspaces}")
    publisher.publish()
    with open_snapshot(publisher.folder) as connection:
        assert connection.execute(f"select count(*) from {workspaces}").fetchall() == [(0,)]


def test_files_of_a_killed_publishing_are_deleted_after_ten_minutes(publisher: Publisher):
    add(publisher.connection, FIRST, 10)
    publisher.publish()
    add(publisher.connection, FIRST, 10)
    publisher.publish(NOW)
    known = set(publisher.folder.rglob("*.parquet"))
    fresh, old = (
        publisher.folder / "ai_audit_logs/date=2026-11-01" / name for name in ("fresh.parquet", "old.parquet")
    )
    for path, minutes in ((fresh, 9), (old, 11)):
        path.write_bytes(b"half")
        at = (NOW - timedelta(minutes=minutes)).timestamp()
        utime(path, (at, at))
    assert delete_orphans(publisher.folder, NOW) == 1
    assert set(publisher.folder.rglob("*.parquet")) == known | {fresh}


@pytest.mark.requirement("R14")
def test_the_manifest_says_how_far_the_source_was_read(publisher: Publisher):
    states = (
        ("a", "succeeded", NOW - timedelta(hours=2), NOW - timedelta(hours=3)),
        ("b", "failed", NOW - timedelta(hours=1), NOW - timedelta(hours=3)),
    )
    for sync_id, status, synced, watermark in states:
        publisher.connection.execute(
            """insert into analytics.ai_audit_sync_state (sync_id, mode, status, started_at, last_synced_at, watermark)
            values (?, 'delta', ?, ?, ?, ?)""",
            [sync_id, status, synced, synced, watermark],
        )
    manifest = publisher.publish().manifest
    assert manifest.last_synced_at == NOW - timedelta(hours=2)
    assert manifest.watermark == NOW - timedelta(hours=3)


@pytest.mark.requirement("R28")
def test_a_day_is_unbuilt_until_the_models_have_read_its_last_change(publisher: Publisher):
    maintenance = DuckDBMaintenance(publisher.connection)
    builds = "select date, builds from analytics.ai_audit_days where builds > 0"
    count_loads(publisher.connection, {FIRST, SECOND}, {FIRST})
    assert maintenance.unbuilt_days() == (FIRST,)
    maintenance.mark_built([FIRST, THIRD])
    assert maintenance.unbuilt_days() == ()
    assert dict(maintenance.fetch(builds)) == {FIRST: 1, THIRD: 1}
    count_loads(publisher.connection, {FIRST}, {FIRST})
    assert maintenance.unbuilt_days() == (FIRST,)
    maintenance.mark_built([FIRST])
    assert dict(maintenance.fetch(builds)) == {FIRST: 2, THIRD: 1}


def built(connection: duckdb.DuckDBPyConnection, tables: Collection[str], at: datetime, sync_id: str) -> None:
    """Records a build of the models `tables` at `at`, from the rows of a sync that ended just before."""
    connection.execute(
        """insert into analytics.ai_audit_sync_state (sync_id, mode, status, started_at, last_synced_at)
        select $sync, 'delta', 'succeeded', $at::timestamptz - interval 3 second, $at::timestamptz - interval 1 second
        where $sync not in (select sync_id from analytics.ai_audit_sync_state)""",
        {"sync": sync_id, "at": at},
    )
    DuckDBMaintenance(connection).record_builds(tables, ["ai_audit_daily", "ai_audit_workspace_stats"], at, sync_id)


@pytest.mark.requirement("R15")
def test_what_is_published_is_as_old_as_its_oldest_build_and_parts_make_it_no_younger(tmp_path: Path):
    folder, hour = tmp_path / "published", timedelta(hours=1)
    with warehouse_in(tmp_path).connection("a test") as connection:
        maintenance, both = DuckDBMaintenance(connection), ("ai_audit_daily", "ai_audit_workspace_stats")
        built(connection, both, NOW, "first")
        publish(maintenance, folder, NOW)
        built(connection, ["ai_audit_daily"], NOW + hour, "second")
        parts = publish(maintenance, folder, NOW + hour, only=("ai_audit_sync_state",)).manifest
        assert parts.last_synced_at == NOW - timedelta(seconds=1)
        assert (parts.published_at, parts.facts_published_at) == (NOW + hour, NOW)
        whole = publish(maintenance, folder, NOW + hour).manifest
        assert whole.last_synced_at == NOW - timedelta(seconds=1), "one model is still an hour behind"
        assert {table: build.read_until for table, build in whole.builds.items()} == {
            "ai_audit_daily": NOW + hour - timedelta(seconds=3),
            "ai_audit_workspace_stats": NOW - timedelta(seconds=3),
        }
        built(connection, both, NOW + 2 * hour, "third")
        assert publish(maintenance, folder, NOW + 2 * hour).manifest.last_synced_at == NOW + 2 * hour - timedelta(
            seconds=1
        )
        maintenance.record_builds([], ["ai_audit_daily"], NOW + 3 * hour, "third")
        assert set(publish(maintenance, folder, NOW + 3 * hour).manifest.builds) == {"ai_audit_daily"}, (
            "a model is removed"
        )


def test_the_sync_that_the_models_read_last_stays_on_record(tmp_path: Path):
    with warehouse_in(tmp_path).connection("a test") as connection:
        maintenance = DuckDBMaintenance(connection)
        built(connection, ["ai_audit_daily"], NOW, "read")
        for number in range(1, 4):
            built(connection, [], NOW + timedelta(minutes=number), f"later {number}")
        built(connection, ["ai_audit_daily"], NOW, "read")
        assert maintenance.prune_sync_state(NOW + timedelta(hours=1)) == 2
        kept = connection.execute("select sync_id from analytics.ai_audit_sync_state order by sync_id").fetchall()
        assert kept == [("later 3",), ("read",)]


@pytest.mark.requirement("R14")
def test_repairs_failures_and_what_the_models_read_stay_published_behind_any_number_of_deltas(tmp_path: Path):
    folder = tmp_path / "published"
    with warehouse_in(tmp_path).connection("a test") as connection:
        maintenance = DuckDBMaintenance(connection)
        built(connection, ["ai_audit_daily"], NOW, "read by the models")
        connection.execute(
            """insert into analytics.ai_audit_sync_state (sync_id, mode, status, started_at, last_synced_at)
            select mode || ' ' || n, mode, status, $now::timestamptz + n * interval 1 minute, $now::timestamptz
            from range(1, 3) nights(n), (values ('full', 'succeeded'), ('full', 'failed'), ('days', 'succeeded'))
                kinds(mode, status)
            union all
            select 'delta ' || n, 'delta', if(n = 1, 'failed', 'succeeded'),
                $now::timestamptz + n * interval 1 hour, $now::timestamptz from range(1, 5200) deltas(n)""",
            {"now": NOW},
        )
        publish(maintenance, folder, NOW)
    with open_snapshot(folder) as snapshot:
        kept = snapshot.execute(
            "select mode, status, count(*) from analytics.ai_audit_sync_state group by all order by all"
        ).fetchall()
        ((found,),) = snapshot.execute(
            "select count(*) from analytics.ai_audit_sync_state where sync_id = 'read by the models'"
        ).fetchall()
    assert kept == [
        ("days", "succeeded", 2), ("delta", "failed", 1), ("delta", "succeeded", 5001),
        ("full", "failed", 2), ("full", "succeeded", 2),
    ]  # fmt: skip
    assert found == 1


@pytest.mark.requirement("R41")
def test_the_version_of_a_table_grows_with_each_publishing_that_wrote_it_also_where_a_clock_went_back(tmp_path: Path):
    folder, versions = tmp_path / "published", list[dict[str, int]]()
    with warehouse_in(tmp_path).connection("a test") as connection:
        add(connection, FIRST, 2)
        for now, only in ((NOW, None), (NOW - timedelta(days=1), None), (NOW, ("ai_audit_sync_state",))):
            versions.append(publish(DuckDBMaintenance(connection), folder, now, only=only).manifest.versions)
    first, second, third = versions
    assert second["ai_audit_daily"] > first["ai_audit_daily"]
    assert third["ai_audit_daily"] == second["ai_audit_daily"]
    assert third["ai_audit_sync_state"] > second["ai_audit_sync_state"]
    assert first["ai_audit_logs"] == second["ai_audit_logs"] == third["ai_audit_logs"], "no day of it was written"
