"""The tables the sync writes: names, columns, types and grain. DuckDB types; all times are UTC."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from audit_assets.config.yaml_files import read_values

SCHEMA = "analytics"

RAW_COLUMNS: dict[str, str] = {
    "id": "varchar",
    "workflow_id": "varchar",
    "capability": "varchar",
    "provider": "varchar",
    "created_at": "timestamptz",
    "status": "varchar",
    "error_flag": "boolean",
    "duration_ms": "varchar",
    "model": "varchar",
    "model_parameters": "varchar",
    "completion_id": "varchar",
    "prompt_tokens": "varchar",
    "completion_tokens": "varchar",
    "source_documents": "varchar",
    "snapshot_id": "varchar",
    "drill_id": "varchar",
    "prompt_length": "bigint",
    "row_hash": "varchar",
    "synced_at": "timestamptz",
}

# One row per sync run. `watermark` is the created_at up to which the source has been read.
SYNC_STATE_COLUMNS: dict[str, str] = {
    "sync_id": "varchar",
    "mode": "varchar",
    "status": "varchar",
    "window_start": "timestamptz",
    "window_end": "timestamptz",
    "started_at": "timestamptz",
    "last_synced_at": "timestamptz",
    "sync_duration_ms": "bigint",
    "records_read": "bigint",
    "records_synced": "bigint",
    "records_added": "bigint",
    "records_changed": "bigint",
    "records_removed": "bigint",
    "records_rejected": "bigint",
    "records_held": "bigint",
    "removal_accepted_by": "varchar",
    "source_max_created_at": "timestamptz",
    "watermark": "timestamptz",
    "oldest_write_seconds": "double",
    "sessions_visible": "boolean",
    "clock_skew_seconds": "double",
    "is_replica": "boolean",
    "replay_lag_seconds": "double",
    "error": "varchar",
}

# Columns added after the first release, in order.
ADDED_SYNC_STATE_COLUMNS: tuple[str, ...] = (
    "records_held",
    "removal_accepted_by",
    "clock_skew_seconds",
    "is_replica",
    "replay_lag_seconds",
)

# One row per kind of rejected source row: `row_count` source rows share day, reason, id, time text and content hash.
# `created_at` is null if the time is not usable.
REJECT_COLUMNS: dict[str, str] = {
    "reject_day": "date",
    "reason": "varchar",
    "source_id": "varchar",
    "created_at_text": "varchar",
    "created_at": "timestamptz",
    "row_hash": "varchar",
    "row_count": "bigint",
    "first_seen_at": "timestamptz",
    "last_seen_at": "timestamptz",
}

# One row per raw row that a later sync changed, removed or added late; `before` is the previous version.
REPAIR_DIFF_COLUMNS: dict[str, str] = {
    "sync_id": "varchar",
    "recorded_at": "timestamptz",
    "mode": "varchar",
    "change": "varchar",
    "id": "varchar",
    "created_at": "timestamptz",
    "before": "varchar",
    "after": "varchar",
}

# One row per table, UTC day and kind of known difference between warehouse and source; `date` is null for a table
# without days. `removal_held`: rows the source no longer has, kept until somebody accepts their removal.
DISCREPANCY_COLUMNS: dict[str, str] = {
    "table_name": "varchar",
    "date": "date",
    "kind": "varchar",
    "row_count": "bigint",
    "source_rows": "bigint",
    "warehouse_rows": "bigint",
    "first_seen_at": "timestamptz",
    "last_seen_at": "timestamptz",
    "sync_id": "varchar",
}

# One row per UTC day that has or had rows. `loads` counts commits that changed the day, `loads_built` is its value
# when the models last read the day, `builds` counts those builds. So a killed run leaves its work visible.
DAY_COLUMNS: dict[str, str] = {
    "date": "date",
    "loads": "bigint",
    "loads_built": "bigint",
    "builds": "bigint",
}

# One row per table of a model. `built_at` is when the models last read every changed day, `sync_id` the newest sync
# whose rows they read then: a table is as old as that sync, however many came after it.
MODEL_BUILD_COLUMNS: dict[str, str] = {
    "table_name": "varchar",
    "built_at": "timestamptz",
    "sync_id": "varchar",
}

# One row per workspace in the source; replaced as a whole. `last_accessed_at` is null if it is not usable.
WORKSPACE_COLUMNS: dict[str, str] = {
    "workspace_id": "varchar",
    "name": "varchar",
    "team": "varchar",
    "owner": "varchar",
    "last_accessed_at": "timestamptz",
    "synced_at": "timestamptz",
}

TABLES: dict[str, dict[str, str]] = {
    "ai_audit_logs": RAW_COLUMNS,
    "ai_audit_sync_state": SYNC_STATE_COLUMNS,
    "ai_audit_rejects": REJECT_COLUMNS,
    "ai_audit_repair_diff": REPAIR_DIFF_COLUMNS,
    "ai_audit_discrepancies": DISCREPANCY_COLUMNS,
    "ai_audit_days": DAY_COLUMNS,
    "ai_audit_model_builds": MODEL_BUILD_COLUMNS,
    "ai_audit_workspaces": WORKSPACE_COLUMNS,
}


# Nearly random text: trying to compress it was 40 % of the cost of an insert (0.6 of 1.5 CPU s for 500k rows), for a
# file of 80 instead of 140 bytes per row.
_STORED_PLAIN = ("id", "row_hash", "completion_id")

MODELS = Path(__file__).resolve().parents[2] / "dbt" / "models"

# A type that differs between the engines is written as a template in dbt's Jinja.
_BY_ENGINE = re.compile(r"\{\{ '(\w+)' if target\.type == 'bigquery' else '(\w+)' \}\}")


def create_statements() -> list[str]:
    """DDL that creates the schema and its tables if they are missing."""
    statements = [f"create schema if not exists {SCHEMA}"]
    for table, columns in TABLES.items():
        listed = ", ".join(
            f'"{name}" {kind}' + (" using compression uncompressed" if name in _STORED_PLAIN else "")
            for name, kind in columns.items()
        )
        statements.append(f"create table if not exists {SCHEMA}.{table} ({listed})")
    # Columns that a warehouse created by an earlier version lacks.
    statements += [
        f'alter table {SCHEMA}.ai_audit_sync_state add column if not exists "{name}" {SYNC_STATE_COLUMNS[name]}'
        for name in ADDED_SYNC_STATE_COLUMNS
    ]
    # One row, which identifies this warehouse: a snapshot of another warehouse is never mistaken for its own.
    statements.append(f"create table if not exists {SCHEMA}.warehouse_identity (warehouse_id varchar)")
    statements.append(
        f"insert into {SCHEMA}.warehouse_identity select uuid()::varchar"
        f" where not exists (select 1 from {SCHEMA}.warehouse_identity)"
    )
    return statements


@dataclass(frozen=True)
class ColumnTypes:
    """A column's type in both engines."""

    bigquery: str
    duckdb: str


@cache
def contract(model: str) -> Mapping[str, ColumnTypes]:
    """Column → types of a dbt model, in the order of its contract. Raises KeyError if no model has that name, and
    ValueError if a column has no type or one that cannot be read."""
    for path in MODELS.glob(f"*/{model}.yml"):
        for documented in read_values(path.read_text(encoding="utf-8"))["models"]:
            if documented["name"] == model:
                return MappingProxyType({column["name"]: _types(path, column) for column in documented["columns"]})
    raise KeyError(model)


def contracts() -> Mapping[str, Mapping[str, ColumnTypes]]:
    """Model → column → types, for every model."""
    return {
        path.stem: contract(path.stem) for path in sorted(MODELS.glob("*/*.yml")) if path.with_suffix(".sql").exists()
    }


def _types(path: Path, column: Mapping[str, Any]) -> ColumnTypes:
    written = str(column.get("data_type") or "")
    if by_engine := _BY_ENGINE.fullmatch(written):
        return ColumnTypes(*by_engine.groups())
    if not written.isalnum():
        raise ValueError(
            f"{path.name}: {column['name']}: data_type {written!r} is no type; copy that of another column"
        )
    return ColumnTypes(written, written)
