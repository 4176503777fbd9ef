"""What each mode reads, how far the watermark moves, and that repeated syncs change nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import duckdb
import pytest

from audit_assets.ingest.windows import WindowError
from audit_assets.warehouse.duckdb.warehouse import THREADS, DuckDBWarehouse
from audit_assets.warehouse.protocol import DayWindow, Load, start_of
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    POLICY,
    assert_all_accounted_for,
    execute,
    fetch,
    insert_row,
    insert_rows,
    loaded_ids,
    repair_diff,
    run,
    source_ids,
)

HOUR = timedelta(hours=1)
RAW = "select * from analytics.ai_audit_logs order by id"


@pytest.mark.requirement("R10")
def test_the_same_window_twice_gives_the_same_table(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 300, NOW - 5 * DAY, 24 * timedelta(minutes=1))
    first = run(source, warehouse)
    before = fetch(warehouse, RAW)
    assert first.run.counts.added == 300
    for mode in ("delta", "full", "full", "delta"):
        again = run(source, warehouse, mode)
        assert (again.run.counts.added, again.run.counts.changed, again.run.counts.removed) == (0, 0, 0)
        assert again.days == ()
    days = run(source, warehouse, "days", days=((NOW - 5 * DAY).date(), NOW.date()))
    assert days.run.counts.read == 300
    assert fetch(warehouse, RAW) == before
    assert repair_diff(warehouse) == []


@pytest.mark.requirement("R11")
def test_the_first_delta_brings_everything_from_the_first_day(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "first", "2023-01-01 00:00:00+00")
    insert_row(source, "before", "2022-12-31 23:59:59.999999+00")
    insert_row(source, "now", NOW)
    report = run(source, warehouse)
    assert loaded_ids(warehouse) == ["first", "now"]
    assert report.run.counts.rejected == {"time_out_of_range": 1}
    assert report.days == (POLICY.first_day, NOW.date())
    assert_all_accounted_for(source, warehouse)


@pytest.mark.requirement("R11")
def test_a_delta_rereads_the_look_back_and_newer_rows(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW - HOUR)
    run(source, warehouse)
    insert_row(source, "late", NOW - HOUR - timedelta(minutes=14))
    insert_row(source, "too late", NOW - HOUR - timedelta(minutes=16))
    insert_row(source, "new", NOW)
    run(source, warehouse)
    assert loaded_ids(warehouse) == ["a", "late", "new"]
    run(source, warehouse, lookback=2 * HOUR)
    assert loaded_ids(warehouse) == ["a", "late", "new", "too late"]


@pytest.mark.requirement("R11")
def test_the_watermark_never_passes_the_sources_now(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "ahead", NOW + timedelta(minutes=8))
    insert_row(source, "far", "9999-12-31 23:59:59+00")
    report = run(source, warehouse)
    assert report.run.watermark is not None
    assert report.run.watermark <= NOW
    assert loaded_ids(warehouse) == ["ahead"]
    assert report.run.counts.rejected == {"time_out_of_range": 1}
    insert_row(source, "today", NOW)
    run(source, warehouse)
    assert loaded_ids(warehouse) == ["ahead", "today"]


@pytest.mark.requirement("R11")
def test_a_window_that_starts_after_the_watermark_leaves_no_hole(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "old", NOW - 3 * DAY)
    before = run(source, warehouse).run.watermark
    insert_row(source, "between", NOW - 2 * DAY)
    insert_row(source, "new", NOW - HOUR)
    assert run(source, warehouse, since=NOW - 2 * HOUR).run.watermark == before
    assert loaded_ids(warehouse) == ["new", "old"]
    assert run(source, warehouse).run.watermark == NOW - HOUR
    assert loaded_ids(warehouse) == ["between", "new", "old"]


@pytest.mark.requirement("R11")
def test_a_first_delta_with_since_does_not_hide_what_lies_before(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 10, NOW - 10 * DAY, DAY)
    assert run(source, warehouse, since=NOW - 2 * DAY).run.watermark is None
    run(source, warehouse)
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.mark.requirement("R11")
def test_a_full_sync_looks_back_to_the_last_good_repair(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 20, NOW - 20 * DAY, DAY)
    first = run(source, warehouse, "full").run.started_at
    execute(source, "update ai_audit_logs set capability = 'other'")
    with warehouse.connection("a test") as connection:  # as if the last good repair were nine days old
        connection.execute("update analytics.ai_audit_sync_state set started_at = started_at - interval 9 day")
        connection.execute(
            """insert into analytics.ai_audit_sync_state by name
            select sync_id || '-failed' as sync_id, 'failed' as status, 'full' as mode, ?::timestamptz as started_at,
                window_start, watermark from analytics.ai_audit_sync_state""",
            [NOW],
        )
    report = run(source, warehouse, "full", lookback=timedelta(hours=24))
    assert report.run.window_start == start_of((first - 9 * DAY).date())
    assert report.run.counts.changed == 20  # the days before the window by their comparison
    nightly = run(source, warehouse, "full")
    assert nightly.run.window_start == start_of((nightly.run.started_at - DAY).date())


@pytest.mark.requirement("R11")
def test_a_full_sync_that_began_after_the_last_good_repair_does_not_count_as_one(
    source: str, warehouse: DuckDBWarehouse
):
    insert_rows(source, 20, NOW - 20 * DAY, DAY)
    first = run(source, warehouse, "full").run.started_at
    with warehouse.connection("a test") as connection:
        connection.execute("update analytics.ai_audit_sync_state set started_at = started_at - interval 9 day")
    run(source, warehouse, "full", since=NOW - 2 * DAY)
    report = run(source, warehouse, "full")
    assert report.run.window_start == start_of((first - 9 * DAY).date())


@pytest.mark.requirement("R11")
def test_days_mode_rereads_just_its_days(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 6, NOW - 6 * DAY, DAY)
    day = (NOW - 4 * DAY).date()
    report = run(source, warehouse, "days", days=(day, day))
    assert loaded_ids(warehouse) == ["r3"]
    assert report.days == (day,)
    assert report.run.watermark is None
    run(source, warehouse)
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.mark.requirement("R11")
def test_a_window_in_the_future_is_refused_with_the_fix(source: str, warehouse: DuckDBWarehouse):
    with pytest.raises(WindowError, match="choose an earlier start"):
        run(source, warehouse, since=NOW + DAY)
    with pytest.raises(WindowError, match="a first and a last day"):
        run(source, warehouse, "days")
    assert (
        fetch(warehouse, "select status, error is not null from analytics.ai_audit_sync_state")
        == [("failed", True)] * 2
    )


@pytest.mark.requirement("R10")
def test_an_empty_source_gives_an_empty_table_and_hides_nothing_that_is_loaded_later(
    source: str, warehouse: DuckDBWarehouse
):
    for mode in ("delta", "full", "delta"):
        report = run(source, warehouse, mode)
        assert (report.run.counts.read, report.run.watermark, report.days) == (0, None, ())
    insert_rows(source, 5, NOW - 400 * DAY, DAY)
    run(source, warehouse)
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.mark.requirement("R10")
def test_a_first_load_that_breaks_off_goes_on_where_it_was(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 80, NOW - 79 * DAY, DAY)

    class BrokenOffError(Exception):
        pass

    def breaks(window: DayWindow, load: Load) -> None:
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        run(source, warehouse, listener=breaks)
    ((rows, newest),) = fetch(warehouse, "select count(*), max(created_at) from analytics.ai_audit_logs")
    assert 0 < rows < 80
    report = run(source, warehouse)
    assert report.run.window_start is not None
    assert report.run.window_start >= newest - POLICY.lookback
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.mark.requirement("R16")
def test_a_policy_with_a_longer_look_back_rereads_more(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW - HOUR)
    run(source, warehouse)
    insert_row(source, "late", NOW - 3 * HOUR)
    run(source, warehouse, policy=POLICY.model_copy(update={"lookback": 4 * HOUR}))
    assert loaded_ids(warehouse) == ["a", "late"]


@pytest.mark.requirement("R14")
def test_every_run_is_one_row_of_the_state_table(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW - HOUR)
    report = run(source, warehouse)
    ((state),) = fetch(
        warehouse,
        """select sync_id, mode, status, records_read, records_synced, last_synced_at, source_max_created_at,
            watermark, window_start, sync_duration_ms, sessions_visible from analytics.ai_audit_sync_state""",
    )
    ran = report.run
    assert state == (
        *(ran.sync_id, "delta", "succeeded", 1, 1, ran.last_synced_at, NOW - HOUR, NOW - HOUR, ran.window_start),
        *(ran.sync_duration_ms, True),
    )
    run(source, warehouse, "full")
    assert fetch(warehouse, "select mode, status from analytics.ai_audit_sync_state order by mode") == [
        ("delta", "succeeded"),
        ("full", "succeeded"),
    ]


@pytest.mark.requirement("R13")
def test_the_watermark_is_saved_with_the_rows_it_covers(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 80, NOW - 79 * DAY, DAY)
    commits: list[Load] = []

    def counts(window: DayWindow, load: Load) -> None:
        commits.append(load)
        state = warehouse_beside(warehouse)
        ((rows, newest, watermark),) = state
        assert rows == sum(load.counts.added for load in commits)
        assert newest <= watermark < newest + DAY

    def warehouse_beside(warehouse: DuckDBWarehouse) -> list[tuple[Any, ...]]:
        """The committed state, as another connection of this process sees it."""
        same: Any = {"memory_limit": warehouse.memory, "threads": THREADS, "preserve_insertion_order": False}
        with duckdb.connect(str(warehouse.path), config=same) as connection:
            return connection.execute(
                """select count(*), max(created_at),
                    (select max(watermark) from analytics.ai_audit_sync_state) from analytics.ai_audit_logs"""
            ).fetchall()

    run(source, warehouse, listener=counts)
    assert len(commits) > 1
