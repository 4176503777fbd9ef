"""What rules and checks read from a published snapshot, as polars frames."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import polars as pl

from audit_assets.warehouse.schema import SCHEMA

# Rows older than this are of no use to a rule that judges the running and the last closed day.
_RECENT = timedelta(days=3)

_WATCHED = ("ai_audit_capability_anomalies", "ai_audit_capability_grid")


def read_facts(connection: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, pl.DataFrame]:
    """Table → its rows of the last three UTC days before `now`; a table that is not published is left out."""
    published = {
        name
        for (name,) in connection.execute(
            "select table_name from information_schema.tables where table_schema = ?", [SCHEMA]
        ).fetchall()
    }
    since = (now - _RECENT).date().isoformat()
    frames: dict[str, pl.DataFrame] = {}
    for table in sorted(published & set(_WATCHED)):
        rows = connection.sql(f"select * from {SCHEMA}.{table} where date >= date '{since}'").to_arrow_table()
        frames[table] = pl.DataFrame(rows)
    return frames


@dataclass(frozen=True)
class LatestRun:
    """The newest sync that succeeded. Times are UTC."""

    sync_id: str
    last_synced_at: datetime


def latest_run(connection: duckdb.DuckDBPyConnection) -> LatestRun | None:
    """The newest successful sync of the snapshot, None where there was none."""
    row = connection.execute(
        f"""select sync_id, last_synced_at from {SCHEMA}.ai_audit_sync_state
        where status = 'succeeded' order by last_synced_at desc limit 1"""
    ).fetchone()
    return None if row is None else LatestRun(*row)
