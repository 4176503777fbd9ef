"""The registry of capabilities: what counts as new, and what stays registered."""

from contextlib import closing
from datetime import UTC, date, datetime

import duckdb
import pytest

from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets_tests.models.conftest import Models, Row, rows_of_day

MARTS = ("ai_audit_capabilities",)

ENTRIES = "select capability, registered_at, registered_silently from ai_audit_capabilities order by capability"


def instant(hour: int) -> datetime:
    return datetime(2026, 11, 5, hour, tzinfo=UTC)


@pytest.mark.requirement("R26")
def test_the_first_load_is_silent_and_what_comes_later_is_new(models: Models):
    models.rebuild(now="2026-11-05T08:00:00Z")  # there are no rows yet, so this is not the first load
    models.load(rows_of_day("2026-11-04", 2, capability="chat"))
    models.build(days="2026-11-04", now="2026-11-05T09:00:00Z")
    models.load(
        [*rows_of_day("2026-11-05", 1, capability="extract"), Row("x", "2026-11-05 09:30:00+00", capability="")]
    )
    models.build(days="2026-11-05", now="2026-11-05T10:00:00Z")
    expected = [("chat", instant(9), True), ("extract", instant(10), False), ("unknown", instant(10), True)]
    assert models.query(ENTRIES) == expected

    models.build(days="2026-11-05", now="2026-11-05T11:00:00Z")
    assert models.query(ENTRIES) == expected
    models.rebuild(now="2026-11-05T12:00:00Z")
    assert models.query(ENTRIES) == expected


@pytest.mark.requirement("R26")
def test_history_that_arrives_later_is_not_a_new_capability(models: Models):
    models.load(rows_of_day("2026-11-04", 1, capability="chat"))
    models.rebuild(now="2026-11-05T08:00:00Z")
    models.load(
        [
            *rows_of_day("2026-10-01", 1, capability="backfilled"),
            # A drill's capability is registered silently if it has history (28 days), and as new otherwise.
            *rows_of_day("2026-10-08", 1, capability="drill-1", drill_id="1"),
            *rows_of_day("2026-11-05", 1, capability="drill-2", drill_id="2"),
        ]
    )
    models.build(days="2026-10-01,2026-10-08,2026-11-05", now="2026-11-05T10:00:00Z")
    entries = "select environment, capability, registered_silently from ai_audit_capabilities order by all"
    assert models.query(entries) == [
        ("live", "backfilled", True),
        ("live", "chat", True),
        ("sim", "drill-1", True),
        ("sim", "drill-2", False),
    ]


@pytest.mark.requirement("R39")
def test_a_drill_with_history_is_not_new_although_a_batch_reads_its_newest_rows_first(models: Models):
    def register() -> None:
        with closing(duckdb.connect(str(models.duckdb_path))) as connection:
            connection.execute("set TimeZone = 'UTC'")
            DuckDBMaintenance(connection).register_drill("drill-1", datetime(2026, 10, 8, 9, tzinfo=UTC), instant(10))

    models.rebuild(now="2026-11-05T08:00:00Z")
    register()
    assert models.query(ENTRIES) == [], "the first load registers all silently, also after a drill"
    models.load(rows_of_day("2026-11-04", 1, capability="chat"))
    models.build(days="2026-11-04", now="2026-11-05T09:00:00Z")
    register()
    models.load(rows_of_day("2026-11-05", 1, capability="drill-1", drill_id="1"))
    models.build(days="2026-11-05", now="2026-11-05T11:00:00Z")
    entries = "select environment, capability, first_seen_at, first_seen_date, registered_at, registered_silently"
    assert models.query(f"{entries} from ai_audit_capabilities where environment = 'sim'") == [
        ("sim", "drill-1", datetime(2026, 10, 8, 9, tzinfo=UTC), date(2026, 10, 8), instant(10), True)
    ]


@pytest.mark.requirement("R26", "R34")
def test_a_capability_that_is_registered_late_is_new_however_old_its_first_row(models: Models):
    """For example after an outage of the sync of 25 hours, or a repair of old days."""
    models.load([*rows_of_day("2026-10-01", 1, capability="chat"), *rows_of_day("2026-11-05", 1, capability="chat")])
    models.rebuild(now="2026-11-05T08:00:00Z")
    models.load([Row("away", "2026-11-04 09:00:00+00", capability="away")])
    models.load([Row("found", "2026-10-08 09:00:00+00", capability="found")])
    models.build(days="2026-10-08,2026-11-04", now="2026-11-05T10:00:00Z")
    assert models.query(ENTRIES) == [
        ("away", instant(10), False), ("chat", instant(8), True), ("found", instant(10), False),
    ]  # fmt: skip


@pytest.mark.requirement("R26")
def test_a_capability_whose_rows_were_deleted_stays_registered(models: Models):
    models.load(rows_of_day("2026-11-04", 2, capability="chat"))
    models.rebuild(now="2026-11-05T09:00:00Z")
    models.execute("delete from ai_audit_logs")
    models.build(days="2026-11-04", now="2026-11-05T10:00:00Z")
    assert models.query(ENTRIES) == [("chat", instant(9), True)]
