"""Files to load and queries of the source, for the tests of loading."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_assets.demo.load import LoadReport, load_file
from audit_assets.demo.source_tables import connect
from audit_assets_tests.untyped import pa, pq

TEXT = ("id", "workflow_id", "capability", "provider", "request_metadata", "response_metadata")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "id": "a",
    "workflow_id": "ws-1",
    "capability": "chat",
    "provider": "openai",
    "created_at": "2026-03-02T12:00:00Z",
    "request_metadata": '{"prompt":"hé"}',
    "response_metadata": '{"status":"success"}',
}


def written(path: Path, rows: Sequence[dict[str, Any]], times: Any = None) -> Path:
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in TEXT}
    columns["created_at"] = pa.array([row["created_at"] for row in rows], times or pa.string())
    pq.write_table(pa.table(columns), path)
    return path


def loaded(url: str, path: Path, naive_timezone: str | None = None) -> LoadReport:
    heard: list[int] = []
    report = load_file(url, path, heard.append, naive_timezone)
    assert sum(heard) == report.read
    assert report.read == report.loaded + sum(rejected.rows for rejected in report.rejected)
    assert query(url, "select count(*) from ai_audit_logs")[0][0] >= report.loaded
    return report


def reasons(report: LoadReport) -> dict[str, int]:
    return {rejected.reason: rejected.rows for rejected in report.rejected}


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def row(number: int, **changed: Any) -> dict[str, Any]:
    return {**GOOD, "id": f"row{number}", **changed}
