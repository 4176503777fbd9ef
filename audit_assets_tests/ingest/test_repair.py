"""What a repair finds, mends and puts on record, and what a delta keeps of the rows it overwrites."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.protocol import start_of
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    POLICY,
    TEXT_TABLE,
    ask,
    assert_all_accounted,
    diff,
    held,
    held_ids,
    put,
    run,
    source_ids,
    spread,
    tell,
)

pytestmark = pytest.mark.requirement("R16")

NOON = datetime(NOW.year, NOW.month, NOW.day, 12, tzinfo=UTC)


def test_a_repair_records_what_it_added_changed_and_removed(source: str, warehouse: DuckDBWarehouse):
    spread(source, 8, NOW - 8 * DAY, DAY)
    run(source, warehouse, "full")
    put(source, "late", NOW - 5 * DAY)
    tell(source, "update ai_audit_logs set capability = 'draft' where id = 'r3'")
    tell(source, "delete from ai_audit_logs where id = 'r4'")
    report = run(source, warehouse, "full", since=NOW - 8 * DAY)
    counts = report.run.counts
    assert (counts.added, counts.changed, counts.removed) == (1, 1, 1)
    assert diff(warehouse) == [("added", "late"), ("changed", "r3"), ("gone", "r4")]
    versions = held(
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
    assert held_ids(warehouse) == source_ids(source)


@pytest.mark.requirement("R39")
def test_the_rows_of_a_drill_come_change_and_go_without_being_a_repair(source: str, warehouse: DuckDBWarehouse):
    put(source, "kept", NOW - 2 * DAY)
    run(source, warehouse, "full")
    drill = '{"drillId": "d1"}'
    for number in range(3):
        put(source, f"drill-{number}", NOW - 5 * DAY, drill)
    run(source, warehouse, "full", since=NOW - 8 * DAY)
    tell(source, "update ai_audit_logs set capability = 'other' where id = 'drill-1'")
    tell(source, "delete from ai_audit_logs where id = 'drill-2'")
    run(source, warehouse, "full", since=NOW - 8 * DAY)
    assert held_ids(warehouse) == ["drill-0", "drill-1", "kept"]
    assert diff(warehouse) == []


def test_whole_days_that_a_repair_finds_missing_are_on_record_as_added(source: str, warehouse: DuckDBWarehouse):
    put(source, "now", NOW)
    run(source, warehouse, "full")
    spread(source, 3, NOW - 5 * DAY, DAY)
    run(source, warehouse, "full", since=NOW - 8 * DAY)
    assert diff(warehouse) == [("added", "r1"), ("added", "r2"), ("added", "r3")]


def test_new_rows_that_a_delta_would_have_brought_are_no_repair(source: str, warehouse: DuckDBWarehouse):
    put(source, "a", NOW - timedelta(hours=1))
    run(source, warehouse, "full")
    put(source, "b", NOW)
    run(source, warehouse, "full")
    assert held_ids(warehouse) == ["a", "b"]
    assert diff(warehouse) == []


def test_a_delta_that_overwrites_a_row_keeps_the_old_version(source: str, warehouse: DuckDBWarehouse):
    put(source, "a", NOW, None, '{"status": "pending"}')
    run(source, warehouse)
    tell(source, """update ai_audit_logs set response_metadata = '{"status": "success"}'""")
    report = run(source, warehouse)
    assert (report.run.mode, report.run.counts.changed, report.days) == ("delta", 1, (NOW.date(),))
    ((before, after),) = held(warehouse, "select before, after from analytics.ai_audit_repair_diff")
    assert (json.loads(before)["status"], json.loads(after)["status"]) == ("pending", "success")
    assert held(warehouse, "select status from analytics.ai_audit_logs") == [("success",)]


def test_a_day_that_emptied_is_emptied(source: str, warehouse: DuckDBWarehouse):
    spread(source, 100, NOW - 5 * DAY, DAY / 25)
    run(source, warehouse, "full")
    emptied = (NOW - 4 * DAY).date()
    tell(source, f"delete from ai_audit_logs where (created_at at time zone 'UTC')::date = '{emptied}'")
    before = len(held_ids(warehouse))
    report = run(source, warehouse, "days", days=(emptied, emptied))
    assert report.run.counts.removed == 25
    assert report.days == (emptied,)
    assert held_ids(warehouse) == source_ids(source)
    assert len(diff(warehouse)) == before - len(held_ids(warehouse)) == 25
    assert held(warehouse, f"select loads > loads_built from analytics.ai_audit_days where date = '{emptied}'") == [
        (True,)
    ]
    tell(source, "delete from ai_audit_logs")
    run(source, warehouse, "full", since=NOW - 10 * DAY)
    assert held_ids(warehouse) == []


@pytest.mark.parametrize("kind", ["timestamptz", "text"])
@pytest.mark.parametrize("covered", ["the new day", "the old day"])
def test_a_row_that_moved_is_mended_by_a_repair_of_one_of_its_days(
    source: str, warehouse: DuckDBWarehouse, kind: str, covered: str
):
    old, new = NOON - 9 * DAY, NOON - DAY
    if covered == "the old day":
        old, new = new, old
    if kind == "text":
        tell(source, TEXT_TABLE)
    put(source, "moves", old.isoformat())
    put(source, "stays", old.isoformat())
    put(source, "went", old.isoformat())
    run(source, warehouse, "full")
    tell(source, "update ai_audit_logs set created_at = %s where id = 'moves'", (new.isoformat(),))
    tell(source, "delete from ai_audit_logs where id = 'went'")
    report = run(source, warehouse, "full", since=NOON - 2 * DAY)
    assert report.run.window_start == datetime.combine((NOON - 2 * DAY).date(), datetime.min.time(), UTC)
    assert held(warehouse, "select id, created_at from analytics.ai_audit_logs where id = 'moves'") == [("moves", new)]
    assert set(report.days) == {old.date(), new.date()}
    assert ("gone", "moves") in diff(warehouse)
    assert held_ids(warehouse) == ["moves", "stays"]
    assert_all_accounted(source, warehouse)


def test_a_row_that_moved_doubles_in_a_delta_only_until_the_repair(source: str, warehouse: DuckDBWarehouse):
    put(source, "moves", NOON - 9 * DAY)
    run(source, warehouse)
    tell(source, "update ai_audit_logs set created_at = now()")
    run(source, warehouse)
    assert held_ids(warehouse) == ["moves", "moves"]
    run(source, warehouse, "full")
    assert held_ids(warehouse) == ["moves"]
    assert_all_accounted(source, warehouse)


def test_a_write_open_during_a_repair_is_covered_by_the_next(source: str, warehouse: DuckDBWarehouse):
    put(source, "a", NOW)
    first = run(source, warehouse, "full").run.started_at
    with warehouse.connection("a test") as connection:
        connection.execute("update analytics.ai_audit_sync_state set oldest_write_seconds = 3 * 86400")
    report = run(source, warehouse, "full")
    assert report.run.window_start == start_of((first - 3 * DAY).date())


def test_refused_rows_keep_the_time_they_were_first_seen(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    put(source, "a", "no time")
    put(source, None, NOW.isoformat())
    first = run(source, warehouse, "full", policy=POLICY).run.started_at
    again = run(source, warehouse, "full", policy=POLICY).run.started_at
    seen = held(warehouse, "select distinct first_seen_at, last_seen_at from analytics.ai_audit_rejects")
    assert seen == [(first, again)]
    assert ask(source, "select count(*) from ai_audit_logs") == [(2,)]
