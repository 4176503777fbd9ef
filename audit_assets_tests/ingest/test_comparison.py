"""After the nightly repair, source and warehouse are compared by values over a longer horizon: no late row is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit_assets.ingest.gaps import differing_days
from audit_assets.ingest.policy import SourceNames, SyncPolicy
from audit_assets.ingest.source import open_source
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.duckdb.writer import DuckDBWriter
from audit_assets.warehouse.protocol import HourDigest
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    PACIFIC,
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

pytestmark = pytest.mark.requirement("R12", "R16")

MIDNIGHT = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC)
DIFFERS = "select date, row_count, source_rows, warehouse_rows from analytics.ai_audit_discrepancies"


def two_repairs(source: str, warehouse: DuckDBWarehouse, policy: SyncPolicy = POLICY) -> None:
    """Runs a repair of everything and one that looks back a day: the usual state of a customer's warehouse."""
    run(source, warehouse, "full", policy)
    report = run(source, warehouse, "full", policy)
    assert report.run.window_start is not None
    assert report.run.window_start >= MIDNIGHT - 2 * DAY


def test_a_row_of_3_or_5_days_ago_is_found_after_a_good_repair(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 40, NOW - 8 * DAY, DAY / 5)
    two_repairs(source, warehouse)
    insert_row(source, "three", NOW - 3 * DAY)
    insert_row(source, "five", NOW - 5 * DAY)
    report = run(source, warehouse, "full")
    assert loaded_ids(warehouse) == source_ids(source)
    assert repair_diff(warehouse) == [("added", "five"), ("added", "three")]
    assert set(report.days) == {(NOW - 3 * DAY).date(), (NOW - 5 * DAY).date()}
    assert fetch(warehouse, DIFFERS) == []


@pytest.mark.parametrize(
    "change",
    [
        """response_metadata = '{"status": "error", "durationMs": 12}'""",
        """response_metadata = '{"status": "success", "durationMs": 13}'""",
        "provider = null",
        """request_metadata = '{"prompt": "other"}'""",
        "created_at = created_at + interval '1 microsecond'",
    ],
)
def test_a_value_that_changed_4_days_ago_is_found(source: str, warehouse: DuckDBWarehouse, change: str):
    insert_rows(source, 20, NOW - 4 * DAY, timedelta(seconds=1))
    insert_row(source, "now", NOW)
    two_repairs(source, warehouse)
    execute(source, f"update ai_audit_logs set {change} where id = 'r7'", ())
    report = run(source, warehouse, "full")
    assert report.run.counts.changed == 1
    assert repair_diff(warehouse) == [("changed", "r7")]


def test_where_only_counts_are_compared_a_changed_value_stays_and_a_missing_row_comes(
    source: str, warehouse: DuckDBWarehouse
):
    policy = SyncPolicy.model_validate({"repair": {"compare": "counts"}})
    insert_rows(source, 20, NOW - 4 * DAY, timedelta(seconds=1))
    insert_row(source, "now", NOW)
    two_repairs(source, warehouse, policy)
    execute(source, "update ai_audit_logs set provider = null where id = 'r7'")
    assert run(source, warehouse, "full", policy).run.counts.changed == 0
    insert_row(source, "late", NOW - 4 * DAY)
    assert run(source, warehouse, "full", policy).run.counts.added == 1


def test_beyond_the_horizon_nothing_is_read(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 60, NOW - 50 * DAY, DAY)
    insert_row(source, "now", NOW)
    two_repairs(source, warehouse)
    insert_row(source, "old", NOW - 45 * DAY)
    insert_row(source, "young", NOW - 30 * DAY)
    run(source, warehouse, "full")
    assert repair_diff(warehouse) == [("added", "young")]


@pytest.mark.parametrize("times", ["text", "naive"])
def test_a_source_that_cannot_be_compared_is_read_again_over_the_horizon_with_a_warning(
    source: str, warehouse: DuckDBWarehouse, times: str
):
    execute(source, TEXT_TABLE)
    policy = PACIFIC if times == "naive" else POLICY
    if times == "naive":
        execute(source, "alter table ai_audit_logs alter created_at type timestamp using created_at::timestamp")
    insert_row(source, "now", (NOW - DAY).isoformat())
    two_repairs(source, warehouse, policy)
    insert_row(source, "late", (NOW - 4 * DAY).isoformat(), None, json.dumps({"status": "success"}))
    report = run(source, warehouse, "full", policy)
    assert loaded_ids(warehouse) == ["late", "now"]
    assert [warning for warning in report.warnings if "cannot be compared" in warning]


