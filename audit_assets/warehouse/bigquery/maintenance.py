"""The maintenance session on the dataset, for the stages after the sync."""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from audit_assets.warehouse.bigquery.client import in_dataset
from audit_assets.warehouse.bigquery.jobs import Jobs, literal
from audit_assets.warehouse.bigquery.parquet_staging import stage_table
from audit_assets.warehouse.bigquery.schema import DUCKDB_TYPES, LEDGER_COPIES
from audit_assets.warehouse.bigquery.statements import (
    between,
    mark_built_statement,
    record_builds_statements,
    replace_rows_statements,
    text,
    transaction,
)
from audit_assets.warehouse.protocol import REGISTERED
from audit_assets.warehouse.schema import SCHEMA

# About as large as the number of interactions: they stay in BigQuery, where the dashboards query them.
NOT_PUBLISHED = frozenset(
    {"ai_audit_logs", "ai_audit_workspace_stats", "ai_audit_workspace_counts", "ai_audit_latency_histogram"}
)
# A backfill fetches this many days at once, and keeps them in memory.
_DAYS_AT_ONCE = 31


class BigQueryMaintenance:
    """A maintenance session on the dataset; the caller holds the lock. `not_published` tables stay in BigQuery."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime], not_published: Collection[str] = NOT_PUBLISHED) -> None:
        self._jobs, self._now, self._location, self._not_published = jobs, now, jobs.location, frozenset(not_published)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return self._jobs.rows(in_dataset(sql, self._location))

    def columns(self) -> Mapping[str, Mapping[str, str]]:
        found = self._jobs.rows(
            f"""select table_name, column_name, data_type
            from `{self._location.dataset}`.INFORMATION_SCHEMA.COLUMNS
            order by table_name, ordinal_position"""
        )
        tables: dict[str, dict[str, str]] = {}
        for table, column, kind in found:
            if table.startswith("ai_audit_") and "__dbt_" not in table and table not in self._not_published:
                tables.setdefault(table, {})[column] = DUCKDB_TYPES[kind]
        return tables

    def views(self) -> Mapping[str, str]:
        return {}

    def copy(self, sql: str, path: Path) -> int:
        return _write(self._frame(in_dataset(sql, self._location)), path)

    def copy_days(self, table: str, day_of: str, paths: Mapping[date, Path]) -> Mapping[date, int]:
        """One query for many days, between literal bounds."""
        days, written_rows = sorted(paths), dict[date, int]()
        of_row = pl.col("created_at").dt.date() if table == "ai_audit_logs" else pl.col("date")
        for at in range(0, len(days), _DAYS_AT_ONCE):
            part = days[at : at + _DAYS_AT_ONCE]
            listed = ", ".join(f"date '{day.isoformat()}'" for day in part)
            bound = f" and {between(part[0], part[-1])}" if table == "ai_audit_logs" else ""
            rows = self._frame(f"select * from {self._location.table(table)} where {day_of} in ({listed}){bound}")
            for day in part:
                written_rows[day] = _write(rows.filter(of_row == day), paths[day])
        return written_rows

    def _frame(self, sql: str) -> pl.DataFrame:
        return pl.DataFrame(self._jobs.arrow(sql))

    def unbuilt_days(self) -> tuple[date, ...]:
        found = self.fetch(f"select date from {SCHEMA}.ai_audit_days where loads > loads_built order by date")
        return tuple(day for (day,) in found)

    def mark_built(self, days: Collection[date]) -> None:
        if days:
            self._jobs.rows(mark_built_statement(self._location.table("ai_audit_days"), days))

    def record_builds(self, built: Collection[str], models: Collection[str], at: datetime, sync_id: str | None) -> None:
        table, now = self._location.table("ai_audit_model_builds"), self._now()
        statements = record_builds_statements(table, built, models, at, sync_id)
        self._jobs.script(transaction(statements), f"builds-{now:%Y%m%d%H%M%S%f}")

    def prune_sync_state(self, before: datetime) -> int:
        """Staging tables of killed syncs are deleted by BigQuery once they expire."""
        state, builds = self._location.table("ai_audit_sync_state"), self._location.table("ai_audit_model_builds")
        old = (
            f"started_at < {literal(before)} and mode = 'delta' and status != 'failed'"
            f" and sync_id != (select sync_id from {state} order by started_at desc, sync_id limit 1)"
            f" and sync_id not in (select sync_id from {builds} where sync_id is not null)"
        )
        ((count,),) = self._jobs.rows(f"select count(*) from {state} where {old}")
        if count:
            self._jobs.rows(f"delete from {state} where {old}")
        return count

    def register_drill(self, capability: str, first_seen_at: datetime, at: datetime) -> None:
        if "ai_audit_capabilities" not in self.columns():
            return
        table, since = self._location.table("ai_audit_capabilities"), literal(first_seen_at)
        self._jobs.rows(
            f"""insert into {table} ({", ".join(REGISTERED)})
            select 'sim', {text(capability)}, {since}, cast({since} as date), {literal(at)}, true
            from (select count(*) as capabilities from {table}) where capabilities > 0"""
        )

    def forget_drill(self, capability: str) -> None:
        table = self._location.table("ai_audit_capabilities")
        self._jobs.rows(f"delete from {table} where capability = {text(capability)} and environment = 'sim'")

    def copied_versions(self) -> Mapping[str, str]:
        return dict(self._jobs.rows(f"select table_name, version from {self._location.table(LEDGER_COPIES)}"))

    def replace_copies(self, copies: Mapping[str, pa.Table], versions: Mapping[str, str]) -> None:
        now, location = self._now(), self._location
        stamp = f"{now:%Y%m%d%H%M%S%f}"
        statements: list[str] = []
        with ExitStack() as stack:
            for name, rows in copies.items():
                types = {field.name: _KINDS[field.type] for field in rows.schema}
                with stage_table(rows) as file:
                    staging = stack.enter_context(self._jobs.staged(file.path, f"{name}-{stamp}", types, now))
                listed = ", ".join(f"`{column}` {kind}" for column, kind in types.items())
                self._jobs.rows(f"create table if not exists {location.table(name)} ({listed})")
                statements += [
                    *replace_rows_statements(location.table(name), location.table(staging), types),
                    f"delete from {location.table(LEDGER_COPIES)} where table_name = '{name}'",
                    f"insert into {location.table(LEDGER_COPIES)} (table_name, version)"
                    f" values ('{name}', {text(versions[name])})",
                ]
            self._jobs.script(transaction(statements), f"ledger-{stamp}")


_KINDS: Mapping[pa.DataType, str] = {
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
    pa.float64(): "FLOAT64",
    pa.int64(): "INT64",
    pa.bool_(): "BOOL",
    pa.string(): "STRING",
}


def _write(rows: pl.DataFrame, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path, compression="snappy")
    return rows.height
