"""Sources of other shapes: other column types, views, other names, a status column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    PACIFIC,
    execute,
    fetch,
    insert_row,
    insert_rows,
    loaded_ids,
    query_source,
    run,
    sync_repeatedly,
    warehouse_in,
)

pytestmark = pytest.mark.requirement("R03")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("request_metadata", "json using request_metadata::json"),
        ("request_metadata", "text using request_metadata::text"),
        ("id", "uuid using md5(id)::uuid"),
        ("id", "bigint using substr(id, 2)::bigint"),
        ("created_at", "timestamp"),
        ("created_at", "date"),
        ("workflow_id", "integer using 5"),
    ],
)
def test_columns_of_other_types_are_read_as_well(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path, column: str, kind: str
):
    execute(source, "alter table ai_audit_logs drop constraint ai_audit_logs_pkey; set timezone = 'UTC'")
    insert_rows(source, 50, NOW - 12 * DAY, 5 * timedelta(hours=1))
    execute(source, f"alter table ai_audit_logs alter {column} drop default, alter {column} type {kind}")
    naive = column == "created_at"
    assert sync_repeatedly(source, warehouse) == ({"naive_time": 50} if naive else {})
    if naive:
        warehouse = warehouse_in(tmp_path / "with a zone")
        assert sync_repeatedly(source, warehouse, PACIFIC) == {}
        report = run(source, warehouse, "delta", PACIFIC)
        assert report.run.watermark == report.run.source_max_created_at
    lengths = fetch(warehouse, "select sum(prompt_length)::int, count(distinct id) from analytics.ai_audit_logs")
    assert lengths == [(sum(n % 50 for n in range(1, 51)), 50)]


def test_naive_columns_may_hold_infinity_and_lie_outside_time(source: str, warehouse: DuckDBWarehouse):
    execute(source, "alter table ai_audit_logs alter created_at type timestamp")
    for text in ("infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "9999-12-31", "20000-01-01", "2026-01-05"):
        insert_row(source, text, text)
    assert sync_repeatedly(source, warehouse, PACIFIC) == {"time_out_of_range": 6}


def test_zoned_columns_without_a_key_may_hold_null_and_infinity(source: str, warehouse: DuckDBWarehouse):
    execute(
        source,
        """alter table ai_audit_logs drop constraint ai_audit_logs_pkey, alter id drop not null,
        alter created_at drop not null""",
    )
    outside = [None, "infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "9999-12-31", "20000-01-01"]
    for time in (*outside, "2026-01-05", "2026-01-05", "2026-01-06"):
        insert_row(source, "x", time)
        insert_row(source, None, time)
    insert_row(source, "beyond", NOW + timedelta(hours=1))
    assert sync_repeatedly(source, warehouse) == {
        "missing_time": 2,
        "time_out_of_range": 13,
        "missing_id": 3,
        "duplicate_id": 2,
    }
    assert run(source, warehouse).run.source_max_created_at == datetime(2026, 1, 6, tzinfo=UTC)


def test_a_view_is_read_as_a_table_is(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 30, NOW - 10 * DAY, 5 * timedelta(hours=1))
    execute(source, "alter table ai_audit_logs rename to kept; create view ai_audit_logs as select * from kept")
    assert sync_repeatedly(source, warehouse) == {}


def test_a_table_of_other_names_in_another_schema_is_read(source: str, warehouse: DuckDBWarehouse):
    insert_rows(source, 3, NOW - 3 * DAY, DAY)
    execute(
        source,
        """create schema "App's"; alter table ai_audit_logs set schema "App's";
        alter table "App's".ai_audit_logs rename to "The.Logs";
        create view "App's"."Logs" as select id as "the ""Id"" ", workflow_id, capability, provider, created_at as at,
            request_metadata, jsonb_build_object('it''s "in" status', 'slow') as response_metadata
        from "App's"."The.Logs" """,
    )
    document = {
        "table": "App's.Logs",
        "columns": {"id": 'the "Id" ', "created_at": "at"},
        "response_keys": {"status": 'it\'s "in" status'},
    }
    run(source, warehouse, policy=SyncPolicy.model_validate({"source": document}))
    assert fetch(warehouse, "select distinct status from analytics.ai_audit_logs") == [("slow",)]
    assert len(loaded_ids(warehouse)) == 3


@pytest.mark.requirement("R04")
@pytest.mark.parametrize("documents", ["jsonb", "text"])
def test_a_status_column_wins_over_the_json(source: str, warehouse: DuckDBWarehouse, documents: str):
    execute(source, f"alter table ai_audit_logs alter response_metadata type {documents}, add response_status text")
    execute(source, "alter table ai_audit_logs add status text")
    for id_, column in (("a", "failed"), ("b", None), ("c", " ")):
        insert_row(source, id_, NOW, None, '{"status": "success"}')
        execute(
            source, "update ai_audit_logs set status = %s, response_status = 'ignored' where id = %s", (column, id_)
        )
    run(source, warehouse)
    found = fetch(warehouse, "select id, status from analytics.ai_audit_logs order by id")
    assert found == [("a", "failed"), ("b", "success"), ("c", "success")]
    assert query_source(source, "select count(*) from ai_audit_logs") == [(3,)]
