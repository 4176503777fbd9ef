"""The tables the sync writes in BigQuery: types, partitions, clusters, and the statements that create them."""

from collections.abc import Collection, Mapping

from audit_assets.warehouse.bigquery.client import BigQueryOptions, TableLocation
from audit_assets.warehouse.schema import ADDED_SYNC_STATE_COLUMNS, RAW_COLUMNS, SYNC_STATE_COLUMNS, TABLES

# DuckDB type → BigQuery type, and back, from the names in BigQuery's INFORMATION_SCHEMA.
TYPES: Mapping[str, str] = {
    "varchar": "STRING",
    "timestamptz": "TIMESTAMP",
    "bigint": "INT64",
    "double": "FLOAT64",
    "boolean": "BOOL",
    "date": "DATE",
}
DUCKDB_TYPES: Mapping[str, str] = {
    "STRING": "VARCHAR",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "DATE": "DATE",
}

IDENTITY = "warehouse_identity"
LEDGER_COPIES = "ledger_copies"
_INTERNAL_TABLES: Mapping[str, Mapping[str, str]] = {
    IDENTITY: {"warehouse_id": "varchar"},
    LEDGER_COPIES: {"table_name": "varchar", "version": "varchar"},
}
ALL_TABLES = frozenset({*TABLES, *_INTERNAL_TABLES})

# The columns of staged raw rows: those of the table, and why a row is rejected.
STAGED: Mapping[str, str] = {
    **{name: TYPES[kind] for name, kind in RAW_COLUMNS.items()},
    "reject_reason": "STRING",
    "created_at_text": "STRING",
}


def bigquery_types(columns: Mapping[str, str]) -> dict[str, str]:
    """Column → BigQuery type, from column → DuckDB type."""
    return {name: TYPES[kind] for name, kind in columns.items()}


def create_statements(
    location: TableLocation, options: BigQueryOptions, existing: Collection[str], state_columns: Collection[str] = ()
) -> list[str]:
    """DDL for the tables that are not in `existing`, for the columns that ai_audit_sync_state lacks if it has only
    `state_columns`, and for the row that identifies this warehouse."""
    statements = [
        _create(location, options, table, columns)
        for table, columns in {**TABLES, **_INTERNAL_TABLES}.items()
        if table not in existing
    ]
    if "ai_audit_sync_state" in existing:  # maybe created by an earlier version
        types = bigquery_types(SYNC_STATE_COLUMNS)
        state = location.table("ai_audit_sync_state")
        statements += [
            f"alter table {state} add column if not exists `{name}` {types[name]}"
            for name in ADDED_SYNC_STATE_COLUMNS
            if name not in state_columns
        ]
    if IDENTITY not in existing:
        identity = location.table(IDENTITY)
        statements.append(
            f"insert into {identity} (warehouse_id) select generate_uuid() from (select 1 as one)"
            f" where not exists (select 1 from {identity})"
        )
    return statements


def _create(location: TableLocation, options: BigQueryOptions, table: str, columns: Mapping[str, str]) -> str:
    listed = ", ".join(f"`{name}` {kind}" for name, kind in bigquery_types(columns).items())
    labels = ", ".join(f"('{name}', '{value}')" for name, value in sorted(options.labels.items()))
    clauses, layout = [f"labels = [{labels}]"], ""
    if table == "ai_audit_logs":
        layout = " partition by date(created_at) cluster by capability, workflow_id"
        clauses.append("require_partition_filter = true")
        if options.keep_raw is not None:
            clauses.append(f"partition_expiration_days = {options.keep_raw.days}")
    return f"create table if not exists {location.table(table)} ({listed}){layout} options ({', '.join(clauses)})"