def test_a_difference_that_a_repair_does_not_fix_is_recorded_until_it_is_fixed(
    source: str, warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
):
    insert_rows(source, 20, NOW - 4 * DAY, timedelta(seconds=1))
    insert_row(source, "now", NOW)
    two_repairs(source, warehouse)
    digests = DuckDBWriter.digests_by_hour

    def without_a_row(writer: DuckDBWriter, start: datetime, end: datetime) -> dict[datetime, HourDigest]:
        """Fakes a warehouse that loses a row, which no repair can fix."""
        return {hour: HourDigest(found.rows - 1, 0) for hour, found in digests(writer, start, end).items()}

    with monkeypatch.context() as patch:
        patch.setattr(DuckDBWriter, "digests_by_hour", without_a_row)
        report = run(source, warehouse, "full")
    day = (NOW - 4 * DAY).date()
    assert [row for row in fetch(warehouse, DIFFERS) if row[0] == day] != []
    assert [warning for warning in report.warnings if str(day) in warning]
    run(source, warehouse, "full")
    assert fetch(warehouse, DIFFERS) == []


def test_a_removal_beyond_the_limit_is_held_over_the_horizon_too(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 85, NOW - 20 * DAY, DAY / 5)
    insert_row(source, "now", NOW)
    two_repairs(source, warehouse)
    execute(source, "delete from ai_audit_logs where id <> 'now'")
    report = run(source, warehouse, "full")
    assert len(loaded_ids(warehouse)) == 86
    assert report.run.counts.removed == 0
    kinds = "select distinct kind from analytics.ai_audit_discrepancies"
    assert fetch(warehouse, kinds) == [("removal_held",)]


def test_every_kind_of_row_has_the_same_digest_on_both_sides(source: str, warehouse: DuckDBWarehouse):
    execute(source, "alter table ai_audit_logs drop constraint ai_audit_logs_pkey, alter id drop not null")
    at = NOW - 3 * DAY
    documents: list[Any] = [
        None, {}, {"status": None}, {"status": "ok", "error": "text"}, {"error": {}}, {"durationMs": 1e300},
        {"durationMs": "junk", "model": "m" * 400}, {"modelParameters": {"b": 1, "a": [1.50, True, None]}},
        {"completionTokens": 9007199254740993, "completionId": "ü\u2028\U0001f600\n\t"}, [], "text", 7,
    ]  # fmt: skip
    for number, document in enumerate(documents):
        insert_row(source, f"r{number}", at + timedelta(microseconds=number), json.dumps({"prompt": "é" * number}),
            None if document is None else json.dumps(document))  # fmt: skip
    insert_row(source, None, at)
    insert_row(source, "r1", at + timedelta(seconds=1))
    run(source, warehouse, "full")
    with open_source(source, POLICY) as opened:
        at_source = opened.digests_by_hour(at - DAY, at + DAY, values=True)
    with warehouse.writer("a test") as writer:
        in_warehouse = writer.digests_by_hour(at - DAY, at + DAY)
    assert at_source is not None
    assert at_source == in_warehouse
    assert sum(found.rows for found in in_warehouse.values()) == len(documents) + 2
    assert differing_days(at_source, in_warehouse) == {}


def test_a_comparison_may_take_longer_than_the_source_may_be_silent(source: str):
    insert_rows(source, 100, NOW - DAY, timedelta(minutes=1))
    slow = "select kept.* from kept where pg_sleep(0.02) is not null"
    execute(source, f"alter table ai_audit_logs rename to kept; create view ai_audit_logs as {slow}")
    policy = SyncPolicy(source=SourceNames(stall_timeout=timedelta(seconds=1)))
    with open_source(source, policy, NOW) as opened:
        found = opened.digests_by_hour(NOW - DAY, NOW, values=True)
    assert found is not None
    assert sum(hour.rows for hour in found.values()) == 100
