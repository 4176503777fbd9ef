"""Rows for every table a dashboard reads, with few distinct values, so that each filter and each group has rows."""

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

import duckdb

from audit_assets.bi_export.mart_types import Table
from audit_assets.warehouse.schema import SCHEMA

TEXTS: Mapping[str, tuple[str, ...]] = {
    "capability": ("summarise", "review", "draft"),
    "provider": ("openai", "anthropic"),
    "workspace_id": ("w1", "w2", "w3", "unassigned"),
    "environment": ("live", "live", "sim"),
    "status": ("success", "failed", "succeeded"),
    "status_class": ("success", "error", "unknown"),
    "deviation_state": ("normal", "spike", "drop"),
    "severity": ("high", "low"),
    "dimensions": ('{"capability": "review"}', "{}"),
    "team": ("red", "blue"),
    "owner": ("ann", "bo"),
}
# Unique values, or a join would multiply the rows.
ALONE = ("workspace_id", "id", "key")


def fill(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table], last: date, seed: int = 8) -> None:
    """Fills every table with forty days up to `last`; times are not after noon of `last`."""
    random_of = random.Random(seed)
    for table, columns in tables.items():
        for number in range(480):
            day = last - timedelta(days=number // 12)
            values = [_value(name, kind.duckdb, day, number, table, random_of) for name, kind in columns.items()]
            connection.execute(f"insert into {SCHEMA}.{table} values ({', '.join('?' * len(values))})", values)


def _value(name: str, kind: str, day: date, number: int, table: str, random_of: random.Random) -> object:
    if (name in ALONE and table in ("ai_audit_workspaces", "ai_audit_alerts")) or name == "id":
        return f"w{number}"
    if name == "resolved_at" and number % 3 == 0:
        return None
    match kind:
        case "date":
            return day
        case "timestamptz":
            return datetime.combine(day, time(random_of.randrange(12), random_of.randrange(60)), UTC)
        case "bigint":
            return random_of.randrange(1, 50)
        case "double":
            return float(random_of.randrange(1, 5000))
        case "boolean":
            return random_of.random() < (0.2 if name in ("is_stub", "is_unassigned") else 0.5)
        case _:
            return random_of.choice(TEXTS.get(name, ("a", "b", "c")))
