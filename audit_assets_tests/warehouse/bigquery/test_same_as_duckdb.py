"""The same source, synced into DuckDB and BigQuery: both always have the same rows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.sync import SyncReport
from audit_assets.warehouse.attempts import FailedAttempt
from audit_assets.warehouse.bigquery.statements import ALL_TIME
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import LoadCounts, Warehouse
from audit_assets.warehouse.schema import RAW_COLUMNS
from audit_assets.warehouse.snapshot import open_snapshot, publish
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, TEXT_TABLE, execute, insert_row, insert_rows, run

pytestmark = [pytest.mark.requirement("R10", "R16"), pytest.mark.filterwarnings("ignore::FutureWarning")]

FIRST = datetime(2023, 1, 1, tzinfo=UTC)


class Both:
    """One source and two warehouses, which are compared after each sync."""

    def __init__(self, source: str, duckdb: DuckDBWarehouse, bigquery: BigQueryWarehouse) -> None:
        self.source, self.duckdb, self.bigquery = source, duckdb, bigquery

    def sync(self, mode: Any = "delta", policy: SyncPolicy = POLICY, **asked: Any) -> SyncReport:
        in_duckdb = run(self.source, self.duckdb, mode, policy, **asked)
        in_bigquery = run(self.source, self.bigquery, mode, policy, **asked)
        assert in_bigquery.run.counts == in_duckdb.run.counts
        assert in_bigquery.days == in_duckdb.days
        assert in_bigquery.workspaces == in_duckdb.workspaces
        tables = dump(self.bigquery)
        for table, rows in dump(self.duckdb).items():
            assert tables[table] == rows, table
        return in_bigquery


@pytest.fixture
def both(source: str, duckdb: DuckDBWarehouse, bigquery: BigQueryWarehouse) -> Both:
    return Both(source, duckdb, bigquery)


def dump(warehouse: Warehouse) -> dict[str, list[Any]]:
    """Everything in a warehouse, except when and by which sync it was loaded."""
    raw = ", ".join(name for name in RAW_COLUMNS if name != "synced_at")
    with warehouse.maintenance("a test") as maintenance:

        def rows(sql: str) -> list[Any]:
            return sorted(maintenance.fetch(sql), key=repr)

        diff = rows(
            "select mode, change, id, created_at, before, after from analytics.ai_audit_repair_diff"
            if isinstance(warehouse, DuckDBWarehouse)
            else "select mode, `change`, id, created_at, `before`, `after` from analytics.ai_audit_repair_diff"
        )
        return {
            "ai_audit_logs": rows(f"select {raw} from analytics.ai_audit_logs where {_bound(warehouse)}"),
            "ai_audit_rejects": rows(
                "select reject_day, reason, source_id, created_at_text, created_at, row_hash, row_count"
                " from analytics.ai_audit_rejects where reason != 'duplicate_id'"
            ),
            "duplicates": rows(
                "select reject_day, source_id, created_at, row_hash, row_count"
                " from analytics.ai_audit_rejects where reason = 'duplicate_id'"
            ),
            "ai_audit_repair_diff": [(*row[:4], _version(row[4]), _version(row[5])) for row in diff],
            "ai_audit_days": rows("select date, loads, loads_built, builds from analytics.ai_audit_days"),
            "ai_audit_workspaces": rows(
                "select workspace_id, name, team, owner, last_accessed_at from analytics.ai_audit_workspaces"
            ),
            "ai_audit_discrepancies": rows(
                "select table_name, date, kind, row_count, source_rows, warehouse_rows"
                " from analytics.ai_audit_discrepancies"
            ),
            "ai_audit_sync_state": rows(
                "select mode, status, records_read, records_added, records_changed, records_removed, records_rejected,"
                " records_held, removal_accepted_by"
                " from analytics.ai_audit_sync_state"
            ),
        }


def _bound(warehouse: Warehouse) -> str:
    return ALL_TIME if isinstance(warehouse, BigQueryWarehouse) else "true"


def _version(row: str | None) -> dict[str, Any] | None:
    """A version without its times, which the engines format differently."""
    if row is None:
        return None
    return {name: value for name, value in json.loads(row).items() if name not in ("created_at", "synced_at")}


def test_rows_come_change_come_late_and_go(both: Both):
    insert_rows(both.source, 40, NOW - 9 * DAY, DAY / 5)
    assert both.sync().run.counts.added == 40
    assert both.sync().run.counts.added == 0  # what is read again is not written again
    insert_rows(both.source, 5, NOW - DAY / 200, DAY / 2000, "new")
    execute(both.source, "update ai_audit_logs set capability = 'it''s \"draft\"' where id = 'r40'")
    assert both.sync().run.counts.added == 5
    insert_row(both.source, "late", NOW - 5 * DAY)
    execute(both.source, "update ai_audit_logs set provider = null where id in ('r3', 'r4')")
    execute(both.source, "update ai_audit_logs set created_at = created_at + interval '2 days' where id = 'r10'")
    execute(both.source, "delete from ai_audit_logs where id in ('r11', 'r12')")
    counts = both.sync("full", since=NOW - 9 * DAY).run.counts
    assert (counts.added, counts.changed, counts.removed) == (2, 2, 3)


@pytest.mark.requirement("R28")
def test_a_day_that_lost_all_its_rows_is_empty(both: Both):
    insert_rows(both.source, 30, NOW - 6 * DAY, DAY / 5)
    both.sync("full", since=FIRST)
    day = (NOW - 3 * DAY).date()
    execute(both.source, "delete from ai_audit_logs where created_at::date = %s", [day])
    counts = both.sync("full", since=NOW - 6 * DAY).run.counts
    assert counts.removed
    with both.bigquery.maintenance("a test") as maintenance:
        assert day in maintenance.unbuilt_days()


def test_rows_that_cannot_be_loaded_are_rejected_once_with_a_reason(both: Both):
    execute(both.source, TEXT_TABLE)
    inside = (NOW - DAY).date().isoformat()
    times = [f"{inside}T10:00:00Z", None, "", "yesterday", f"{inside}T25:00:00Z", "1999-01-01T00:00:00Z", "infinity"]
    for number, time in enumerate(times):
        insert_row(both.source, f"time-{number}", time)
    insert_row(both.source, None, f"{inside}T11:00:00Z")
    insert_row(both.source, "json", f"{inside}T12:00:00Z", "{not json")
    insert_row(both.source, "double", f"{inside}T13:00:00Z")
    insert_row(both.source, "double", f"{inside}T14:00:00Z")
    insert_row(both.source, "double", f"{(NOW - 3 * DAY).date().isoformat()}T14:00:00Z")
    both.sync("full", since=FIRST)
    both.sync("full", since=FIRST)
    execute(both.source, "delete from ai_audit_logs where id = 'double' and created_at like %s", [f"{inside}%"])
    execute(both.source, "update ai_audit_logs set created_at = %s where id = 'time-3'", [f"{inside}T15:00:00Z"])
    both.sync("full", since=FIRST)
    both.sync()


def test_a_row_that_becomes_invalid_is_removed_and_loaded_again_once_fixed(both: Both):
    execute(both.source, TEXT_TABLE)
    at = (NOW - DAY / 500).isoformat()  # within the look-back
    insert_row(both.source, "turning", at, "{}")
    both.sync("full", since=FIRST)
    execute(both.source, "update ai_audit_logs set request_metadata = '{no' where id = 'turning'")
    both.sync()
    execute(both.source, "update ai_audit_logs set request_metadata = '{}' where id = 'turning'")
    assert both.sync().run.counts.added == 1


def test_drills_come_and_go_without_being_a_repair(both: Both):
    insert_rows(both.source, 5, NOW - 6 * DAY, DAY)
    both.sync("full")
    for number in range(3):
        insert_row(both.source, f"drill-{number}", NOW - 5 * DAY, '{"drillId": "d1"}')
    both.sync("full", since=NOW - 8 * DAY)
    execute(both.source, "delete from ai_audit_logs where id like 'drill%'")
    both.sync("full", since=NOW - 8 * DAY)
    assert dump(both.bigquery)["ai_audit_repair_diff"] == []


@pytest.mark.requirement("R49")
def test_a_removal_is_held_and_carried_out_once_it_is_accepted(both: Both):
    insert_rows(both.source, 60, NOW - 3 * DAY, DAY / 30)
    insert_row(both.source, "drill", NOW - 2 * DAY, '{"drillId": "d1"}')
    execute(
        both.source,
        "insert into workflows select 'w' || n, null, null, null, '2026-01-05' from generate_series(1, 3) n",
    )
    both.sync("full")
    execute(both.source, "delete from ai_audit_logs where substr(id, 2) > '40' or id = 'drill'; truncate workflows")
    execute(both.source, "update ai_audit_logs set capability = 'draft' where id in ('r39', 'r40')")
    report = both.sync("full", since=NOW - 4 * DAY)
    assert (report.run.counts.changed, report.run.counts.removed, report.held) == (2, 1, report.run.counts.held + 3)
    report = both.sync(accept_removal_by="mara")
    assert (report.run.counts.removed, report.held, report.workspaces) == (25, 0, 0)
    assert dump(both.bigquery)["ai_audit_discrepancies"] == []


@pytest.mark.requirement("R18")
@pytest.mark.requirement("R14")
def test_syncs_that_were_killed_become_failed_rows_and_all_are_published(both: Both, tmp_path: Path):
    insert_row(both.source, "a", NOW - DAY)
    both.sync("full")
    states: list[list[Any]] = []
    for name, warehouse in (("duckdb", both.duckdb), ("bigquery", both.bigquery)):
        killed = [FailedAttempt(f"{number}", "full", NOW, 'it\'s "killed"', tmp_path).run() for number in range(2)]
        with warehouse.maintenance("a test") as maintenance:
            ((good,),) = maintenance.fetch("select sync_id from analytics.ai_audit_sync_state")
        with warehouse.writer("a test") as writer:
            writer.record(replace(killed[0], status="running", error=None, counts=LoadCounts(added=7)))
            for run_ in killed:
                writer.record_failed(run_)
            writer.record_failed(replace(killed[1], sync_id=good, error="it is on record"))
        with warehouse.maintenance("a test") as maintenance:
            publish(maintenance, tmp_path / name, NOW, only=("ai_audit_sync_state",))
        with open_snapshot(tmp_path / name, ["ai_audit_sync_state"]) as snapshot:
            found = snapshot.execute(
                "select mode, status, records_added, error from analytics.ai_audit_sync_state order by all"
            )
            states.append(found.fetchall())
    error = 'it\'s "killed"'
    assert states[0] == states[1]
    assert states[1] == [("full", "failed", 0, error), ("full", "failed", 7, error), ("full", "succeeded", 1, None)]


def test_hours_and_days_are_counted_alike(both: Both):
    insert_rows(both.source, 60, NOW - 4 * DAY, DAY / 15)
    both.sync("full", since=FIRST)
    counted = []
    for warehouse in (both.duckdb, both.bigquery):
        with warehouse.writer("a test") as writer:
            counted.append(writer.counts_by_hour(NOW - 3 * DAY, NOW))
    assert counted[0] == counted[1]
    assert counted[0].loaded


@pytest.mark.requirement("R39")
def test_the_capability_of_a_drill_is_registered_silently_and_forgotten(both: Both):
    for warehouse in (both.duckdb, both.bigquery):
        words, time = ("varchar", "timestamptz") if warehouse is both.duckdb else ("string", "timestamp")
        columns = (
            f"environment {words}, capability {words}, first_seen_at {time}, first_seen_date date,"
            f" registered_at {time}, registered_silently boolean"
        )
        registered = (
            "select environment, capability, first_seen_at, first_seen_date, registered_at, registered_silently"
        )
        registered += " from analytics.ai_audit_capabilities where environment = 'sim'"
        with warehouse.maintenance("a test") as maintenance:
            maintenance.register_drill("drill-1", NOW - 28 * DAY, NOW)  # there is no registry yet
            maintenance.fetch(f"create table analytics.ai_audit_capabilities ({columns})")
            maintenance.register_drill("drill-1", NOW - 28 * DAY, NOW)
            assert maintenance.fetch(registered) == [], "the first load registers all silently"
            maintenance.fetch(
                "insert into analytics.ai_audit_capabilities (environment, capability) values ('live', 'chat')"
            )
            maintenance.register_drill("drill-1", NOW - 28 * DAY, NOW)
            since = NOW - 28 * DAY
            assert maintenance.fetch(registered) == [("sim", "drill-1", since, since.date(), NOW, True)]
            maintenance.forget_drill("drill-1")
            assert maintenance.fetch(registered) == []
            assert maintenance.fetch("select capability from analytics.ai_audit_capabilities") == [("chat",)]
