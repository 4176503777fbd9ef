"""The same source, synced into DuckDB and into BigQuery: whatever happens to it, both hold the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.sync import SyncReport, sync
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.bigquery.statements import ALL_TIME
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.protocol import Warehouse
from audit_assets.warehouse.schema import RAW_COLUMNS
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, TEXT_TABLE, put, spread, tell

pytestmark = [pytest.mark.requirement("R10", "R16"), pytest.mark.filterwarnings("ignore::FutureWarning")]

FIRST = datetime(2023, 1, 1, tzinfo=UTC)


class Both:
    """One source and two warehouses, which are compared after each sync."""

    def __init__(self, source: str, duckdb: DuckDBWarehouse, bigquery: BigQueryWarehouse) -> None:
        self.source, self.duckdb, self.bigquery = source, duckdb, bigquery

    def sync(self, mode: Any = "delta", policy: SyncPolicy = POLICY, **asked: Any) -> SyncReport:
        here = sync(self.source, self.duckdb, policy, Request(mode, **asked))
        there = sync(self.source, self.bigquery, policy, Request(mode, **asked))
        assert there.run.counts == here.run.counts
        assert there.days == here.days
        assert there.workspaces == here.workspaces
        held = dump(self.bigquery)
        for table, rows in dump(self.duckdb).items():
            assert held[table] == rows, table
        return there


@pytest.fixture
def both(source: str, duckdb: DuckDBWarehouse, bigquery: BigQueryWarehouse) -> Both:
    return Both(source, duckdb, bigquery)


def dump(warehouse: Warehouse) -> dict[str, list[Any]]:
    """All that a warehouse holds, but for when it was brought and by which sync."""
    raw = ", ".join(name for name in RAW_COLUMNS if name != "synced_at")
    with warehouse.keeper("a test") as keeper:

        def rows(sql: str) -> list[Any]:
            return sorted(keeper.fetch(sql), key=repr)

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
            "doubles": rows(
                "select reject_day, source_id, created_at, row_hash, row_count"
                " from analytics.ai_audit_rejects where reason = 'duplicate_id'"
            ),
            "ai_audit_repair_diff": [(*row[:4], _version(row[4]), _version(row[5])) for row in diff],
            "ai_audit_days": rows("select date, loads, loads_built, builds from analytics.ai_audit_days"),
            "ai_audit_workspaces": rows(
                "select workspace_id, name, team, owner, last_accessed_at from analytics.ai_audit_workspaces"
            ),
            "ai_audit_sync_state": rows(
                "select mode, status, records_read, records_added, records_changed, records_removed, records_rejected"
                " from analytics.ai_audit_sync_state"
            ),
        }


def _bound(warehouse: Warehouse) -> str:
    return ALL_TIME if isinstance(warehouse, BigQueryWarehouse) else "true"


def _version(row: str | None) -> dict[str, Any] | None:
    """A version without its times, which the engines write in forms of their own."""
    if row is None:
        return None
    return {name: value for name, value in json.loads(row).items() if name not in ("created_at", "synced_at")}


def test_rows_come_change_come_late_and_go(both: Both):
    spread(both.source, 40, NOW - 9 * DAY, DAY / 5)
    assert both.sync().run.counts.added == 40
    assert both.sync().run.counts.added == 0  # what is read again is not written again
    spread(both.source, 5, datetime.now(UTC) - DAY / 200, DAY / 2000, "new")
    tell(both.source, "update ai_audit_logs set capability = 'it''s \"draft\"' where id = 'r40'")
    assert both.sync().run.counts.added == 5
    put(both.source, "late", NOW - 5 * DAY)
    tell(both.source, "update ai_audit_logs set provider = null where id in ('r3', 'r4')")
    tell(both.source, "update ai_audit_logs set created_at = created_at + interval '2 days' where id = 'r10'")
    tell(both.source, "delete from ai_audit_logs where id in ('r11', 'r12')")
    counts = both.sync("full", since=NOW - 9 * DAY).run.counts
    assert (counts.added, counts.changed, counts.removed) == (2, 2, 3)


@pytest.mark.requirement("R28")
def test_a_day_that_lost_all_its_rows_is_empty(both: Both):
    spread(both.source, 30, NOW - 6 * DAY, DAY / 5)
    both.sync("full", since=FIRST)
    day = (NOW - 3 * DAY).date()
    tell(both.source, "delete from ai_audit_logs where created_at::date = %s", [day])
    counts = both.sync("full", since=NOW - 6 * DAY).run.counts
    assert counts.removed
    with both.bigquery.keeper("a test") as keeper:
        assert day in keeper.unbuilt_days()


def test_what_cannot_be_loaded_is_refused_once_for_its_reason(both: Both):
    tell(both.source, TEXT_TABLE)
    inside = (NOW - DAY).date().isoformat()
    times = [f"{inside}T10:00:00Z", None, "", "yesterday", f"{inside}T25:00:00Z", "1999-01-01T00:00:00Z", "infinity"]
    for number, time in enumerate(times):
        put(both.source, f"time-{number}", time)
    put(both.source, None, f"{inside}T11:00:00Z")
    put(both.source, "json", f"{inside}T12:00:00Z", "{not json")
    put(both.source, "double", f"{inside}T13:00:00Z")
    put(both.source, "double", f"{inside}T14:00:00Z")
    put(both.source, "double", f"{(NOW - 3 * DAY).date().isoformat()}T14:00:00Z")
    both.sync("full", since=FIRST)
    both.sync("full", since=FIRST)
    tell(both.source, "delete from ai_audit_logs where id = 'double' and created_at like %s", [f"{inside}%"])
    tell(both.source, "update ai_audit_logs set created_at = %s where id = 'time-3'", [f"{inside}T15:00:00Z"])
    both.sync("full", since=FIRST)
    both.sync()


def test_a_row_that_turns_bad_is_taken_out_and_is_good_again_when_mended(both: Both):
    tell(both.source, TEXT_TABLE)
    at = (datetime.now(UTC) - DAY / 500).isoformat()  # within the look-back, however long ago this module was loaded
    put(both.source, "turning", at, "{}")
    both.sync("full", since=FIRST)
    tell(both.source, "update ai_audit_logs set request_metadata = '{no' where id = 'turning'")
    both.sync()
    tell(both.source, "update ai_audit_logs set request_metadata = '{}' where id = 'turning'")
    assert both.sync().run.counts.added == 1


def test_drills_come_and_go_without_being_a_repair(both: Both):
    spread(both.source, 5, NOW - 6 * DAY, DAY)
    both.sync("full")
    for number in range(3):
        put(both.source, f"drill-{number}", NOW - 5 * DAY, '{"drillId": "d1"}')
    both.sync("full", since=NOW - 8 * DAY)
    tell(both.source, "delete from ai_audit_logs where id like 'drill%'")
    both.sync("full", since=NOW - 8 * DAY)
    assert dump(both.bigquery)["ai_audit_repair_diff"] == []


@pytest.mark.requirement("R18")
def test_hours_and_days_are_counted_alike(both: Both):
    spread(both.source, 60, NOW - 4 * DAY, DAY / 15)
    both.sync("full", since=FIRST)
    counted = []
    for warehouse in (both.duckdb, both.bigquery):
        with warehouse.writer("a test") as writer:
            counted.append(writer.counts_by_hour(NOW - 3 * DAY, NOW))
    assert counted[0] == counted[1]
    assert counted[0].loaded
