"""Sources as customers have them: without a primary key, with text times, text JSON and invalid rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    NOW,
    PACIFIC,
    TEXT_TABLE,
    assert_all_accounted_for,
    execute,
    fetch,
    insert_row,
    loaded_ids,
    reject_reasons,
    run,
    sync_repeatedly,
)

pytestmark = pytest.mark.requirement("R03")


USABLE_TIMES = {
    "2026-01-05T10:00:00Z": "2026-01-05 10:00:00",
    "2026-01-05t10:00:00z": "2026-01-05 10:00:00",
    "2026-01-05 10:00:00 Z": "2026-01-05 10:00:00",
    "2026-01-05 10:00:00 UTC": "2026-01-05 10:00:00",
    "2026-01-05 10:00:00+00": "2026-01-05 10:00:00",
    "2026-01-05T10:00Z": "2026-01-05 10:00:00",
    "2026-01-05T10:00:00+05:30": "2026-01-05 04:30:00",
    "2026-01-05T10:00:00+0530": "2026-01-05 04:30:00",
    "2026-01-05T10:00:00 -08": "2026-01-05 18:00:00",
    "2026-01-05T23:30:00-08:00": "2026-01-06 07:30:00",
    "2026-01-05T00:30:00+14:00": "2026-01-04 10:30:00",
    "2026-01-05T24:00:00Z": "2026-01-06 00:00:00",
    "2026-01-05T10:00:00.123456789Z": "2026-01-05 10:00:00.123456",
    "2024-02-29T12:00:00Z": "2024-02-29 12:00:00",
    "2023-01-01T00:00:00Z": "2023-01-01 00:00:00",
    "2022-12-31T23:00:00-01:00": "2023-01-01 00:00:00",
}
REJECTED_TIMES = {
    None: "missing_time",
    "": "unparsable_time",
    "yesterday": "unparsable_time",
    "05/01/2026 10:00": "unparsable_time",
    "20260105T100000Z": "unparsable_time",
    "2026-01-05T10:00:60Z": "unparsable_time",  # a leap second that was none
    "2026-01-05T25:00:00Z": "unparsable_time",
    "2025-13-01T10:00:00Z": "unparsable_time",
    "2025-00-10T10:00:00Z": "unparsable_time",
    "2025-02-31T10:00:00Z": "unparsable_time",
    "2025-03-00T10:00:00Z": "unparsable_time",
    "2025-06-99": "unparsable_time",
    "2026-01-05T10:00:00+99": "unparsable_time",
    "2026-01-05T10:00:00Z; drop table x": "unparsable_time",
    "2026-01-05 10:00:00": "naive_time",
    "2026-01-05T10:00": "naive_time",
    "2026-01-05": "naive_time",
    "2022-12-31T23:59:59Z": "time_out_of_range",
    "2023-01-01T00:30:00+01:00": "time_out_of_range",
    "0001-01-01T00:00:00Z": "time_out_of_range",
    "9999-12-31T23:59:59Z": "time_out_of_range",
    "infinity": "time_out_of_range",
    "-infinity": "time_out_of_range",
    "0044-03-15 00:00:00+00 BC": "time_out_of_range",
    "10000-01-01 00:00:00+00": "time_out_of_range",
}
ODD_DOCUMENTS = {
    "array": ("[]", "[1, 2]"),
    "scalar": ("5", '"text"'),
    "null": ("null", "null"),
    "nothing": (None, None),
    "huge numbers": ('{"promptTokens": 1e400}', '{"durationMs": 1e400, "completionTokens": -1e-400}'),
    "wrong types": ('{"prompt": 7, "sourceDocuments": "d1"}', '{"status": ["a"], "durationMs": {"a": 1}, "error": 0}'),
    "odd messages": ('{"messages": [1, null, {"content": 5}, {"content": [[], {"text": 3}, {}]}]}', "{}"),
    "odd text": (json.dumps({"prompt": "é́👩‍👩‍👧‮\u2028"}, ensure_ascii=False), '{"status": "\\u2028\\ud83d\\ude00"}'),
    "long": (json.dumps({"prompt": "x" * 1_000_000}), json.dumps({"status": "y" * 1_000_000})),
    "deep": ("[" * 3000 + "]" * 3000, "{}"),
}
INVALID_DOCUMENTS = {
    "cut off": ('{"prompt": "a', "{}"),
    "empty": ("", "{}"),
    "surrogate": ('{"prompt": "\\ud800"}', "{}"),
    "not json": ("{}", "status=ok"),
    "two": ("{} {}", "{}"),
}


def count_reasons(texts: dict[str | None, str]) -> dict[str, int]:
    found = list(texts.values())
    return {reason: found.count(reason) for reason in found}


def test_times_of_every_form_are_read_or_rejected_with_a_reason(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for number, text in enumerate((*USABLE_TIMES, *REJECTED_TIMES)):
        insert_row(source, f"t{number:02}", text)
    assert sync_repeatedly(source, warehouse) == count_reasons(REJECTED_TIMES)
    read = fetch(warehouse, "select id, created_at::timestamp::varchar from analytics.ai_audit_logs order by id")
    assert [text for _, text in read] == list(USABLE_TIMES.values())
    rejected = fetch(warehouse, "select created_at_text, reason from analytics.ai_audit_rejects")
    assert dict(rejected) == REJECTED_TIMES


def test_naive_times_are_read_in_the_zone_that_is_set_for_them(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for text in ("2026-01-05 10:00:00", "2025-07-05T23:30", "2026-01-06", "2026-01-07 10:00:00Z", "2026-02-30 10:00"):
        insert_row(source, text, text)
    assert sync_repeatedly(source, warehouse, PACIFIC) == {"unparsable_time": 1}
    assert fetch(warehouse, "select id, created_at::timestamp::varchar from analytics.ai_audit_logs order by id") == [
        ("2025-07-05T23:30", "2025-07-06 06:30:00"),
        ("2026-01-05 10:00:00", "2026-01-05 18:00:00"),
        ("2026-01-06", "2026-01-06 08:00:00"),
        ("2026-01-07 10:00:00Z", "2026-01-07 10:00:00"),
    ]


def test_times_near_the_first_day_and_the_horizon_are_counted_once(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for hours in range(-30, 31, 3):
        for zone in ("+00", "+14:00", "-12:00"):
            for base in (datetime(2023, 1, 1, tzinfo=UTC), NOW):
                insert_row(source, f"{hours}{zone}{base}", f"{base + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}{zone}")
        insert_row(source, f"{hours} bad", f"{NOW.date() + timedelta(hours=hours)} and no time")
    assert set(sync_repeatedly(source, warehouse)) == {"time_out_of_range", "unparsable_time"}


def test_documents_of_every_form_are_read_or_rejected(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for name, (request, response) in (ODD_DOCUMENTS | INVALID_DOCUMENTS).items():
        insert_row(source, name, "2026-01-05T10:00:00Z", request, response)
    assert sync_repeatedly(source, warehouse) == {"invalid_json": len(INVALID_DOCUMENTS)}
    assert loaded_ids(warehouse) == sorted(ODD_DOCUMENTS)
    lengths = dict(fetch(warehouse, "select id, prompt_length from analytics.ai_audit_logs where prompt_length > 0"))
    assert lengths == {"wrong types": 1, "odd text": 9, "long": 1_000_000}
    ((widest,),) = fetch(warehouse, "select max(length(status)) from analytics.ai_audit_logs")
    assert widest == 64


def test_duplicate_and_missing_ids_are_rejected_once_each(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    times = ["2026-01-05T10:00:00Z", "2026-01-05T11:00:00Z", "2026-01-06T11:00:00Z"]
    for time in times:
        insert_row(source, None, time)
        insert_row(source, " ", time)
        insert_row(source, "across", time)
    for _ in range(3):
        insert_row(source, "same", times[0])
        insert_row(source, None, times[0])
    insert_row(source, "within", times[0])
    insert_row(source, "within", times[1])
    insert_row(source, "only bad", times[0], "{")
    assert sync_repeatedly(source, warehouse) == {"missing_id": 9, "duplicate_id": 2 + 2 + 1, "invalid_json": 1}
    newest = fetch(warehouse, "select id, strftime(created_at, '%d %H') from analytics.ai_audit_logs order by id")
    assert newest == [("across", "06 11"), ("same", "05 10"), ("within", "05 11")]


def test_exact_duplicates_on_two_days_are_counted_once_each(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for time in ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z", "2026-01-07T10:00:00Z"):
        insert_row(source, "x", time)
        insert_row(source, "x", time)
    assert sync_repeatedly(source, warehouse) == {"duplicate_id": 7}


def test_a_rejected_duplicate_is_loaded_once_the_newer_row_is_deleted(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    insert_row(source, "x", "2026-01-05T10:00:00Z")
    insert_row(source, "x", "2026-01-06T10:00:00Z")
    sync_repeatedly(source, warehouse)
    execute(source, "delete from ai_audit_logs where created_at like '2026-01-06%'")
    run(source, warehouse, "full", since=datetime(2026, 1, 6, tzinfo=UTC))
    assert_all_accounted_for(source, warehouse)
    assert loaded_ids(warehouse) == ["x"]
    assert sync_repeatedly(source, warehouse) == {}


def test_rows_that_turn_bad_or_good_are_counted_once_by_a_delta(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    for id_ in ("turns bad", "turns good", "stays"):
        insert_row(source, id_, NOW.isoformat(), "{" if id_ == "turns good" else "{}")
    run(source, warehouse)
    assert reject_reasons(warehouse) == {"invalid_json": 1}
    execute(source, "update ai_audit_logs set request_metadata = case id when 'turns bad' then '{' else '{}' end")
    report = run(source, warehouse)
    assert_all_accounted_for(source, warehouse)
    assert loaded_ids(warehouse) == ["stays", "turns good"]
    assert (report.run.counts.added, report.run.counts.removed) == (1, 1)
