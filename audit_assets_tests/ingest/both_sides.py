"""Source and warehouse as the tests speak of them: statements to one, questions to the other, the sum over both."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.sync import SyncReport, sync
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.duckdb import DuckDBWarehouse

POLICY = SyncPolicy()
PACIFIC = SyncPolicy(naive_timezone="America/Los_Angeles")
NOW = datetime.now(UTC)
DAY = timedelta(days=1)

# A source as a customer may have it: no key, everything text.
TEXT_TABLE = """
drop table ai_audit_logs;
create table ai_audit_logs (id text, workflow_id text, capability text, provider text, created_at text,
    request_metadata text, response_metadata text)
"""


def warehouse_in(folder: Path, timeout_seconds: float = 30.0) -> DuckDBWarehouse:
    return DuckDBWarehouse(folder / "warehouse.duckdb", folder / "warehouse.duckdb.lock", timeout_seconds)


def tell(url: str, statement: str, values: Any = None) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def put(url: str, id_: str | None, created_at: Any, request: str | None = None, response: str | None = None) -> None:
    """One row into the source, its other columns filled."""
    tell(
        url,
        "insert into ai_audit_logs values (%s, 'w1', 'summarise', 'openai', %s, %s, %s)",
        (id_, created_at, request, response),
    )


def spread(url: str, rows: int, start: datetime, step: timedelta, prefix: str = "r") -> None:
    """`rows` rows from `start` on, `step` apart, with ids r1, r2, …"""
    tell(
        url,
        """insert into ai_audit_logs select %s || n, 'w' || n %% 7, 'summarise', 'openai', %s + (n - 1) * %s,
            jsonb_build_object('prompt', repeat('x', n::int %% 50)), '{"status": "success", "durationMs": 12}'
        from generate_series(1, %s) n""",
        (prefix, start, step, rows),
    )


def run(
    url: str, warehouse: DuckDBWarehouse, mode: Any = "delta", policy: SyncPolicy = POLICY, **asked: Any
) -> SyncReport:
    return sync(url, warehouse, policy, Request(mode, **asked))


def held(warehouse: DuckDBWarehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connection("a test") as connection:
        return connection.execute(query).fetchall()


def held_ids(warehouse: DuckDBWarehouse) -> list[str]:
    return [id_ for (id_,) in held(warehouse, "select id from analytics.ai_audit_logs order by id")]


def source_ids(url: str) -> list[str]:
    return sorted(id_ for (id_,) in ask(url, "select id::text from ai_audit_logs"))


def reasons(warehouse: DuckDBWarehouse) -> dict[str, int]:
    """Refused source rows by reason."""
    query = "select reason, sum(row_count)::bigint from analytics.ai_audit_rejects group by reason"
    return dict(held(warehouse, query))


def assert_all_accounted(url: str, warehouse: DuckDBWarehouse) -> None:
    """Every source row is loaded once or refused once, and no id is loaded twice."""
    ((at_source,),) = ask(url, "select count(*) from ai_audit_logs")
    ids = held_ids(warehouse)
    refused = reasons(warehouse)
    assert at_source == len(ids) + sum(refused.values()), (at_source, len(ids), refused)
    assert len(ids) == len(set(ids))


def diff(warehouse: DuckDBWarehouse) -> list[tuple[str, str]]:
    """(change, id) of every repaired row, in order."""
    return held(warehouse, "select change, id from analytics.ai_audit_repair_diff order by change, id")


def settle(source: str, warehouse: DuckDBWarehouse, policy: SyncPolicy = POLICY) -> dict[str, int]:
    """Full, deltas, full: nothing is counted twice, nothing is missing at any of the ends."""
    run(source, warehouse, "full", policy, since=datetime(2023, 1, 1, tzinfo=UTC))
    assert_all_accounted(source, warehouse)
    first = reasons(warehouse)
    for mode in ("delta", "full", "delta"):
        run(source, warehouse, mode, policy)
        assert_all_accounted(source, warehouse)
        assert reasons(warehouse) == first
    run(source, warehouse, "full", policy, since=datetime(2023, 1, 1, tzinfo=UTC))
    assert_all_accounted(source, warehouse)
    assert reasons(warehouse) == first
    return first
