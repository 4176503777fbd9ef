"""The maintenance session on the DuckDB file, for the stages after the sync."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from audit_assets.warehouse.duckdb.statements import RAW, transaction
from audit_assets.warehouse.protocol import REGISTERED
from audit_assets.warehouse.schema import SCHEMA

_DAYS, _STATE = f"{SCHEMA}.ai_audit_days", f"{SCHEMA}.ai_audit_sync_state"
_BUILDS = f"{SCHEMA}.ai_audit_model_builds"
_REGISTRY = f"{SCHEMA}.ai_audit_capabilities"

# The version of each ledger copy, so that an unchanged ledger costs one count per table. Not for readers.
_COPIES = f"{SCHEMA}.ledger_copies"


# Each thread keeps a row group in memory until it is full. Limited by row count alone, wide rows did not fit.
_ROW_GROUP_BYTES = 8_000_000


class DuckDBMaintenance:
    """A maintenance session on an open connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def columns(self) -> Mapping[str, Mapping[str, str]]:
        found = self.fetch(
            "select table_name, column_name, data_type from information_schema.columns"
            " inner join information_schema.tables using (table_schema, table_name)"
            f" where table_schema = '{SCHEMA}' and table_type = 'BASE TABLE' and table_name like 'ai_audit_%'"
            " and table_name not like '%__dbt_%' order by table_name, ordinal_position"
        )
        tables: dict[str, dict[str, str]] = {}
        for table, column, kind in found:
            tables.setdefault(table, {})[column] = kind
        return tables

    def views(self) -> Mapping[str, str]:
        """The staging model, so that readers see raw rows with the same types as the marts."""
        return dict(
            self.fetch(
                "select view_name, sql from duckdb_views()"
                f" where schema_name = '{SCHEMA}' and view_name = 'stg_ai_audit_logs'"
            )
        )

    def copy(self, sql: str, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = str(path).replace("'", "''")
        ((rows,),) = self.fetch(
            f"copy ({sql}) to '{target}' (format parquet, compression snappy, row_group_size_bytes {_ROW_GROUP_BYTES})"
        )
        return rows

    def copy_days(self, table: str, day_of: str, paths: Mapping[date, Path]) -> Mapping[date, int]:
        return {
            day: self.copy(f"select * from {SCHEMA}.{table} where {_of_day(table, day_of, day)}", path)
            for day, path in paths.items()
        }

    def unbuilt_days(self) -> tuple[date, ...]:
        return tuple(day for (day,) in self.fetch(f"select date from {_DAYS} where loads > loads_built order by date"))

    def mark_built(self, days: Collection[date]) -> None:
        for day in sorted(days):
            self._connection.execute(
                f"""merge into {_DAYS} existing using (select ?::date as date) built on existing.date = built.date
                when matched then update set loads_built = existing.loads, builds = existing.builds + 1
                when not matched then insert (date, loads, loads_built, builds) values (built.date, 0, 0, 1)""",
                [day],
            )

    def record_builds(self, built: Collection[str], models: Collection[str], at: datetime, sync_id: str | None) -> None:
        with transaction(self._connection):
            others = sorted(set(models) - set(built))
            self._connection.execute(
                f"delete from {_BUILDS} where not list_contains(?::varchar[], table_name)", [others]
            )
            self._connection.execute(
                f"insert into {_BUILDS} select unnest(?::varchar[]), ?, ?", [sorted(built), at, sync_id]
            )

    def prune_sync_state(self, before: datetime) -> int:
        """Also runs a checkpoint, so that freed blocks are reused."""
        dropped = self._connection.execute(
            f"""delete from {_STATE}
            where started_at < ? and mode = 'delta' and status <> 'failed'
                and sync_id <> (select sync_id from {_STATE} order by started_at desc, sync_id limit 1)
                and sync_id not in (select sync_id from {_BUILDS} where sync_id is not null)""",
            [before],
        ).fetchone()
        self._connection.execute("checkpoint")
        return dropped[0] if dropped else 0

    def register_drill(self, capability: str, first_seen_at: datetime, at: datetime) -> None:
        if "ai_audit_capabilities" in self.columns():
            self._connection.execute(
                f"""insert into {_REGISTRY} ({", ".join(REGISTERED)})
                select 'sim', ?, ?, cast(? as date), ?, true
                from (select count(*) as capabilities from {_REGISTRY}) where capabilities > 0""",
                [capability, first_seen_at, first_seen_at, at],
            )

    def forget_drill(self, capability: str) -> None:
        self._connection.execute(f"delete from {_REGISTRY} where capability = ? and environment = 'sim'", [capability])

    def copied_versions(self) -> Mapping[str, str]:
        self._connection.execute(
            f"create table if not exists {_COPIES} (table_name varchar primary key, version varchar)"
        )
        return dict(self.fetch(f"select table_name, version from {_COPIES}"))

    def replace_copies(self, copies: Mapping[str, pa.Table], versions: Mapping[str, str]) -> None:
        with transaction(self._connection):
            for name, rows in copies.items():
                self._connection.register("fresh_rows", rows)
                self._connection.execute(f"create or replace table {SCHEMA}.{name} as select * from fresh_rows")
                self._connection.execute(f"insert or replace into {_COPIES} values (?, ?)", [name, versions[name]])
                self._connection.unregister("fresh_rows")


def _of_day(table: str, day_of: str, day: date) -> str:
    """Raw rows are selected by bounds on created_at, so that row groups of other days are skipped."""
    if f"{SCHEMA}.{table}" == RAW:
        start = f"timestamptz '{day.isoformat()} 00:00:00+00'"
        return f"created_at >= {start} and created_at < {start} + interval 1 day"
    return f"{day_of} = date '{day.isoformat()}'"
