"""The sync to stdout: rows as lines of JSON, without a warehouse or a watermark."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_assets.ingest.stdout import sync_to_stdout
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.schema import RAW_COLUMNS
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, TEXT_TABLE, execute, insert_row, insert_rows

pytestmark = pytest.mark.requirement("R11")

HOUR = timedelta(hours=1)


def printed(source: str, **asked: Any) -> list[dict[str, Any]]:
    lines: list[str] = []
    written = sync_to_stdout(source, POLICY, Request(asked.pop("mode", "delta"), **asked), lines.append, NOW)
    assert written.rows == len(lines)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_a_line_holds_the_columns_of_raw_and_no_content(source: str):
    insert_row(source, "a", NOW, '{"prompt": "secret\\nwords"}', '{"status": "success", "response": "secret"}')
    (row,) = printed(source)
    assert list(row) == list(RAW_COLUMNS)
    assert row["created_at"] == NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert (row["prompt_length"], row["status"], row["error_flag"]) == (12, "success", None)
    assert "secret" not in json.dumps(row)


def test_without_a_window_it_is_the_last_day(source: str):
    insert_row(source, "old", NOW - 25 * HOUR)
    insert_row(source, "a", NOW - 23 * HOUR)
    insert_row(source, "b", NOW)
    assert ids(printed(source)) == ids(printed(source, mode="full")) == ["a", "b"]


def test_since_and_lookback_choose_the_window(source: str):
    insert_rows(source, 10, NOW - 10 * DAY, DAY)
    assert ids(printed(source, since=NOW - 3 * DAY)) == ["r8", "r9", "r10"]
    assert ids(printed(source, mode="full", lookback=50 * HOUR)) == ["r9", "r10"]
    day = (NOW - 9 * DAY).date()
    assert ids(printed(source, mode="days", days=(day, day))) == ["r2"]


def test_rows_a_warehouse_would_reject_are_left_out(source: str):
    execute(source, TEXT_TABLE)
    insert_row(source, "a", NOW.isoformat())
    insert_row(source, None, NOW.isoformat())
    insert_row(source, "naive", NOW.strftime("%Y-%m-%d %H:%M:%S"))
    insert_row(source, "broken", NOW.isoformat(), "{")
    assert ids(printed(source)) == ["a"]


def test_many_rows_come_in_the_order_of_time(source: str):
    insert_rows(source, 5000, NOW - 10 * HOUR, timedelta(seconds=5))
    assert ids(printed(source)) == [f"r{n}" for n in range(1, 5001)]


def test_nothing_is_left_behind(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    insert_row(source, "a", NOW)
    monkeypatch.chdir(tmp_path)
    assert len(printed(source)) == len(printed(source)) == 1
    assert list(tmp_path.iterdir()) == []


def test_rejected_rows_are_counted_by_reason(source: str):
    execute(source, "alter table ai_audit_logs alter created_at type timestamp")
    insert_row(source, "a", NOW.replace(tzinfo=None))
    insert_row(source, "b", NOW.replace(tzinfo=None))
    lines: list[str] = []
    written = sync_to_stdout(source, POLICY, Request("delta"), lines.append, NOW)
    assert (lines, written.rows, dict(written.rejected)) == ([], 0, {"naive_time": 2})
