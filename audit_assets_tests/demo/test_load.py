"""Loading a file: the table gets every row it can store, the others are rejected, and the counts add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_assets.demo.load import LoadError, LoadReport, load_file
from audit_assets.demo.source_tables import SourceError, connect
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.demo.loading import GOOD, NOON, loaded, query, reasons, row, written

pytestmark = pytest.mark.requirement("R03")

REAL = PROJECT_ROOT.parent / "shared/data"


def test_a_row_arrives_as_it_was_written(source: str, tmp_path: Path):
    assert loaded(source, written(tmp_path / "f.parquet", [GOOD])) == LoadReport(1, 1, ())
    [(*texts, when, request, response)] = query(
        source,
        "select id, workflow_id, capability, provider, created_at, request_metadata, response_metadata "
        "from ai_audit_logs",
    )
    assert texts == ["a", "ws-1", "chat", "openai"]
    assert (when, request, response) == (NOON, {"prompt": "hé"}, {"status": "success"})


JUNK: list[tuple[str, dict[str, Any]]] = [
    ("missing_id", {"id": None}),
    ("duplicate_id", {"id": "row0"}),
    ("id_too_long", {"id": "x" * 1_000_000}),
    ("nul_character", {"id": "a\0b"}),
    ("nul_character", {"capability": "\0"}),
    ("nul_character", {"request_metadata": '{"a":"\0"}'}),
    ("missing_time", {"created_at": None}),
    ("naive_time", {"created_at": "2026-03-02T12:00:00"}),
    ("naive_time", {"created_at": "2026-03-02 12:00"}),
    ("naive_time", {"created_at": "2026-03-02"}),
    ("invalid_time", {"created_at": "infinity"}),
    ("invalid_time", {"created_at": "-infinity"}),
    ("invalid_time", {"created_at": "NaN"}),
    ("invalid_time", {"created_at": ""}),
    ("invalid_time", {"created_at": "yesterday"}),
    ("invalid_time", {"created_at": "1772452800"}),
    ("invalid_time", {"created_at": "2026-02-30T12:00:00Z"}),
    ("invalid_time", {"created_at": "2026-03-02T25:00:00Z"}),
    ("invalid_time", {"created_at": "2026-03-02T12:00:00+99:00"}),
    ("invalid_time", {"created_at": "0044-03-15 12:00:00+00 BC"}),
    ("invalid_time", {"created_at": "12026-03-02T12:00:00Z"}),
    ("time_out_of_range", {"created_at": "9999-12-31T23:59:59-01:00"}),
    ("invalid_json", {"request_metadata": "{"}),
    ("invalid_json", {"request_metadata": ""}),
    ("invalid_json", {"response_metadata": "{'a': 1}"}),
    ("invalid_json", {"response_metadata": '{"a":NaN}'}),
    ("invalid_json", {"response_metadata": '{"a":1,}'}),
    ("invalid_json", {"response_metadata": '{"a":"line\nbreak"}'}),
    ("invalid_json", {"response_metadata": '{"a":"\\ud800"}'}),
    ("unstorable_character", {"response_metadata": '{"a":"\\u0000"}'}),
    ("number_out_of_range", {"response_metadata": '{"a":1e999999}'}),
    ("nested_too_deep", {"response_metadata": "[" * 100_000}),
]
ODD: list[dict[str, Any]] = [
    {"id": ""},
    {"id": 'quote"comma,newline\nreturn\rbackslash\\.'},
    {"id": "\\."},
    {"id": "\\N"},
    {"workflow_id": None, "capability": None, "provider": None},
    {"workflow_id": "", "capability": " chat ", "provider": "🚀 東京"},
    {"request_metadata": None, "response_metadata": None},
    {"request_metadata": "null", "response_metadata": "[1, 2]"},
    {"request_metadata": '"text"', "response_metadata": "42"},
    {"response_metadata": '{"durationMs":1e400,"error":{"a":[]}}'},
    {"response_metadata": '{"a":"\\\\u0000","b":"\\ud83d\\ude80"}'},
    {"request_metadata": json.dumps({"prompt": "x" * 1_000_000})},
    {"created_at": "0001-01-01T00:00:00Z"},
    {"created_at": "9999-12-31T23:59:59.999999Z"},
    {"created_at": "2026-03-02 04:00:00.123456789-08"},
    {"created_at": "2026-03-02T17:30:00+0530"},
    {"created_at": "2026-03-02 12:00:00 UTC"},
]


@pytest.mark.parametrize(("reason", "junk"), JUNK, ids=[f"{number}-{why}" for number, (why, _) in enumerate(JUNK)])
def test_a_row_of_junk_is_refused_for_its_reason_and_its_neighbours_go_in(
    source: str, tmp_path: Path, reason: str, junk: dict[str, Any]
):
    path = written(tmp_path / "f.parquet", [row(0), row(1, **junk), row(2)])
    report = loaded(source, path)
    assert reasons(report) == {reason: 1}
    assert query(source, "select id from ai_audit_logs order by id") == [("row0",), ("row2",)]


def test_what_the_table_can_hold_goes_in_however_odd(source: str, tmp_path: Path):
    path = written(tmp_path / "f.parquet", [row(number, **odd) for number, odd in enumerate(ODD)])
    assert loaded(source, path) == LoadReport(len(ODD), len(ODD), ())
    kept = {key for (key,) in query(source, "select id from ai_audit_logs")}
    assert {odd["id"] for odd in ODD if "id" in odd} <= kept
    [(first, last)] = query(source, "select min(created_at)::text, max(created_at)::text from ai_audit_logs")
    assert first.startswith("0001-01-01 00:00:00")
    assert last.startswith("9999-12-31 23:59:59.999999")
    at_noon = f"select count(*) from ai_audit_logs where date_trunc('second', created_at) = '{NOON.isoformat()}'"
    assert query(source, at_noon) == [(len(ODD) - 2,)]


def test_junk_spread_over_many_batches_adds_up(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("audit_assets.demo.load.BATCH_ROWS", 500)
    rows = [row(number, **(JUNK[number % len(JUNK)][1] if number % 7 == 0 else {})) for number in range(3000)]
    rows = [{**one, "id": one["id"][:3000] if one["id"] else None} for one in rows]
    report = loaded(source, written(tmp_path / "f.parquet", rows))
    expected: dict[str, int] = {}
    for number in range(7, 3000, 7):  # row 0 is junk too: its copies have its id
        reason = JUNK[number % len(JUNK)][0]
        expected[reason] = expected.get(reason, 0) + 1
    expected["missing_id"] += 1
    expected["duplicate_id"] -= 1  # the first "row0" is loaded
    assert reasons(report) == expected


def test_the_same_file_again_adds_nothing(source: str, tmp_path: Path):
    path = written(tmp_path / "f.parquet", [row(number) for number in range(10)])
    assert loaded(source, path).loaded == 10
    again = loaded(source, path)
    assert (again.loaded, reasons(again)) == (0, {"duplicate_id": 10})


def test_a_table_without_a_key_is_reported_with_the_fix(source: str, tmp_path: Path):
    with connect(source) as connection, connection.cursor() as cursor:
        cursor.execute("alter table ai_audit_logs drop constraint ai_audit_logs_pkey")
    with pytest.raises(LoadError, match="needs a primary key or unique index on id"):
        load_file(source, written(tmp_path / "f.parquet", [GOOD]), lambda _: None)


def test_a_source_without_the_table_is_reported_with_the_fix(source: str, tmp_path: Path):
    with connect(source) as connection, connection.cursor() as cursor:
        cursor.execute("drop table ai_audit_logs")
    with pytest.raises(LoadError, match="no table ai_audit_logs"):
        load_file(source, written(tmp_path / "f.parquet", [GOOD]), lambda _: None)


def test_a_source_that_is_down_is_reported_in_one_line(tmp_path: Path):
    path = written(tmp_path / "f.parquet", [GOOD])
    with pytest.raises(SourceError, match="cannot be reached") as down:
        load_file("postgresql://someone:secret@127.0.0.1:1/app", path, lambda _: None)
    assert "\n" not in str(down.value)
    assert "secret" not in str(down.value)


def test_a_rule_of_the_customers_table_refuses_its_rows_only(source: str, tmp_path: Path):
    with connect(source) as connection, connection.cursor() as cursor:
        cursor.execute("alter table ai_audit_logs add check (provider <> 'nobody')")
    path = written(tmp_path / "f.parquet", [row(1), row(2, provider="nobody"), row(3)])
    assert reasons(loaded(source, path)) == {"refused_23514": 1}


@pytest.mark.parametrize("name", ["burstgpt_hourly_full", "servegen_thinned_sample", "azure2023_full"])
def test_real_traffic_gives_the_files_counts_per_day(source: str, tmp_path: Path, name: str):
    path = REAL / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"the real traffic is not here: {path.name} is read from {REAL.parent.name}/{REAL.name}")
    sample = pl.read_parquet(path).sort("created_at").gather_every(9)
    sample.write_parquet(tmp_path / path.name)
    report = loaded(source, tmp_path / path.name)
    assert report == LoadReport(len(sample), len(sample), ())
    per_day = sample.group_by(pl.col("created_at").dt.date().alias("day")).len().sort("day")
    counted = "select (created_at at time zone 'UTC')::date, count(*) from ai_audit_logs group by 1 order by 1"
    assert query(source, counted) == list(per_day.iter_rows())


def test_a_load_reports_as_it_goes(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("audit_assets.demo.load.BATCH_ROWS", 100)
    path = written(tmp_path / "f.parquet", [row(number) for number in range(250)])
    heard: list[int] = []
    load_file(source, path, heard.append)
    assert heard == [100, 100, 50]
