"""Reads a published snapshot for rules and checks: facts as polars frames, and the newest sync runs."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import polars as pl

from audit_assets.warehouse.protocol import Discrepancy, SyncRun
from audit_assets.warehouse.schema import SCHEMA, SYNC_STATE_COLUMNS

DISCREPANCIES = "ai_audit_discrepancies"

# Deltas of more than half an hour at one run per 50 s: enough to see consecutive failures and the source's last state.
_NEWEST_RUNS = 50

DAYS = 2  # of data quality: the newest UTC days with interactions
TABLES = ("ai_audit_data_quality", "ai_audit_status_words")

# Column of ai_audit_data_quality → the name of the values it counts.
VALUES = {
    "invalid_duration_count": "durations",
    "invalid_prompt_tokens_count": "prompt tokens",
    "invalid_completion_tokens_count": "completion tokens",
    "invalid_source_documents_count": "source documents",
}
_LISTED = 20


def published_tables(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The tables in the snapshot."""
    found = connection.execute("select table_name from information_schema.tables where table_schema = ?", [SCHEMA])
    return frozenset(name for (name,) in found.fetchall())


def read_facts(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str], since: date | None = None
) -> dict[str, pl.DataFrame]:
    """Table → its rows, from `since` (UTC day) on if it has days. Tables that are not published are left out."""
    frames: dict[str, pl.DataFrame] = {}
    for table in sorted(published_tables(connection) & set(tables)):
        relation = connection.table(f"{SCHEMA}.{table}")
        if since is not None and "date" in relation.columns:
            relation = relation.filter(f"date >= date '{since.isoformat()}'")
        frames[table] = pl.DataFrame(relation.to_arrow_table())
    return frames


def latest_run(connection: duckdb.DuckDBPyConnection) -> SyncRun | None:
    """The newest successful sync in the snapshot, or None."""
    succeeded = [run for run in read_sync_runs(connection, newest=0) if run.status == "succeeded"]
    return max(succeeded, key=lambda run: (run.last_synced_at or run.started_at, run.sync_id), default=None)


def read_sync_runs(connection: duckdb.DuckDBPyConnection, newest: int | None = _NEWEST_RUNS) -> tuple[SyncRun, ...]:
    """The `newest` runs of each mode (None: all) in the snapshot, newest start first. Also includes each mode's last
    success, the first success, and every successful repair, however old they are."""
    published = {name for name, *_ in connection.execute(f"describe {SCHEMA}.ai_audit_sync_state").fetchall()}
    # A snapshot published by an earlier version lacks the columns added since.
    columns = [name if name in published else f"null as {name}" for name in SYNC_STATE_COLUMNS]
    found = connection.execute(
        f"""with numbered as (
            select *,
                row_number() over (partition by mode order by started_at desc, sync_id desc) as place,
                row_number() over (
                    partition by mode, status order by last_synced_at desc nulls last, sync_id desc
                ) as place_of_kind,
                row_number() over (partition by status order by started_at, sync_id) as place_from_first
            from {SCHEMA}.ai_audit_sync_state
        )
        select {", ".join(columns)} from numbered
        where place <= coalesce(?, place)
            or (status = 'succeeded' and (place_of_kind = 1 or place_from_first = 1 or mode = 'full'))
        order by started_at desc, sync_id desc""",
        [newest],
    ).fetchall()
    rows = (dict(zip(SYNC_STATE_COLUMNS, map(_in_utc, row), strict=True)) for row in found)
    return tuple(SyncRun.from_row(row) for row in rows)


def read_discrepancies(connection: duckdb.DuckDBPyConnection) -> tuple[Discrepancy, ...] | None:
    """The known differences between warehouse and source; None if they are not published."""
    if DISCREPANCIES not in published_tables(connection):
        return None
    columns = ", ".join(field.name for field in fields(Discrepancy))
    found = connection.execute(f"select {columns} from {SCHEMA}.{DISCREPANCIES} order by all").fetchall()
    return tuple(Discrepancy(*(_in_utc(value) for value in row)) for row in found)


def _in_utc(value: object) -> Any:
    """DuckDB returns times in the session's time zone; this converts them to UTC."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@dataclass(frozen=True)
class DataQuality:
    """Counts of the newest days. `duplicates` by capability and `unlisted` by status word are the most frequent ones;
    `duplicate_count` and `unlisted_count` are the totals in interactions. `invalid` is by the name of the value."""

    interactions: int
    duplicate_count: int
    duplicates: tuple[tuple[str, int], ...]
    unlisted_count: int
    unlisted: tuple[tuple[str, int], ...]
    invalid: dict[str, int]

    def share(self, count: int) -> float:
        """`count` per interaction."""
        return count / self.interactions if self.interactions else 0.0


def data_quality(connection: duckdb.DuckDBPyConnection) -> DataQuality:
    """The data quality of the newest days in `connection`, an open snapshot with TABLES."""
    newest = f"date in (select distinct date from {SCHEMA}.ai_audit_data_quality order by date desc limit {DAYS})"
    counted = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in VALUES)
    ((interactions, duplicates, unlisted, *invalid),) = connection.execute(
        f"""select coalesce(sum(interaction_count), 0)::bigint, coalesce(sum(duplicate_call_count), 0)::bigint,
            coalesce(sum(unlisted_status_count), 0)::bigint, {counted}
        from {SCHEMA}.ai_audit_data_quality where {newest}"""
    ).fetchall()

    def most(query: str) -> tuple[tuple[str, int], ...]:
        return tuple(connection.execute(f"{query} group by name order by count desc, name limit {_LISTED}").fetchall())

    return DataQuality(
        interactions,
        duplicates,
        most(
            f"""select capability as name, sum(duplicate_call_count)::bigint as count
            from {SCHEMA}.ai_audit_data_quality where duplicate_call_count > 0 and {newest}"""
        ),
        unlisted,
        most(
            f"""select status as name, sum(interaction_count)::bigint as count from {SCHEMA}.ai_audit_status_words
            where not is_listed and {newest}"""
        ),
        dict(zip(VALUES.values(), invalid, strict=True)),
    )
