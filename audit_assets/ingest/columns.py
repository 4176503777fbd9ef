"""The columns of a raw audit row: the one list that extraction, normalising and the warehouse share."""

from audit_assets.warehouse.schema import RAW_COLUMNS

# What the source hands over as text, with the longest text kept (characters). Longer text is cut there, so that
# a megabyte in a status never travels.
TEXT_LIMITS: dict[str, int] = {
    "id": 512,
    "workflow_id": 512,
    "capability": 256,
    "provider": 256,
    "status": 64,
    "duration_ms": 64,
    "model": 256,
    "model_parameters": 4000,
    "completion_id": 256,
    "prompt_tokens": 64,
    "completion_tokens": 64,
    "source_documents": 16000,
    "snapshot_id": 256,
    "drill_id": 256,
}

# What the row hash covers: every field that comes from the source, in the order of the table.
HASHED_COLUMNS: tuple[str, ...] = tuple(name for name in RAW_COLUMNS if name not in ("row_hash", "synced_at"))
