"""Days and hours in which source and warehouse differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.ingest.gaps import Counts, compared, read_gaps
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.protocol import HeldCounts
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, TEXT_TABLE, put, run, spread, tell

pytestmark = pytest.mark.requirement("R18")

HOUR = datetime(2026, 11, 2, 9, tzinfo=UTC)
NEXT = HOUR + timedelta(hours=1)
MIDNIGHT = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC)


def holding(loaded: dict[datetime, int], rejected: dict[datetime, int]) -> HeldCounts:
    return HeldCounts(loaded, rejected, 0, 0, 0)


def test_equal_counts_are_no_gap():
    assert compared(HOUR, NEXT, {HOUR: 5, NEXT: 2}, holding({HOUR: 4, NEXT: 2}, {HOUR: 1})).is_empty


def test_an_hour_that_differs_names_itself_and_its_day():
    report = compared(HOUR, NEXT, {HOUR: 5, NEXT: 2}, holding({HOUR: 3, NEXT: 2}, {HOUR: 1}))
    assert report.hours == {HOUR: Counts(5, 3, 1)}
    assert report.hours[HOUR].missing == 1
    assert report.days == {HOUR.date(): Counts(7, 5, 1)}


def test_hours_that_make_up_for_each_other_are_both_gaps():
    report = compared(HOUR, NEXT, {HOUR: 5}, holding({NEXT: 5}, {}))
    assert [counts.missing for counts in report.hours.values()] == [5, -5]
    assert report.days[HOUR.date()].missing == 0


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_rows_missing_in_the_warehouse_are_found_and_gone_after_a_repair(
    source: str, warehouse: DuckDBWarehouse, kind: str
):
    tell(source, "alter table ai_audit_logs drop constraint ai_audit_logs_pkey, alter id drop not null")
    tell(source, f"alter table ai_audit_logs alter created_at type {kind}")
    policy = POLICY.model_copy(update={"naive_timezone": "UTC"})
    spread(source, 60, MIDNIGHT - 5 * DAY, timedelta(hours=2))
    put(source, None, MIDNIGHT - 3 * DAY)
    put(source, "r1", MIDNIGHT - 3 * DAY)
    put(source, "outside", "1999-01-01 00:00:00+00")
    run(source, warehouse, "full", policy)
    assert read_gaps(source, policy, warehouse, MIDNIGHT - 10 * DAY).is_empty
    spread(source, 3, MIDNIGHT - 2 * DAY + timedelta(hours=5), timedelta(minutes=1), "late")
    put(source, "also outside", "1999-01-01 00:00:00+00")
    tell(source, "delete from ai_audit_logs where id = 'r7'")
    report = read_gaps(source, policy, warehouse, MIDNIGHT - 10 * DAY)
    assert {hour: counts.missing for hour, counts in report.hours.items()} == {
        MIDNIGHT - 5 * DAY + timedelta(hours=12): -1,
        MIDNIGHT - 2 * DAY + timedelta(hours=5): 3,
    }
    assert {day: counts.missing for day, counts in report.days.items()} == {
        (MIDNIGHT - 5 * DAY).date(): -1,
        (MIDNIGHT - 2 * DAY).date(): 3,
    }
    assert report.outside == Counts(2, 0, 1)
    run(source, warehouse, "full", policy, since=MIDNIGHT - 10 * DAY)
    assert read_gaps(source, policy, warehouse, MIDNIGHT - 10 * DAY).is_empty


def test_times_as_text_are_compared_in_sum_and_it_is_said(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    put(source, "a", NOW.isoformat())
    put(source, "b", "no time")
    run(source, warehouse, "full")
    report = read_gaps(source, POLICY, warehouse, NOW - DAY)
    assert report.is_empty
    assert report.untold is not None
    put(source, "c", NOW.isoformat())
    assert read_gaps(source, POLICY, warehouse, NOW - DAY).everything == Counts(3, 1, 1)
