"""Wide or many rows with little memory: they are loaded in parts and published."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_assets.warehouse.duckdb.memory import duckdb_memory
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.snapshot import open_snapshot, publish
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    TEXT_TABLE,
    assert_all_accounted_for,
    execute,
    fetch,
    reject_reasons,
    run,
    warehouse_in,
)

LEAST = "256MB"


@pytest.fixture
def small(tmp_path: Path) -> DuckDBWarehouse:
    """A warehouse with the minimum memory limit."""
    usual = warehouse_in(tmp_path)
    return DuckDBWarehouse(usual.path, usual.lock_path, 30.0, LEAST)


def insert(source: str, rows: int, document: str, prefix: str) -> None:
    execute(
        source,
        f"""insert into ai_audit_logs select %s || n, 'w', 'summarise', 'openai', %s, ({document})::text,
            '{{"status": "success"}}' from generate_series(1, %s) n""",
        (prefix, (NOW - DAY).isoformat(), rows),
    )


@pytest.mark.parametrize("kind", ["json", "text"])
def test_json_and_text_documents_of_any_size_load_within_the_least_memory(
    source: str, small: DuckDBWarehouse, kind: str
):
    execute(source, TEXT_TABLE)
    insert(source, 1000, "jsonb_build_object('prompt', repeat('x', 10000))", "prompt")
    messages = "jsonb_build_object('messages', jsonb_build_array(jsonb_build_object('content', repeat('x', 500))))"
    insert(source, 4096, messages, "messages")
    insert(source, 1, "jsonb_build_object('prompt', repeat('x', 60000000))", "giant")
    if kind == "json":
        execute(
            source,
            """alter table ai_audit_logs alter created_at type timestamptz using created_at::timestamptz,
                alter request_metadata type json using request_metadata::json,
                alter response_metadata type json using response_metadata::json""",
        )
    run(source, small, "full")
    assert reject_reasons(small) == {}
    assert fetch(small, "select prompt_length, count(*) from analytics.ai_audit_logs group by 1 order by 1") == [
        (500, 4096),
        (10000, 1000),
        (60000000, 1),
    ]
    assert_all_accounted_for(source, small)


def test_a_day_of_wide_rows_is_loaded_and_published_within_the_least_memory(
    source: str, small: DuckDBWarehouse, tmp_path: Path
):
    execute(
        source,
        """insert into ai_audit_logs select 'r' || n, 'w', 'summarise', 'openai', %s + n * interval '1 second',
            jsonb_build_object('sourceDocuments', (
                select jsonb_agg(md5(n::text || k::text)) from generate_series(1, 55) k)), '{}'
        from generate_series(1, 40000) n""",
        (NOW.replace(hour=0, minute=0, second=0) - DAY,),
    )
    assert run(source, small, "full").run.counts.added == 40_000
    with small.maintenance("a test") as maintenance:
        maintenance.mark_built(maintenance.unbuilt_days())
        publish(maintenance, tmp_path / "published", NOW)
    with open_snapshot(tmp_path / "published") as snapshot:
        found = snapshot.execute("select count(*), min(length(source_documents)) from analytics.ai_audit_logs")
        rows, shortest = found.fetchall()[0]
    assert rows == 40_000
    assert shortest > 1900


def test_memory_follows_the_machine_unless_it_is_set():
    assert duckdb_memory("300MB") == "300MB"
    limit = int(duckdb_memory(None).removesuffix("MiB"))
    assert 256 <= limit <= 4096
    assert limit & (limit - 1) == 0
