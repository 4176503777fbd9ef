"""Writes raw rows directly into a warehouse, as if syncs had loaded them: history of any size within seconds."""

from datetime import UTC, datetime, timedelta

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.schema import RAW_COLUMNS, SCHEMA
from benchmarks.home import Home
from benchmarks.source_rows import CAPABILITIES, WORKSPACES

# The raw columns, computed from the row's number i, with the same distribution as benchmarks/source_rows.py.
_VALUES: dict[str, str] = {
    "id": "md5('history-' || i)",
    "workflow_id": f"'w' || (1 + (i * 7919) % {WORKSPACES})",
    "capability": f"'capability_' || ((i * 31) % {CAPABILITIES})",
    "provider": "['openai', 'anthropic', 'azure', 'bedrock', 'stub'][1 + (i * 17) % 5]",
    "created_at": "$start + to_microseconds(cast(($micros * ((i - $first) / ($last - $first))) as bigint))",
    "status": "case when i % 40 = 0 then 'error' else 'success' end",
    "error_flag": "null",
    "duration_ms": "(120 + (i * 104729) % 9000)::varchar",
    "model": "'model-' || (i % 4)",
    "model_parameters": """'{"topP": 1, "temperature": 0.2}'""",
    "completion_id": "'cmpl-' || md5(i::varchar)",
    "prompt_tokens": "(20 + i % 400)::varchar",
    "completion_tokens": "(5 + i % 700)::varchar",
    "source_documents": """'["d' || (i % 900) || '", "d' || (i % 7) || '"]'""",
    "snapshot_id": "'s' || (i % 60)",
    "drill_id": "null",
    "prompt_length": "150 + i % 90",
    "row_hash": "md5('hash-' || i)",
    "synced_at": "$now",
}


def make_history(home: Home, rows: int, days: int, now: datetime) -> None:
    """Writes `rows` over `days` UTC days that end at `now`, which the models have not read yet, and a sync state at
    `now`."""
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    start = midnight - timedelta(days=days - 1)
    warehouse = DuckDBWarehouse(home.duckdb_path, home.lock_path)
    columns = ", ".join(RAW_COLUMNS)
    values = ", ".join(f"{_VALUES[name]} as {name}" for name in RAW_COLUMNS)
    with warehouse.connection("benchmark history") as connection:
        for number in range(days):
            begin = start + timedelta(days=number)
            end = min(begin + timedelta(days=1), now)
            first = round(rows * ((begin - start) / (now - start)))
            last = round(rows * ((end - start) / (now - start)))
            if last <= first:
                continue
            connection.execute(
                f"insert into {SCHEMA}.ai_audit_logs ({columns}) select {values} from range($first, $last) as t(i)",
                {
                    "start": begin,
                    "micros": (end - begin) / timedelta(microseconds=1),
                    "first": first,
                    "last": last,
                    "now": now,
                },
            )
            connection.execute(
                f"insert into {SCHEMA}.ai_audit_days (date, loads, loads_built, builds) values (?, 1, 0, 0)",
                [begin.date()],
            )
        connection.execute(
            f"""insert into {SCHEMA}.ai_audit_sync_state
            (sync_id, mode, status, window_start, window_end, started_at, last_synced_at, sync_duration_ms,
             records_read, records_synced, source_max_created_at, watermark)
            values ('history', 'delta', 'succeeded', ?, ?, ?, ?, 0, ?, ?, ?, ?)""",
            [start, now, now, now, rows, rows, now, now],
        )
