"""The source's workspaces: read whole, once per clock hour, and never blocking the audit rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import workspaces_are_due
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.duckdb.writer import DuckDBWriter
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    PACIFIC,
    POLICY,
    execute,
    fetch,
    insert_row,
    loaded_ids,
    run,
)

pytestmark = pytest.mark.requirement("R24")

ALL = "select workspace_id, name, team, owner, last_accessed_at from analytics.ai_audit_workspaces order by all"
IDS = "select workspace_id from analytics.ai_audit_workspaces order by 1"
HOUR = timedelta(hours=1)


def add(url: str, id_: Any, last_accessed_at: Any = NOW) -> None:
    """Inserts one workspace into the source, with the other columns filled."""
    execute(
        url, "insert into workflows values (%s, 'Atlas', 'Legal', 'owner@example.com', %s)", (id_, last_accessed_at)
    )


def test_a_sync_loads_every_workspace_and_removes_deleted_ones(source: str, warehouse: DuckDBWarehouse):
    add(source, "w1")
    add(source, "w2", None)
    assert run(source, warehouse, "full").workspaces == 2
    assert fetch(warehouse, ALL) == [
        ("w1", "Atlas", "Legal", "owner@example.com", NOW),
        ("w2", "Atlas", "Legal", "owner@example.com", None),
    ]
    execute(
        source, "delete from workflows where id = 'w1'; update workflows set name = null, team = null, owner = null"
    )
    assert run(source, warehouse, "full").workspaces == 1
    assert fetch(warehouse, ALL) == [("w2", None, None, None, None)]


def test_they_are_read_once_in_a_clock_hour_and_at_each_full_sync(source: str, warehouse: DuckDBWarehouse):
    nine = NOW.replace(hour=9)
    add(source, "w1")
    found = [
        run(source, warehouse, mode, now=moment).workspaces
        for moment, mode in (
            (nine + timedelta(minutes=58), "delta"),
            (nine + timedelta(minutes=59), "delta"),
            (nine + HOUR, "delta"),
            (nine + HOUR + timedelta(minutes=1), "delta"),
            (nine + HOUR + timedelta(minutes=2), "full"),
            (nine + HOUR + timedelta(minutes=3), "delta"),
        )
    ]
    assert found == [1, None, 1, None, 1, None]


def test_a_sync_that_failed_has_not_read_them_for_the_hour(source: str, warehouse: DuckDBWarehouse):
    assert workspaces_are_due("delta", None, NOW)
    add(source, "w1")
    execute(source, "alter table ai_audit_logs rename to moved")
    with pytest.raises(Exception, match="has no table ai_audit_logs"):
        run(source, warehouse)
    execute(source, "alter table moved rename to ai_audit_logs")
    assert run(source, warehouse).workspaces == 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("drop table workflows", "the source has no table workflows"),
        ("alter table workflows drop column last_accessed_at", "no column 'last_accessed_at' for last_accessed_at"),
        ("alter table workflows rename id to workflow", "Map it under source.workspaces.columns"),
    ],
)
def test_without_the_table_or_a_column_the_loaded_ones_stay_and_the_rows_are_loaded(
    source: str, warehouse: DuckDBWarehouse, statement: str, message: str
):
    add(source, "w1")
    run(source, warehouse)
    insert_row(source, "a", NOW)
    execute(source, statement)
    report = run(source, warehouse, "full")
    assert (report.workspaces, report.held, report.run.status) == (1, 1, "succeeded")
    is_held, warning = report.warnings
    assert "1 of 1 workspaces are missing at the source" in is_held
    assert message in warning
    assert "observability/sync.yaml" in warning
    assert fetch(warehouse, IDS) == [("w1",)]
    assert loaded_ids(warehouse) == ["a"]
    assert run(source, warehouse, accept_removal_by="mara").workspaces == 0


def test_a_view_that_fails_is_reported_and_the_rows_are_loaded(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    execute(
        source,
        """alter table workflows rename to kept;
        insert into kept select n::text, null, null, null, null from generate_series(1, 20000) n;
        create view workflows as select id, (1 / (19999 - id::int))::text as name, team, owner, last_accessed_at
        from kept""",
    )
    report = run(source, warehouse)
    assert ["division by zero" in warning for warning in report.warnings] == [True]
    assert (fetch(warehouse, IDS), loaded_ids(warehouse)) == ([], ["a"])


def test_a_table_this_role_may_not_read_is_reported_and_the_rows_are_loaded(source: str, warehouse: DuckDBWarehouse):
    execute(source, "create role narrow login password 'narrow'; grant select on ai_audit_logs to narrow")
    insert_row(source, "a", NOW)
    try:
        report = run(f"postgresql://narrow:narrow@{source.partition('@')[2]}", warehouse)
    finally:
        execute(source, "drop owned by narrow; drop role narrow")
    assert [
        warning
        for warning in report.warnings
        if "table workflows cannot be read" in warning and "permission denied" in warning
    ]
    assert loaded_ids(warehouse) == ["a"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("uuid using md5(id)::uuid", "3cd48215-ef4a-c20c-dcac-8d8ffd79dece"),
        ("bigint using substr(id, 2)::bigint", "7"),
    ],
)
def test_ids_of_other_types_are_read_as_text(source: str, warehouse: DuckDBWarehouse, kind: str, expected: str):
    add(source, "w7")
    execute(source, f"alter table workflows alter id type {kind}")
    run(source, warehouse)
    assert fetch(warehouse, IDS) == [(expected,)]


def test_a_view_without_a_key_gives_one_row_per_id_with_its_latest_access(source: str, warehouse: DuckDBWarehouse):
    execute(source, "alter table workflows drop constraint workflows_pkey, alter id drop not null")
    for id_, last_accessed_at in (("w1", NOW - DAY), ("w1", NOW), ("w1", None), (None, NOW), (" ", NOW)):
        add(source, id_, last_accessed_at)
    execute(source, "alter table workflows rename to kept; create view workflows as select * from kept")
    run(source, warehouse)
    assert [(row[0], row[4]) for row in fetch(warehouse, ALL)] == [("w1", NOW)]


def test_times_that_cannot_be_used_are_null(source: str, warehouse: DuckDBWarehouse):
    for id_, text in (("ahead", "9999-12-30"), ("infinite", "infinity"), ("bc", "0044-03-15 BC"), ("never", None)):
        add(source, id_, text)
    run(source, warehouse)
    assert [row[4] for row in fetch(warehouse, ALL)] == [None] * 4


@pytest.mark.parametrize(("policy", "in_summer"), [(POLICY, None), (PACIFIC, datetime(2025, 7, 1, 19, tzinfo=UTC))])
@pytest.mark.parametrize("kind", ["timestamp", "text"])
def test_times_without_a_zone_are_null_unless_one_is_set(
    source: str, warehouse: DuckDBWarehouse, kind: str, policy: SyncPolicy, in_summer: datetime | None
):
    execute(source, f"alter table workflows alter last_accessed_at type {kind} using null")
    add(source, "w1", "2025-07-01 12:00:00")
    if kind == "text":
        add(source, "w2", "soon")
        add(source, "w3", "2025-07-01T12:00:00Z")
    run(source, warehouse, policy=policy)
    times = {row[0]: row[4] for row in fetch(warehouse, ALL)}
    expected = {"w1": in_summer}
    if kind == "text":
        expected |= {"w2": None, "w3": datetime(2025, 7, 1, 12, tzinfo=UTC)}
    assert times == expected


def test_a_table_of_other_names_is_read(source: str, warehouse: DuckDBWarehouse):
    execute(
        source,
        """create schema app; alter table workflows set schema app; alter table app.workflows rename to spaces;
        alter table app.spaces rename last_accessed_at to "Seen At" """,
    )
    execute(source, "insert into app.spaces (id, \"Seen At\") values ('w1', %s)", (NOW,))
    names = {"table": "app.spaces", "columns": {"last_accessed_at": "Seen At"}}
    run(source, warehouse, policy=SyncPolicy.model_validate({"source": {"workspaces": names}}))
    assert fetch(warehouse, ALL) == [("w1", None, None, None, NOW)]


def test_broken_off_while_they_are_replaced_the_old_ones_stay_and_the_next_sync_reads_them(
    source: str, warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
):
    add(source, "w1")
    run(source, warehouse, "full")
    with warehouse.connection("a test") as connection:  # as if that had been in another hour
        connection.execute("update analytics.ai_audit_sync_state set started_at = started_at - interval 1 hour")
    add(source, "w2")

    class BrokenOffError(Exception):
        pass

    def breaks(*_: Any) -> Any:
        raise BrokenOffError

    with monkeypatch.context() as patch:
        patch.setattr(
            "audit_assets.warehouse.duckdb.statements.fetch_counts", breaks
        )  # by then the old rows are deleted and the new ones inserted
        with pytest.raises(BrokenOffError):
            run(source, warehouse)
    assert fetch(warehouse, IDS) == [("w1",)]
    with monkeypatch.context() as patch:
        patch.setattr(DuckDBWriter, "record", breaks)
        with pytest.raises(BrokenOffError):
            run(source, warehouse)
    assert fetch(warehouse, IDS) == [("w1",), ("w2",)]
    assert [run(source, warehouse).workspaces, run(source, warehouse).workspaces] == [2, None]
