"""Rows as lines of JSON on a stream, with no warehouse and no watermark."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_assets.ingest.stdout import sync_to_stdout
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.schema import RAW_COLUMNS
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, TEXT_TABLE, put, spread, tell

pytestmark = pytest.mark.requirement("R11")

HOUR = timedelta(hours=1)


def printed(source: str, **asked: Any) -> list[dict[str, Any]]:
    lines: list[str] = []
    count = sync_to_stdout(source, POLICY, Request(asked.pop("mode", "delta"), **asked), lines.append)
    assert count == len(lines)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_a_line_holds_the_columns_of_raw_and_no_content(source: str):
    put(source, "a", NOW, '{"prompt": "secret\\nwords"}', '{"status": "success", "response": "secret"}')
    (row,) = printed(source)
    assert list(row) == list(RAW_COLUMNS)
    assert row["created_at"] == NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert (row["prompt_length"], row["status"], row["error_flag"]) == (12, "success", None)
    assert "secret" not in json.dumps(row)


def test_without_a_window_it_is_the_last_day(source: str):
    put(source, "old", NOW - 25 * HOUR)
    put(source, "a", NOW - 23 * HOUR)
    put(source, "b", NOW)
    assert ids(printed(source)) == ids(printed(source, mode="full")) == ["a", "b"]


def test_since_and_lookback_choose_the_window(source: str):
    spread(source, 10, NOW - 10 * DAY, DAY)
    assert ids(printed(source, since=NOW - 3 * DAY)) == ["r8", "r9", "r10"]
    assert ids(printed(source, mode="full", lookback=50 * HOUR)) == ["r9", "r10"]
    day = (NOW - 9 * DAY).date()
    assert ids(printed(source, mode="days", days=(day, day))) == ["r2"]


def test_rows_a_warehouse_would_refuse_are_left_out(source: str):
    tell(source, TEXT_TABLE)
    put(source, "a", NOW.isoformat())
    put(source, None, NOW.isoformat())
    put(source, "naive", NOW.strftime("%Y-%m-%d %H:%M:%S"))
    put(source, "broken", NOW.isoformat(), "{")
    assert ids(printed(source)) == ["a"]


def test_many_rows_come_in_the_order_of_time(source: str):
    spread(source, 5000, NOW - 10 * HOUR, timedelta(seconds=5))
    assert ids(printed(source)) == [f"r{n}" for n in range(1, 5001)]


def test_nothing_is_left_behind(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(source, "a", NOW)
    monkeypatch.chdir(tmp_path)
    assert len(printed(source)) == len(printed(source)) == 1
    assert list(tmp_path.iterdir()) == []
