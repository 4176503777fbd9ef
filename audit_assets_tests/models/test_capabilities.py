"""The registry of capabilities: what is new, and what stays registered."""

from datetime import UTC, datetime

import pytest

from audit_assets_tests.models.conftest import Models, Row, rows_of_day

ENTRIES = "select capability, registered_at, registered_silently from ai_audit_capabilities order by capability"


def instant(hour: int) -> datetime:
    return datetime(2026, 11, 5, hour, tzinfo=UTC)


@pytest.mark.requirement("R26")
def test_the_first_load_is_silent_and_what_comes_later_is_new(models: Models):
    models.rebuild(now="2026-11-05T08:00:00Z")  # nothing there yet: no first load either
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
def test_history_that_arrives_later_is_no_news(models: Models):
    models.load(rows_of_day("2026-11-04", 1, capability="chat"))
    models.rebuild(now="2026-11-05T08:00:00Z")
    models.load(
        [
            *rows_of_day("2026-10-01", 1, capability="backfilled"),
            # A drill brings 28 days of its own; its capability is silent where it has history, and news where not.
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


@pytest.mark.requirement("R26")
def test_a_capability_whose_rows_went_stays_registered(models: Models):
    models.load(rows_of_day("2026-11-04", 2, capability="chat"))
    models.rebuild(now="2026-11-05T09:00:00Z")
    models.execute("delete from ai_audit_logs")
    models.build(days="2026-11-04", now="2026-11-05T10:00:00Z")
    assert models.query(ENTRIES) == [("chat", instant(9), True)]
