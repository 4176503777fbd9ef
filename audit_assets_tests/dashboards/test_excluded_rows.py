"""Excluded rows: with and without them, each tile and its reconciliation query show the same, correct figure."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from audit_assets.dashboards.verify.frame_diff import diff_frames
from audit_assets_tests.dashboards.over_models import NOW, TODAY, BuiltModels, built
from audit_assets_tests.models.conftest import Row, rows_of_day

pytestmark = pytest.mark.requirement("R05", "R53")

FIRST = date(2026, 10, 10)
STUB_SPELLINGS = ("stub", "STUB", " Stub ", "\tstuB\n", "\u00a0stub\u00a0", "sTuB\r\n")
KEEPS_STUB = {"T07", "T34"}  # the provider mix, and the list of what was logged


def counted_rows() -> Iterator[Row]:
    """Ten successes per day; six today: two unknown, one failed, one without workspace."""
    logged: dict[str, Any] = {
        "model": "gpt",
        "prompt_tokens": "10",
        "completion_tokens": "20",
        "prompt_length": 5,
        "capability": "chat",
    }
    day = FIRST
    while day < TODAY:
        for number, row in enumerate(rows_of_day(day.isoformat(), 10, **logged)):
            yield replace(row, workflow_id=f"w{number % 4}", duration_ms=str(100 + number))
        day += timedelta(days=1)
    today: list[dict[str, Any]] = [
        {},
        {},
        {"status": "pending"},
        {"status": None},
        {"status": "failed"},
        {"workflow_id": " "},
    ]
    for number, fields in enumerate(today):
        usual: dict[str, Any] = {"workflow_id": f"w{number % 4}", "duration_ms": str(100 + number), **logged}
        yield Row(f"today-{number}", f"{TODAY} 11:0{number}:00+00", **{**usual, **fields})


def excluded_rows(kind: str) -> Iterator[Row]:
    """Many failed, slow and long rows with their own workspace, model and capability, on each day of the range."""
    made: dict[str, Any] = {
        "status": "failed",
        "error_flag": True,
        "duration_ms": "9000",
        "model": "none",
        "prompt_tokens": "999",
        "completion_tokens": "999",
        "prompt_length": 999,
    }
    for days_ago in range(8):
        for number, spelling in enumerate(STUB_SPELLINGS):
            provider, drill_id = (spelling, None) if kind == "stub" else ("openai", f" d{number} ")
            for capability in ("chat", "of-its-own"):
                yield Row(
                    f"{kind}-{days_ago}-{number}-{capability}",
                    f"{NOW - timedelta(days=days_ago, minutes=number):%Y-%m-%d %H:%M:%S}+00",
                    capability=capability, provider=provider, drill_id=drill_id, workflow_id=f"{kind}-ws", **made
                )  # fmt: skip


@pytest.fixture(scope="module")
def warehouses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltModels]:
    """The models on the counted rows alone, and with each kind of excluded rows added."""
    folder = tmp_path_factory.mktemp("excluded")
    old = Row("old", "2026-05-01 09:00:00+00", capability="long-ago", workflow_id="old", status="failed")
    plain = [*counted_rows(), old]
    return {
        "none": built(folder, "none", plain),
        "stub": built(folder, "stub", [*plain, *excluded_rows("stub")]),
        "drill": built(folder, "drill", [*plain, *excluded_rows("drill")]),
    }


def test_figures_are_computed_from_the_counted_rows(warehouses: dict[str, BuiltModels]):
    frames = warehouses["none"].frames()
    one = {name: frames[name] for name in ("T01", "T02", "T03", "T04", "T24", "T25", "T26")}
    expected = {
        "T01": [(6,)],  # yesterday's ten were at nine, before the 24 hours
        "T02": [(4,)],
        "T03": [(1 / 4, 2, 3 / 6)],
        "T04": [(105.0,)],
        "T24": [(0,)],
        "T25": [(0,)],
        "T26": [(0,)],  # today's six are fewer than 0.4 of ten only when the day is over
    }
    assert {name: shown.rows() for name, (shown, _) in one.items()} == expected
    assert {name: raw.rows() for name, (_, raw) in one.items()} == expected


@pytest.mark.parametrize("kind", ["stub", "drill"])
def test_excluded_rows_change_neither_a_tile_nor_its_reconciliation_query(
    warehouses: dict[str, BuiltModels], kind: str
):
    expected, found = warehouses["none"].frames(), warehouses[kind].frames()
    moved: list[str] = []
    for name, (shown, raw) in found.items():
        if name.startswith("T") and not (kind == "stub" and name in KEEPS_STUB):
            base = expected[name][0]
            moved += [f"{name} tile"] if diff_frames(shown, base, {}) else []
            moved += [f"{name} reconciliation query"] if diff_frames(raw, base, {}) else []
        elif diff_frames(shown, raw, {}):
            moved.append(f"{name} differs from its reconciliation query")
    assert moved == []


def test_the_provider_mix_and_the_records_show_stub(warehouses: dict[str, BuiltModels]):
    rows = 7 * 2 * len(STUB_SPELLINGS)
    for mix in warehouses["stub"].frames()["T07"]:
        stubs = mix.filter(pl.col("provider").str.to_lowercase() == "stub")
        assert stubs["interactions"].sum() == rows
        assert mix.filter(pl.col("provider") == "openai")["interactions"].to_list() == [66]
    for records in warehouses["stub"].frames()["T34"]:
        assert len(records) == 66 + rows


def test_a_filter_on_stub_leaves_figures_empty(warehouses: dict[str, BuiltModels]):
    frames = warehouses["stub"].frames(provider="stub")
    for shown, raw in (frames["T01"], frames["T11"]):
        assert shown["interactions"].to_list() in ([0], [None])
        assert diff_frames(shown, raw, {}) is None
