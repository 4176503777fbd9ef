"""What rules and checks read from a published snapshot: facts as polars frames, and how the newest runs went."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import polars as pl

from audit_assets.warehouse.protocol import SyncRow
from audit_assets.warehouse.schema import SCHEMA

# A run each 50 s: more than half an hour, in which three failures in a row and what the source last said are seen.
_NEWEST_RUNS = 50


def published_tables(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The tables the snapshot holds."""
    found = connection.execute("select table_name from information_schema.tables where table_schema = ?", [SCHEMA])
    return frozenset(name for (name,) in found.fetchall())


def read_facts(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str], since: date | None = None
) -> dict[str, pl.DataFrame]:
    """Table → its rows, of `since` (UTC day) and later where it has days; a table that is not published is left out."""
    frames: dict[str, pl.DataFrame] = {}
    for table in sorted(published_tables(connection) & set(tables)):
        relation = connection.table(f"{SCHEMA}.{table}")
        if since is not None and "date" in relation.columns:
            relation = relation.filter(f"date >= date '{since.isoformat()}'")
        frames[table] = pl.DataFrame(relation.to_arrow_table())
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


def read_sync_rows(connection: duckdb.DuckDBPyConnection, newest: int | None = _NEWEST_RUNS) -> tuple[SyncRow, ...]:
    """The `newest` runs (None: all) of the snapshot by their start, newest first; and each mode's last success, however
    many failures came after it."""
    columns = [field.name for field in fields(SyncRow)]
    found = connection.execute(
        f"""with numbered as (
            select *,
                row_number() over (order by started_at desc, sync_id desc) as place,
                row_number() over (
                    partition by mode, status order by last_synced_at desc nulls last, sync_id desc
                ) as place_among_its_like
            from {SCHEMA}.ai_audit_sync_state
        )
        select {", ".join(columns)} from numbered
        where place <= coalesce(?, place) or (status = 'succeeded' and place_among_its_like = 1)
        order by place""",
        [newest],
    ).fetchall()
    return tuple(SyncRow(*(_in_utc(value) for value in row)) for row in found)


def _in_utc(value: object) -> Any:
    """Times leave DuckDB in the zone of the session."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value
