"""What the stages after the sync do with the dataset while it is held."""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from audit_assets.warehouse.bigquery.arrival import written
from audit_assets.warehouse.bigquery.client import in_dataset
from audit_assets.warehouse.bigquery.jobs import Jobs, literal
from audit_assets.warehouse.bigquery.schema import DUCKDB_TYPES, LEDGER_COPIES
from audit_assets.warehouse.bigquery.statements import between, counted_built, replaced, text, transaction
from audit_assets.warehouse.schema import SCHEMA

# As many as there are interactions or nearly so: they stay in BigQuery, where the dashboards ask for them.
STAY = frozenset(
    {"ai_audit_logs", "ai_audit_workspace_stats", "ai_audit_workspace_counts", "ai_audit_latency_histogram"}
)
# Days of a backfill are fetched in parts of so many: a part is held in memory.
_DAYS_AT_ONCE = 31


class BigQueryKeeper:
    """A keeper over the dataset; the caller holds the lock. Tables that `stay` are not published."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime], stay: Collection[str] = STAY) -> None:
        self._jobs, self._now, self._place, self._stay = jobs, now, jobs.place, frozenset(stay)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return self._jobs.rows(in_dataset(sql, self._place))

    def columns(self) -> Mapping[str, Mapping[str, str]]:
        found = self._jobs.rows(
            f"""select table_name, column_name, data_type
            from `{self._place.dataset}`.INFORMATION_SCHEMA.COLUMNS
            order by table_name, ordinal_position"""
        )
        tables: dict[str, dict[str, str]] = {}
        for table, column, kind in found:
            if table.startswith("ai_audit_") and "__dbt_" not in table and table not in self._stay:
                tables.setdefault(table, {})[column] = DUCKDB_TYPES[kind]
        return tables

    def views(self) -> Mapping[str, str]:
        return {}

    def copy(self, sql: str, path: Path) -> int:
        return _write(self._frame(in_dataset(sql, self._place)), path)

    def copy_days(self, table: str, day_of: str, paths: Mapping[date, Path]) -> Mapping[date, int]:
        """A query for many days at once, between literal bounds."""
        days, written_rows = sorted(paths), dict[date, int]()
        of_row = pl.col("created_at").dt.date() if table == "ai_audit_logs" else pl.col("date")
        for at in range(0, len(days), _DAYS_AT_ONCE):
            part = days[at : at + _DAYS_AT_ONCE]
            listed = ", ".join(f"date '{day.isoformat()}'" for day in part)
            bound = f" and {between(part[0], part[-1])}" if table == "ai_audit_logs" else ""
            rows = self._frame(f"select * from {self._place.table(table)} where {day_of} in ({listed}){bound}")
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
            self._jobs.rows(counted_built(self._place.table("ai_audit_days"), days))

    def tidy(self, before: datetime) -> int:
        """Staging tables that a killed sync left are BigQuery's to delete."""
        state = self._place.table("ai_audit_sync_state")
        old = (
            f"started_at < {literal(before)} and mode = 'delta' and status != 'failed'"
            f" and sync_id != (select sync_id from {state} order by started_at desc limit 1)"
        )
        ((count,),) = self._jobs.rows(f"select count(*) from {state} where {old}")
        if count:
            self._jobs.rows(f"delete from {state} where {old}")
        return count

    def forget_drill(self, capability: str) -> None:
        table = self._place.table("ai_audit_capabilities")
        self._jobs.rows(f"delete from {table} where capability = {text(capability)} and environment = 'sim'")

    def copied_versions(self) -> Mapping[str, str]:
        return dict(self._jobs.rows(f"select table_name, version from {self._place.table(LEDGER_COPIES)}"))

    def replace_copies(self, copies: Mapping[str, pa.Table], versions: Mapping[str, str]) -> None:
        now, place = self._now(), self._place
        stamp = f"{now:%Y%m%d%H%M%S%f}"
        statements: list[str] = []
        with ExitStack() as stack:
            for name, rows in copies.items():
                types = {field.name: _KINDS[field.type] for field in rows.schema}
                with written(rows) as file:
                    staging = stack.enter_context(self._jobs.staged(file.path, f"{name}-{stamp}", types, now))
                listed = ", ".join(f"`{column}` {kind}" for column, kind in types.items())
                self._jobs.rows(f"create table if not exists {place.table(name)} ({listed})")
                statements += [
                    *replaced(place.table(name), place.table(staging), types),
                    f"delete from {place.table(LEDGER_COPIES)} where table_name = '{name}'",
                    f"insert into {place.table(LEDGER_COPIES)} (table_name, version)"
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
