"""Keeping the DuckDB file small, and drills out of what lasts."""

from datetime import datetime

import duckdb

from audit_assets.warehouse.schema import SCHEMA


def tidy(connection: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Drops delta rows of the sync state that started before `before` (UTC), keeps repairs and failures, and writes
    the file out so that freed blocks are used again; how many rows went."""
    dropped = connection.execute(
        f"""delete from {SCHEMA}.ai_audit_sync_state
        where started_at < ? and mode = 'delta' and status <> 'failed'
            and sync_id <> (select arg_max(sync_id, started_at) from {SCHEMA}.ai_audit_sync_state)""",
        [before],
    ).fetchone()
    connection.execute("checkpoint")
    return dropped[0] if dropped else 0


def forget_drill(connection: duckdb.DuckDBPyConnection, capability: str) -> None:
    """Takes a drill's capability out of the registry, which no build does; business capabilities stay."""
    connection.execute(
        f"delete from {SCHEMA}.ai_audit_capabilities where capability = ? and environment = 'sim'", [capability]
    )
