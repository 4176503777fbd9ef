"""Removals beyond the limits: many rows missing at the source are kept until somebody accepts their removal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.sync import SyncReport
from audit_assets.ingest.windows import WindowError
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import RemovalLimit
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    POLICY,
    TEXT_TABLE,
    execute,
    fetch,
    insert_row,
    insert_rows,
    loaded_ids,
    repair_diff,
    run,
    source_ids,
)

pytestmark = pytest.mark.requirement("R49")

NOON = datetime(NOW.year, NOW.month, NOW.day, 12, tzinfo=UTC)
HELD = """select table_name, date, row_count, source_rows, warehouse_rows from analytics.ai_audit_discrepancies
    where kind = 'removal_held' order by all"""


def limit(removed: int = 0, window_is_lost: bool = False) -> RemovalLimit:
    return RemovalLimit(
        max_share=0.1, max_rows=1000, min_rows=10, removed_before=removed, window_is_lost=window_is_lost
    )


@pytest.mark.parametrize(
    ("missing", "of", "removed_before", "is_held"),
    [(0, 0, 0, False), (10, 10, 0, False), (11, 11, 0, True), (11, 110, 0, False), (12, 110, 0, True),
     (1, 5, 10, True), (1000, 100_000, 0, False), (1001, 100_000, 0, True), (1, 100_000, 1000, True)],
)  # fmt: skip
def test_a_removal_beyond_the_share_or_the_count_is_held(missing: int, of: int, removed_before: int, is_held: bool):
    assert limit(removed_before).holds(missing, of) is is_held


def test_no_row_of_a_lost_window_is_removed():
    assert limit(window_is_lost=True).holds(1, 1000)
    assert not limit(window_is_lost=True).holds(0, 1000)


def restricted(url: str, report_of: Callable[[str], SyncReport]) -> SyncReport:
    """`report_of` with a role that row level security at the source prevents from reading any row."""
    execute(
        url,
        """create role reader login password 'reader'; grant select on ai_audit_logs, workflows to reader;
        alter table ai_audit_logs enable row level security; alter table workflows enable row level security""",
    )
    try:
        return report_of(f"postgresql://reader:reader@{url.partition('@')[2]}")
    finally:
        execute(
            url,
            """drop owned by reader; drop role reader;
            alter table ai_audit_logs disable row level security; alter table workflows disable row level security""",
        )


@pytest.mark.parametrize("loss", ["row level security", "truncate", "a changed view", "text times"])
def test_rows_that_vanish_at_the_source_stay_and_are_reported(source: str, warehouse: DuckDBWarehouse, loss: str):
    if loss == "text times":
        execute(source, TEXT_TABLE)
        for number in range(1, 13):
            insert_row(source, f"r{number}", (NOW - number * DAY).isoformat())
    else:
        insert_rows(source, 300, NOW - 30 * DAY, timedelta(hours=2, minutes=20))
    execute(source, "insert into workflows values ('w1', 'Atlas', 'Legal', 'owner@example.com', '2026-01-05')")
    if loss == "a changed view":
        execute(source, "alter table ai_audit_logs rename to kept; create view ai_audit_logs as select * from kept")
    run(source, warehouse, "full")
    before = loaded_ids(warehouse)

    def repair(url: str) -> SyncReport:
        return run(url, warehouse, "full", since=NOW - 40 * DAY)

    if loss == "row level security":
        report = restricted(source, repair)
    elif loss == "a changed view":
        execute(source, "create or replace view ai_audit_logs as select * from kept where capability = 'other'")
        report = repair(source)
    else:
        execute(source, "truncate ai_audit_logs")
        report = repair(source)
    assert loaded_ids(warehouse) == before
    assert (report.run.counts.removed, report.run.counts.held) == (0, len(before))
    assert repair_diff(warehouse) == []
    logs = [row for row in fetch(warehouse, HELD) if row[0] == "ai_audit_logs"]
    assert sum(row[2] for row in logs) == sum(row[4] for row in logs) == len(before)
    assert {row[3] for row in logs} == {0}
    (warning,) = [warning for warning in report.warnings if "ai_audit_logs" in warning]
    assert "audit sync --accept-removal" in warning


def test_workspaces_that_a_policy_hides_are_not_emptied(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    execute(
        source,
        "insert into workflows select 'w' || n, 'Atlas', 'Legal', 'x', '2026-01-05' from generate_series(1, 3) n",
    )
    run(source, warehouse, "full")
    report = restricted(source, lambda url: run(url, warehouse, "full"))
    assert fetch(warehouse, "select count(*) from analytics.ai_audit_workspaces") == [(3,)]
    assert ("ai_audit_workspaces", None, 3, 0, 3) in fetch(warehouse, HELD)
    assert [warning for warning in report.warnings if "ai_audit_workspaces" in warning]
    run(source, warehouse, "full")
    assert fetch(warehouse, HELD) == []


def test_days_that_the_source_purged_are_not_emptied_by_a_backfill(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 4, NOON - 5 * DAY, timedelta(minutes=1))
    insert_row(source, "now", NOW)
    run(source, warehouse, "full")
    day = (NOON - 5 * DAY).date()
    execute(source, "delete from ai_audit_logs where id like 'r%'")
    report = run(source, warehouse, "days", days=(day, day))
    assert (report.run.counts.removed, report.run.counts.held) == (0, 4)
    assert len(loaded_ids(warehouse)) == 5
    assert fetch(warehouse, HELD) == [("ai_audit_logs", day, 4, 0, 4)]


def test_a_held_removal_is_carried_out_once_it_is_accepted_and_says_by_whom(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 60, NOW - 20 * DAY, timedelta(hours=8))
    run(source, warehouse, "full")
    execute(source, "delete from ai_audit_logs where id in (select id from ai_audit_logs order by created_at limit 50)")
    run(source, warehouse, "full", since=NOW - 30 * DAY)
    assert len(loaded_ids(warehouse)) == 60
    report = run(source, warehouse, accept_removal_by="mara")
    assert loaded_ids(warehouse) == source_ids(source)
    assert (report.run.counts.removed, report.run.counts.held) == (50, 0)
    assert len(repair_diff(warehouse)) == 50
    assert fetch(warehouse, HELD) == []
    by = "select removal_accepted_by, records_removed from analytics.ai_audit_sync_state where sync_id = "
    assert fetch(warehouse, f"{by}'{report.run.sync_id}'") == [("mara", 50)]


def test_a_hold_ends_with_the_next_repair_once_the_rows_are_back(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 60, NOW - 20 * DAY, timedelta(hours=8))
    run(source, warehouse, "full")
    execute(source, "create table kept as table ai_audit_logs; truncate ai_audit_logs")
    run(source, warehouse, "full", since=NOW - 30 * DAY)
    assert len(fetch(warehouse, HELD)) > 15
    execute(source, "insert into ai_audit_logs table kept")
    run(source, warehouse, "full")
    assert fetch(warehouse, HELD) == []
    assert loaded_ids(warehouse) == source_ids(source)


def test_new_and_changed_rows_are_loaded_while_a_removal_is_held(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 40, NOON - 3 * DAY, timedelta(minutes=1))
    run(source, warehouse, "full")
    execute(source, "delete from ai_audit_logs where substr(id, 2)::int > 20")
    execute(source, "update ai_audit_logs set capability = 'draft' where id = 'r1'")
    insert_row(source, "late", NOON - 3 * DAY)
    report = run(source, warehouse, "full", since=NOON - 4 * DAY)
    assert (report.run.counts.added, report.run.counts.changed, report.run.counts.held) == (1, 1, 20)
    assert repair_diff(warehouse) == [("added", "late"), ("changed", "r1")]
    assert len(loaded_ids(warehouse)) == 41


def test_rows_of_a_drill_are_removed_and_never_count_towards_the_limit(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 20, NOON - 3 * DAY, timedelta(minutes=1))
    execute(
        source,
        """insert into ai_audit_logs select 'drill-' || n, 'w', 'drill-1', 'openai', %s, '{"drillId": "d1"}', '{}'
        from generate_series(1, 2000) n""",
        (NOON - 3 * DAY,),
    )
    run(source, warehouse, "full")
    execute(source, "delete from ai_audit_logs where id like 'drill-%%' or id = 'r1'", ())
    report = run(source, warehouse, "full", since=NOON - 4 * DAY)
    assert (report.run.counts.removed, report.run.counts.held) == (2001, 0)
    assert loaded_ids(warehouse) == source_ids(source)


def test_a_delta_whose_rows_all_turn_bad_keeps_the_good_versions(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for number in range(1, 31):
        insert_row(source, f"r{number}", NOW.isoformat(), "{}", "{}")
    run(source, warehouse, "full")
    execute(source, "update ai_audit_logs set request_metadata = 'no json'")
    report = run(source, warehouse)
    assert report.run.counts.held == 30
    assert len(loaded_ids(warehouse)) == 30


KEPT_FOR = SyncPolicy.model_validate({"source": {"retention": "5d"}})


def test_no_repair_crosses_the_retention_of_the_source(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 100, NOON - 10 * DAY, DAY / 10)
    run(source, warehouse, "full")
    before = loaded_ids(warehouse)
    execute(source, "delete from ai_audit_logs where created_at < %s", (NOW - 5 * DAY,))
    with warehouse.connection("a test") as connection:
        connection.execute("update analytics.ai_audit_sync_state set started_at = started_at - interval 20 days")
    report = run(source, warehouse, "full", policy=KEPT_FOR)
    assert report.run.window_start is not None
    assert report.run.window_start.date() == (NOW - 4 * DAY).date()
    assert (loaded_ids(warehouse), report.run.counts.held) == (before, 0)


@pytest.mark.parametrize("asked", [{"mode": "full", "since": NOW - 8 * DAY}, {"mode": "days"}])
def test_days_beyond_the_retention_are_refused_with_what_to_do(
    source: str, warehouse: DuckDBWarehouse, asked: dict[str, Any]
):
    insert_rows(source, 10, NOON - 9 * DAY, DAY)
    run(source, warehouse, "full")
    if asked["mode"] == "days":
        asked = {**asked, "days": ((NOW - 8 * DAY).date(), NOW.date())}
    with pytest.raises(WindowError, match=r"source\.retention.*audit build --models-only"):
        run(source, warehouse, policy=KEPT_FOR, **asked)
    first = run(source, warehouse, policy=POLICY, **asked)
    assert first.run.status == "succeeded"
