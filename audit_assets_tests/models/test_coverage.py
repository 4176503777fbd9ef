"""Workspace coverage: captured during a day, and never rebuilt after the day."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from audit_assets_tests.models.conftest import Models, Row, rows_of_day

MARTS = ("ai_audit_workspace_coverage",)
pytestmark = pytest.mark.requirement("R24")

COVERAGE = "select date, active_workspace_count, covered_workspace_count, is_estimated from ai_audit_workspace_coverage"
ALL = f"{COVERAGE} order by date"


def workspaces(models: Models, last_accessed_at: dict[str, str | None]) -> None:
    """Sets the current workspaces, as a sync would."""
    models.execute("delete from ai_audit_workspaces")
    for workspace, moment in last_accessed_at.items():
        value = "null" if moment is None else f"'{moment}'"
        models.execute(
            f"insert into ai_audit_workspaces (workspace_id, last_accessed_at) values ('{workspace}', {value})"
        )


def captured(models: Models) -> dict[date, tuple[Any, ...]]:
    return {day: rest for day, *rest in models.query(ALL)}  # type: ignore[misc]


def test_the_running_day_follows_each_build_until_it_is_over(models: Models):
    models.load(rows_of_day("2026-11-05", 1, workflow_id="w1"))
    workspaces(models, {"w1": "2026-11-05 08:00:00+00", "w2": "2026-11-05 08:00:00+00"})
    models.build(days="2026-11-05", now="2026-11-05T10:00:00Z", tests=True)
    assert captured(models) == {date(2026, 11, 5): [2, 1, False]}
    models.load([Row("late", "2026-11-05 11:00:00+00", workflow_id="w2")])
    models.build(days="2026-11-04", now="2026-11-05T23:59:00Z")  # whichever days are built
    assert captured(models) == {date(2026, 11, 5): [2, 1, False]}  # w2's row is not built yet
    models.build(days="2026-11-05", now="2026-11-05T23:59:30Z", tests=True)
    assert captured(models) == {date(2026, 11, 5): [2, 2, False]}
    assert models.query("select captured_at, coverage_rate from ai_audit_workspace_coverage") == [
        (datetime(2026, 11, 5, 23, 59, 30, tzinfo=UTC), 1.0)
    ]


def test_a_day_that_is_over_stays_through_backfills_repairs_and_full_builds(models: Models):
    models.load(rows_of_day("2026-11-05", 1, workflow_id="w1"))
    workspaces(models, {"w1": "2026-11-05 08:00:00+00", "w2": "2026-11-05 08:00:00+00"})
    models.build(days="2026-11-05", now="2026-11-05T23:59:00Z")
    before = models.query("select * from ai_audit_workspace_coverage")
    last = "select * from ai_audit_workspace_coverage where date = '2026-11-05'"
    # w1 was deleted at the source, w3 is new, and a record of w2 is late; then all records are deleted.
    workspaces(models, {"w2": "2026-11-06 09:00:00+00", "w3": "2026-11-06 09:00:00+00"})
    models.load([Row("late", "2026-11-05 11:00:00+00", workflow_id="w2")])
    models.build(days="2026-11-05,2026-11-06", now="2026-11-06T10:00:00Z", tests=True)
    assert models.query(last) == before
    models.rebuild(now="2026-11-06T11:00:00Z", tests=True)
    assert models.query(last) == before
    models.execute("delete from ai_audit_logs")
    models.build(days="2026-11-05", now="2026-11-06T12:00:00Z", tests=True)
    models.rebuild(now="2026-11-06T13:00:00Z", tests=True)
    assert models.query(last) == before
    assert captured(models)[date(2026, 11, 6)] == [2, 0, False]


def test_days_that_no_build_saw_get_one_estimate_and_gaps_are_closed(models: Models):
    models.load([*rows_of_day("2026-11-02", 1, workflow_id="w1"), *rows_of_day("2026-11-03", 1, workflow_id="w2")])
    workspaces(models, {"w1": "2026-11-05 08:00:00+00", "w2": "2026-11-03 08:00:00+00", "w3": None})
    models.rebuild(now="2026-11-05T12:00:00Z", tests=True)
    expected = {
        date(2026, 11, 2): [2, 1, True],
        date(2026, 11, 3): [2, 2, True],
        date(2026, 11, 4): [2, 2, True],
        date(2026, 11, 5): [2, 2, False],
    }
    assert captured(models) == expected
    # Nothing ran from the 6th to the 7th. A backfill adds the 1st, which had no record before.
    models.load(rows_of_day("2026-11-01", 1, workflow_id="w2"))
    models.build(days="2026-11-01,2026-11-02", now="2026-11-08T12:00:00Z", tests=True)
    expected |= {date(2026, 11, 1): [2, 1, True]}
    expected |= {date(2026, 11, day): [2, 2, day < 8] for day in (6, 7, 8)}
    assert captured(models) == expected


def test_without_workspaces_there_is_no_row_and_the_first_ones_bring_the_days_before(models: Models):
    models.load([*rows_of_day("2026-11-04", 1), *rows_of_day("2026-11-05", 1)])
    models.build(days="2026-11-04,2026-11-05", now="2026-11-05T12:00:00Z", tests=True)
    models.build(days="2026-11-05", now="2026-11-05T13:00:00Z", tests=True)
    assert captured(models) == {}
    workspaces(models, {"w1": "2026-11-05 13:30:00+00"})
    models.build(days="2026-11-05", now="2026-11-05T14:00:00Z", tests=True)
    assert captured(models) == {date(2026, 11, 4): [1, 1, True], date(2026, 11, 5): [1, 1, False]}
    workspaces(models, {})
    models.build(days="2026-11-05", now="2026-11-06T14:00:00Z", tests=True)
    assert list(captured(models)) == [date(2026, 11, 4), date(2026, 11, 5)]


def test_a_day_without_an_active_workspace_has_a_row_without_a_rate(models: Models):
    workspaces(models, {"w1": "2025-01-01 08:00:00+00"})
    models.build(days="2026-11-05", now="2026-11-05T12:00:00Z", tests=True)
    assert models.query("select * exclude (captured_at) from ai_audit_workspace_coverage") == [
        (date(2026, 11, 5), 0, 0, None, False)
    ]


def test_drills_and_records_of_tomorrow_are_not_counted(models: Models):
    models.load(
        [
            *rows_of_day("2026-11-05", 1, workflow_id="w1", drill_id="1"),
            Row("ahead", "2026-11-06 00:03:00+00", workflow_id="w1"),
        ]
    )
    workspaces(models, {"w1": "2026-11-05 08:00:00+00"})
    models.build(days="2026-11-05,2026-11-06", now="2026-11-05T23:58:00Z", tests=True)
    assert captured(models) == {date(2026, 11, 5): [1, 0, False]}
