"""Checks every statement sent to the emulator with Google's analyzer too, since the emulator is not BigQuery."""

from __future__ import annotations

import re
from functools import cache

from audit_assets.alerting.ledger.export import EXPORTED_COLUMNS, column_types
from audit_assets.settings import read_settings
from audit_assets.warehouse.bigquery.schema import IDENTITY, LEDGER_COPIES, STAGED, TYPES
from audit_assets.warehouse.schema import TABLES, WORKSPACE_COLUMNS
from tools.analyzer import BigQueryAnalyzer, load_analyzer_module

# The columns that a drill writes to the registry, which is a dbt model.
_REGISTERED = [
    ("first_seen_at", "timestamp"), ("first_seen_date", "date"), ("registered_at", "timestamp"),
    ("registered_silently", "bool"),
]  # fmt: skip


def analyzed(sql: str) -> None:
    """Raises AnalyzerError if BigQuery would refuse the statement."""
    _analyzed(_normalized(sql))


def _normalized(sql: str) -> str:
    """The statement without times, days, numbers, staging table names and ids, so that statements of one form are
    checked once."""
    sql = re.sub(r"`analytics`\.", "", sql).replace("`", "")
    sql = re.sub(r"\bstaging_workspaces_\w+", "staging_workspaces", sql)
    sql = re.sub(r"\bstaging_(ai_audit_\w+?)_\d{15,}", r"staging_\1", sql)
    sql = re.sub(r"\bstaging_[0-9a-f]{32}\b", "staging_rows", sql)
    sql = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "an-id", sql)
    sql = re.sub(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00'", "'2026-02-18 00:00:00+00'", sql)
    sql = re.sub(r"'\d{4}-\d\d-\d\d'", "'2026-02-18'", sql)
    sql = re.sub(r"(?<=[ (])\d+(?=[ ,)])", "1", sql)
    return re.sub(r"(struct\([^()]*\))(, \1)+", r"\1", sql)


@cache
def _analyzed(sql: str) -> None:
    if "INFORMATION_SCHEMA" not in sql:  # the service's own tables are not in the catalog
        _analyzer().script(sql, {})


@cache
def _analyzer() -> BigQueryAnalyzer:
    load_analyzer_module(read_settings().home / "cache")
    tables = {name: _columns(columns) for name, columns in TABLES.items()}
    copies = {table.name: _columns(column_types(table)) for table in EXPORTED_COLUMNS}
    return BigQueryAnalyzer(
        {
            **tables,
            **copies,
            **{f"staging_{name}": columns for name, columns in copies.items()},
            "staging_rows": [(name, kind.lower()) for name, kind in STAGED.items()],
            "staging_workspaces": _columns(WORKSPACE_COLUMNS),
            IDENTITY: [("warehouse_id", "string")],
            LEDGER_COPIES: [("table_name", "string"), ("version", "string")],
            "ai_audit_capabilities": [("environment", "string"), ("capability", "string"), *_REGISTERED],
        }
    )


def _columns(columns: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, TYPES[kind].lower()) for name, kind in columns.items()]
