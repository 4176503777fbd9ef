"""Helpers for tests of the sync: write to the source, query source and warehouse, and compare both."""

from __future__ import annotations

from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2

from audit_assets.clock import Clock
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.sync import Listener, SyncReport, sync
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.attempts import track_attempt
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import Warehouse
from audit_assets_tests.environments import NOW

POLICY = SyncPolicy()
PACIFIC = SyncPolicy(naive_timezone="America/Los_Angeles")
DAY = timedelta(days=1)

# A source as a customer may have it: no key, everything text.
TEXT_TABLE = """
drop table ai_audit_logs;
create table ai_audit_logs (id text, workflow_id text, capability text, provider text, created_at text,
    request_metadata text, response_metadata text)
"""


def warehouse_in(folder: Path, timeout_seconds: float = 30.0) -> DuckDBWarehouse:
    return DuckDBWarehouse(folder / "warehouse.duckdb", folder / "warehouse.duckdb.lock", timeout_seconds)


def execute(url: str, statement: str, values: Any = None) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)


def query_source(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def insert_row(
    url: str, id_: str | None, created_at: Any, request: str | None = None, response: str | None = None
) -> None:
    """Inserts one row into the source, with the other columns filled."""
    execute(
        url,
        "insert into ai_audit_logs values (%s, 'w1', 'summarise', 'openai', %s, %s, %s)",
        (id_, created_at, request, response),
    )


def insert_rows(url: str, rows: int, start: datetime, step: timedelta, prefix: str = "r") -> None:
    """Inserts `rows` rows from `start` on, `step` apart, with ids r1, r2, …"""
    execute(
        url,
        """insert into ai_audit_logs select %s || n, 'w' || n %% 7, 'summarise', 'openai', %s + (n - 1) * %s,
            jsonb_build_object('prompt', repeat('x', n::int %% 50)), '{"status": "success", "durationMs": 12}'
        from generate_series(1, %s) n""",
        (prefix, start, step, rows),
    )


def run(
    url: str,
    warehouse: Warehouse,
    mode: Any = "delta",
    policy: SyncPolicy = POLICY,
    now: datetime | None = NOW,
    listener: Listener | None = None,
    attempts: Path | None = None,
    **asked: Any,
) -> SyncReport:
    """Runs a sync with its own clock and the source's fixed at `now` (UTC), or with the real clocks if it is None. Its
    attempt is a file in `attempts`, if given."""
    with track_attempt(attempts, mode, Clock(now)()) if attempts else nullcontext() as attempt:
        return sync(url, warehouse, policy, Request(mode, **asked), listener, Clock(now), now, attempt)


def fetch(warehouse: DuckDBWarehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connection("a test") as connection:
        return connection.execute(query).fetchall()


def loaded_ids(warehouse: DuckDBWarehouse) -> list[str]:
    return [id_ for (id_,) in fetch(warehouse, "select id from analytics.ai_audit_logs order by id")]


def source_ids(url: str) -> list[str]:
    return sorted(id_ for (id_,) in query_source(url, "select id::text from ai_audit_logs"))


def reject_reasons(warehouse: DuckDBWarehouse) -> dict[str, int]:
    """Rejected source rows by reason."""
    query = "select reason, sum(row_count)::bigint from analytics.ai_audit_rejects group by reason"
    return dict(fetch(warehouse, query))


def assert_all_accounted_for(url: str, warehouse: DuckDBWarehouse) -> None:
    """Every source row is loaded once or rejected once, and no id is loaded twice."""
    ((at_source,),) = query_source(url, "select count(*) from ai_audit_logs")
    ids = loaded_ids(warehouse)
    rejected = reject_reasons(warehouse)
    assert at_source == len(ids) + sum(rejected.values()), (at_source, len(ids), rejected)
    assert len(ids) == len(set(ids))


def repair_diff(warehouse: DuckDBWarehouse) -> list[tuple[str, str]]:
    """(change, id) of every repaired row, in order."""
    return fetch(warehouse, "select change, id from analytics.ai_audit_repair_diff order by change, id")


def sync_repeatedly(source: str, warehouse: DuckDBWarehouse, policy: SyncPolicy = POLICY) -> dict[str, int]:
    """Runs full, delta and full syncs, and asserts after each that no row is counted twice or missing."""
    run(source, warehouse, "full", policy, since=datetime(2023, 1, 1, tzinfo=UTC))
    assert_all_accounted_for(source, warehouse)
    first = reject_reasons(warehouse)
    for mode in ("delta", "full", "delta"):
        run(source, warehouse, mode, policy)
        assert_all_accounted_for(source, warehouse)
        assert reject_reasons(warehouse) == first
    run(source, warehouse, "full", policy, since=datetime(2023, 1, 1, tzinfo=UTC))
    assert_all_accounted_for(source, warehouse)
    assert reject_reasons(warehouse) == first
    return first
