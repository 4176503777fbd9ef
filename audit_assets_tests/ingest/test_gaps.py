"""Days and hours in which source and warehouse differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.ingest.gaps import Counts, compared, read_gaps
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import LoadedCounts
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, TEXT_TABLE, execute, insert_row, insert_rows, run

pytestmark = pytest.mark.requirement("R18")

HOUR = datetime(2026, 11, 2, 9, tzinfo=UTC)
NEXT = HOUR + timedelta(hours=1)
MIDNIGHT = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC)


def loaded_counts(loaded: dict[datetime, int], rejected: dict[datetime, int]) -> LoadedCounts:
    return LoadedCounts(loaded, rejected, 0, 0, 0)


def test_equal_counts_are_no_gap():
    assert compared(HOUR, NEXT, {HOUR: 5, NEXT: 2}, loaded_counts({HOUR: 4, NEXT: 2}, {HOUR: 1})).is_empty


def test_an_hour_that_differs_names_itself_and_its_day():
    report = compared(HOUR, NEXT, {HOUR: 5, NEXT: 2}, loaded_counts({HOUR: 3, NEXT: 2}, {HOUR: 1}))
    assert report.hours == {HOUR: Counts(5, 3, 1)}
    assert report.hours[HOUR].missing == 1
    assert report.days == {HOUR.date(): Counts(7, 5, 1)}


def test_hours_that_make_up_for_each_other_are_both_gaps():
    report = compared(HOUR, NEXT, {HOUR: 5}, loaded_counts({NEXT: 5}, {}))
    assert [counts.missing for counts in report.hours.values()] == [5, -5]
    assert report.days[HOUR.date()].missing == 0


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_rows_missing_in_the_warehouse_are_found_until_a_repair(source: str, warehouse: DuckDBWarehouse, kind: str):
    execute(source, "alter table ai_audit_logs drop constraint ai_audit_logs_pkey, alter id drop not null")
    execute(source, f"alter table ai_audit_logs alter created_at type {kind}")
    policy = POLICY.model_copy(update={"naive_timezone": "UTC"})
    insert_rows(source, 60, MIDNIGHT - 5 * DAY, timedelta(hours=2))
    insert_row(source, None, MIDNIGHT - 3 * DAY)
    insert_row(source, "r1", MIDNIGHT - 3 * DAY)
    insert_row(source, "outside", "1999-01-01 00:00:00+00")
    run(source, warehouse, "full", policy)
    assert read_gaps(source, policy, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW).is_empty
    insert_rows(source, 3, MIDNIGHT - 2 * DAY + timedelta(hours=5), timedelta(minutes=1), "late")
    insert_row(source, "also outside", "1999-01-01 00:00:00+00")
    execute(source, "delete from ai_audit_logs where id = 'r7'")
    report = read_gaps(source, policy, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW)
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
    assert read_gaps(source, policy, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW).is_empty


def test_text_times_are_compared_by_their_total_with_a_note(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    insert_row(source, "a", NOW.isoformat())
    insert_row(source, "b", "no time")
    run(source, warehouse, "full")
    report = read_gaps(source, POLICY, warehouse, NOW - DAY, source_now=NOW)
    assert report.is_empty
    assert report.limitation is not None
    insert_row(source, "c", NOW.isoformat())
    assert read_gaps(source, POLICY, warehouse, NOW - DAY, source_now=NOW).everything == Counts(3, 1, 1)


@pytest.mark.parametrize("kind", ["timestamptz", "text"])
def test_a_comparison_of_nothing_is_no_proof(source: str, warehouse: DuckDBWarehouse, kind: str):
    if kind == "text":
        execute(source, TEXT_TABLE)
    report = read_gaps(source, POLICY, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW)
    assert report.is_empty
    assert report.compared_nothing


def test_what_was_never_loaded_is_a_gap(source: str, warehouse: DuckDBWarehouse):
    """Rows that were never loaded: in a new home, and after a first sync that started with yesterday."""
    insert_rows(source, 12, MIDNIGHT - 6 * DAY, DAY / 2)
    report = read_gaps(source, POLICY, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW)
    assert sum(counts.missing for counts in report.days.values()) == 12
    run(source, warehouse, since=MIDNIGHT - DAY)
    report = read_gaps(source, POLICY, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW)
    assert sum(counts.missing for counts in report.days.values()) == 10
    assert not report.compared_nothing


def test_rows_after_the_watermark_are_a_gap_once_they_are_older_than_the_look_back(
    source: str, warehouse: DuckDBWarehouse
):
    insert_row(source, "a", NOW - DAY)
    run(source, warehouse, "full")
    insert_row(source, "b", NOW - timedelta(hours=3))
    insert_row(source, "c", NOW - timedelta(minutes=1))
    report = read_gaps(source, POLICY, warehouse, MIDNIGHT - 10 * DAY, source_now=NOW)
    assert sum(counts.missing for counts in report.hours.values()) == 1
