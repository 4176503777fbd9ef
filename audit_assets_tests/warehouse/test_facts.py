"""The sync runs that rule evaluation reads from a published snapshot."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.facts import read_sync_runs
from audit_assets.warehouse.protocol import LoadCounts, SyncRun
from audit_assets.warehouse.schema import ADDED_SYNC_STATE_COLUMNS
from audit_assets.warehouse.snapshot import open_snapshot, publish
from audit_assets_tests.warehouse.publishing import warehouse_in

pytestmark = pytest.mark.requirement("R35")

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def run(number: int, status: str = "failed", mode: str = "delta") -> SyncRun:
    """The run that started `number` minutes after NOW."""
    start = NOW + timedelta(minutes=number)
    return SyncRun(
        sync_id=f"run {number}", mode=mode, status=status,  # type: ignore[arg-type]
        window_start=start - timedelta(minutes=15), window_end=start, started_at=start,
        last_synced_at=start + timedelta(seconds=2) if status == "succeeded" else None, sync_duration_ms=2000,
        counts=LoadCounts(9, 1, 2, 3, {"any": 4}, 5), source_max_created_at=start, watermark=start,
        oldest_write_seconds=1.5, sessions_visible=False,
    )  # fmt: skip


def published(folder: Path, *runs: SyncRun) -> duckdb.DuckDBPyConnection:
    """The snapshot of a warehouse with these runs."""
    warehouse = warehouse_in(folder)
    with warehouse.writer("a test") as writer:
        for each in runs:
            writer.record(each)
    with warehouse.connection("a test") as connection:
        publish(DuckDBMaintenance(connection), folder / "published", NOW)
    return open_snapshot(folder / "published", ["ai_audit_sync_state"])


def ids(rows: tuple[SyncRun, ...]) -> list[str]:
    return [row.sync_id for row in rows]


def test_a_run_is_read_back_as_it_was_recorded(tmp_path: Path):
    with published(tmp_path, run(1, "succeeded")) as connection:
        connection.execute("set TimeZone = 'America/Los_Angeles'")
        (row,) = read_sync_runs(connection)
    assert row == run(1, "succeeded")
    assert row.started_at.tzinfo is UTC


def test_runs_that_an_earlier_version_published_are_read_without_what_was_not_measured_then(tmp_path: Path):
    with published(tmp_path, run(1, "succeeded")) as connection:
        added = ", ".join(ADDED_SYNC_STATE_COLUMNS)
        connection.execute(
            f"create table earlier as select * exclude ({added}) from analytics.ai_audit_sync_state;"
            "drop view analytics.ai_audit_sync_state; alter table earlier rename to ai_audit_sync_state;"
            "create view analytics.ai_audit_sync_state as select * from main.ai_audit_sync_state"
        )
        (row,) = read_sync_runs(connection)
    assert (row.sync_id, row.clock_skew_seconds, row.replay_lag_seconds) == ("run 1", None, None)


def test_runs_come_newest_first(tmp_path: Path):
    with published(tmp_path, run(2), run(3, "running"), run(1, "succeeded")) as connection:
        assert ids(read_sync_runs(connection)) == ["run 3", "run 2", "run 1"]
        assert ids(read_sync_runs(connection, newest=2)) == ["run 3", "run 2", "run 1"]


def test_the_last_success_is_found_behind_any_number_of_failures(tmp_path: Path):
    runs = [run(0, "succeeded"), run(1, "succeeded"), run(2, "succeeded", "days"), *(run(at) for at in range(3, 70))]
    with published(tmp_path, *runs) as connection:
        rows = ids(read_sync_runs(connection))
    assert rows == [*(f"run {at}" for at in range(69, 19, -1)), "run 2", "run 1", "run 0"]


def test_failed_repairs_and_the_good_ones_are_found_behind_any_number_of_deltas(tmp_path: Path):
    repairs = [run(0, "succeeded", "full"), run(1, "succeeded", "full"), *(run(at, mode="full") for at in range(2, 6))]
    with published(tmp_path, *repairs, *(run(at, "succeeded") for at in range(6, 130))) as connection:
        rows = ids(read_sync_runs(connection))
    assert rows == [*(f"run {at}" for at in range(129, 79, -1)), *(f"run {at}" for at in range(5, -1, -1))]


def test_a_warehouse_that_never_synced_has_no_runs(tmp_path: Path):
    with published(tmp_path) as connection:
        assert read_sync_runs(connection) == ()
