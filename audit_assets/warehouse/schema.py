"""The tables the sync writes: names, columns, types and what one row is. DuckDB types; all times are UTC."""

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
    "source_max_created_at": "timestamptz",
    "watermark": "timestamptz",
    "oldest_write_seconds": "double",
    "sessions_visible": "boolean",
    "error": "varchar",
}

# One row per kind of refused source row: `row_count` source rows share day, reason, id, time text and content hash.
# `created_at` is null where the time cannot be used.
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

# One row per raw row that a later sync changed, removed or found missing; `before` is the version that was there.
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

# One row per UTC day that holds or held rows. `loads` counts commits that changed the day, `loads_built` is its
# value when the models last read the day, `builds` counts those builds: so a killed run leaves its work visible.
DAY_COLUMNS: dict[str, str] = {
    "date": "date",
    "loads": "bigint",
    "loads_built": "bigint",
    "builds": "bigint",
}

# One row per workspace the source has now; replaced whole. `last_accessed_at` is null where it cannot be used.
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
    "ai_audit_days": DAY_COLUMNS,
    "ai_audit_workspaces": WORKSPACE_COLUMNS,
}


# Nearly random text: trying to compress it was 40 % of the cost of an insert (0.6 of 1.5 CPU s for 500k rows), for a
# file of 80 instead of 140 bytes a row.
_STORED_PLAIN = ("id", "row_hash", "completion_id")


def create_statements() -> list[str]:
    """DDL that makes the schema and its tables where they are absent."""
    statements = [f"create schema if not exists {SCHEMA}"]
    for table, columns in TABLES.items():
        listed = ", ".join(
            f'"{name}" {kind}' + (" using compression uncompressed" if name in _STORED_PLAIN else "")
            for name, kind in columns.items()
        )
        statements.append(f"create table if not exists {SCHEMA}.{table} ({listed})")
    # One row: which warehouse this is, so that the snapshot of another one is never taken for its own.
    statements.append(f"create table if not exists {SCHEMA}.warehouse_identity (warehouse_id varchar)")
    statements.append(
        f"insert into {SCHEMA}.warehouse_identity select uuid()::varchar"
        f" where not exists (select 1 from {SCHEMA}.warehouse_identity)"
    )
    return statements
