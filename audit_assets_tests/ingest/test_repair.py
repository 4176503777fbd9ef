"""What a repair finds, fixes and records, and which versions a delta keeps of the rows it overwrites."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import start_of
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    POLICY,
    TEXT_TABLE,
    assert_all_accounted_for,
    execute,
    fetch,
    insert_row,
    insert_rows,
    loaded_ids,
    query_source,
    repair_diff,
    run,
    source_ids,
)

pytestmark = pytest.mark.requirement("R16")


def test_a_repair_records_what_it_added_changed_and_removed(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 8, NOW - 8 * DAY, DAY)
    run(source, warehouse, "full")
    insert_row(source, "late", NOW - 5 * DAY)
    execute(source, "update ai_audit_logs set capability = 'draft' where id = 'r3'")
    execute(source, "delete from ai_audit_logs where id = 'r4'")
    report = run(source, warehouse, "full", since=NOW - 8 * DAY)
    counts = report.run.counts
    assert (counts.added, counts.changed, counts.removed) == (1, 1, 1)
    assert repair_diff(warehouse) == [("added", "late"), ("changed", "r3"), ("gone", "r4")]
    versions = fetch(
        warehouse,
        """select change, before::json ->> 'capability', after::json ->> 'capability', after::json ->> 'id', mode,
            sync_id
        from analytics.ai_audit_repair_diff order by change""",
    )
    assert versions == [
        ("added", None, "summarise", "late", "full", report.run.sync_id),
        ("changed", "summarise", "draft", "r3", "full", report.run.sync_id),
        ("gone", "summarise", None, None, "full", report.run.sync_id),
    ]
    assert report.days == tuple((NOW - days * DAY).date() for days in (6, 5))
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.mark.requirement("R39")
def test_the_rows_of_a_drill_come_change_and_go_without_being_a_repair(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "kept", NOW - 2 * DAY)
    run(source, warehouse, "full")
    drill = '{"drillId": "d1"}'
    for number in range(3):
        insert_row(source, f"drill-{number}", NOW - 5 * DAY, drill)
    run(source, warehouse, "full", since=NOW - 8 * DAY)
    execute(source, "update ai_audit_logs set capability = 'other' where id = 'drill-1'")
    execute(source, "delete from ai_audit_logs where id = 'drill-2'")
    run(source, warehouse, "full", since=NOW - 8 * DAY)
    assert loaded_ids(warehouse) == ["drill-0", "drill-1", "kept"]
    assert repair_diff(warehouse) == []


def test_whole_days_that_a_repair_finds_missing_are_on_record_as_added(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "now", NOW)
    run(source, warehouse, "full")
    insert_rows(source, 3, NOW - 5 * DAY, DAY)
    run(source, warehouse, "full", since=NOW - 8 * DAY)
    assert repair_diff(warehouse) == [("added", "r1"), ("added", "r2"), ("added", "r3")]


def test_new_rows_that_a_delta_would_have_brought_are_no_repair(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW - timedelta(hours=1))
    run(source, warehouse, "full")
    insert_row(source, "b", NOW)
    run(source, warehouse, "full")
    assert loaded_ids(warehouse) == ["a", "b"]
    assert repair_diff(warehouse) == []


def test_a_delta_that_overwrites_a_row_keeps_the_old_version(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW, None, '{"status": "pending"}')
    run(source, warehouse)
    execute(source, """update ai_audit_logs set response_metadata = '{"status": "success"}'""")
    report = run(source, warehouse)
    assert (report.run.mode, report.run.counts.changed, report.days) == ("delta", 1, (NOW.date(),))
    ((before, after),) = fetch(warehouse, "select before, after from analytics.ai_audit_repair_diff")
    assert (json.loads(before)["status"], json.loads(after)["status"]) == ("pending", "success")
    assert fetch(warehouse, "select status from analytics.ai_audit_logs") == [("success",)]


def test_a_day_that_emptied_is_emptied_where_that_is_accepted(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 100, NOW - 5 * DAY, DAY / 25)
    run(source, warehouse, "full")
    emptied = (NOW - 4 * DAY).date()
    execute(source, f"delete from ai_audit_logs where (created_at at time zone 'UTC')::date = '{emptied}'")
    before = len(loaded_ids(warehouse))
    report = run(source, warehouse, "days", days=(emptied, emptied), accept_removal_by="mara")
    assert report.run.counts.removed == 25
    assert report.days == (emptied,)
    assert loaded_ids(warehouse) == source_ids(source)
    assert len(repair_diff(warehouse)) == before - len(loaded_ids(warehouse)) == 25
    assert fetch(warehouse, f"select loads > loads_built from analytics.ai_audit_days where date = '{emptied}'") == [
        (True,)
    ]
    execute(source, "delete from ai_audit_logs")
    run(source, warehouse, "full", since=NOW - 10 * DAY, accept_removal_by="mara")
    assert loaded_ids(warehouse) == []


@pytest.mark.parametrize("kind", ["timestamptz", "text"])
@pytest.mark.parametrize("covered", ["the new day", "the old day"])
def test_a_row_that_moved_is_repaired_on_both_days_by_a_repair_of_either(
    source: str, warehouse: DuckDBWarehouse, kind: str, covered: str
):
    old, new = NOW - 9 * DAY, NOW - DAY
    if covered == "the old day":
        old, new = new, old
    if kind == "text":
        execute(source, TEXT_TABLE)
    insert_row(source, "moves", old.isoformat())
    insert_row(source, "stays", old.isoformat())
    insert_row(source, "went", old.isoformat())
    run(source, warehouse, "full")
    execute(source, "update ai_audit_logs set created_at = %s where id = 'moves'", (new.isoformat(),))
    execute(source, "delete from ai_audit_logs where id = 'went'")
    report = run(source, warehouse, "full", since=NOW - 2 * DAY)
    assert report.run.window_start == datetime.combine((NOW - 2 * DAY).date(), datetime.min.time(), UTC)
    assert fetch(warehouse, "select id, created_at from analytics.ai_audit_logs where id = 'moves'") == [("moves", new)]
    assert set(report.days) == {old.date(), new.date()}
    assert ("gone", "moves") in repair_diff(warehouse)
    assert loaded_ids(warehouse) == ["moves", "stays"]
    assert_all_accounted_for(source, warehouse)


def test_a_row_that_moved_is_duplicated_in_a_delta_only_until_the_repair(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "moves", NOW - 9 * DAY)
    run(source, warehouse)
    execute(source, "update ai_audit_logs set created_at = %s", (NOW,))
    run(source, warehouse)
    assert loaded_ids(warehouse) == ["moves", "moves"]
    run(source, warehouse, "full")
    assert loaded_ids(warehouse) == ["moves"]
    assert_all_accounted_for(source, warehouse)


def test_a_write_open_during_a_repair_is_covered_by_the_next(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    first = run(source, warehouse, "full").run.started_at
    with warehouse.connection("a test") as connection:
        connection.execute("update analytics.ai_audit_sync_state set oldest_write_seconds = 3 * 86400")
    report = run(source, warehouse, "full")
    assert report.run.window_start == start_of((first - 3 * DAY).date())


def test_rejected_rows_keep_the_time_they_were_first_seen(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    insert_row(source, "a", "no time")
    insert_row(source, None, NOW.isoformat())
    first = run(source, warehouse, "full", policy=POLICY).run.started_at
    again = run(source, warehouse, "full", policy=POLICY, now=NOW + timedelta(minutes=1)).run.started_at
    seen = fetch(warehouse, "select distinct first_seen_at, last_seen_at from analytics.ai_audit_rejects")
    assert seen == [(first, again)]
    assert query_source(source, "select count(*) from ai_audit_logs") == [(2,)]
