"""Sources as customers have them: without a key, with text times and text JSON, with rows that make no sense."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    NOW,
    PACIFIC,
    TEXT_TABLE,
    assert_all_accounted,
    held,
    held_ids,
    put,
    reasons,
    run,
    settle,
    tell,
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
REFUSED_TIMES = {
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


def counted(texts: dict[str | None, str]) -> dict[str, int]:
    found = list(texts.values())
    return {reason: found.count(reason) for reason in found}


def test_times_of_every_form_are_read_or_refused_with_their_reason(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    for number, text in enumerate((*USABLE_TIMES, *REFUSED_TIMES)):
        put(source, f"t{number:02}", text)
    assert settle(source, warehouse) == counted(REFUSED_TIMES)
    read = held(warehouse, "select id, created_at::timestamp::varchar from analytics.ai_audit_logs order by id")
    assert [text for _, text in read] == list(USABLE_TIMES.values())
    refused = held(warehouse, "select created_at_text, reason from analytics.ai_audit_rejects")
    assert dict(refused) == REFUSED_TIMES


def test_naive_times_are_read_in_the_zone_that_is_set_for_them(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    for text in ("2026-01-05 10:00:00", "2026-07-05T23:30", "2026-01-06", "2026-01-07 10:00:00Z", "2026-02-30 10:00"):
        put(source, text, text)
    assert settle(source, warehouse, PACIFIC) == {"unparsable_time": 1}
    assert held(warehouse, "select id, created_at::timestamp::varchar from analytics.ai_audit_logs order by id") == [
        ("2026-01-05 10:00:00", "2026-01-05 18:00:00"),
        ("2026-01-06", "2026-01-06 08:00:00"),
        ("2026-01-07 10:00:00Z", "2026-01-07 10:00:00"),
        ("2026-07-05T23:30", "2026-07-06 06:30:00"),
    ]


def test_times_near_the_first_day_and_the_horizon_are_counted_once(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    for hours in range(-30, 31, 3):
        for zone in ("+00", "+14:00", "-12:00"):
            for base in (datetime(2023, 1, 1, tzinfo=UTC), NOW):
                put(source, f"{hours}{zone}{base}", f"{base + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}{zone}")
        put(source, f"{hours} bad", f"{NOW.date() + timedelta(hours=hours)} and no time")
    assert set(settle(source, warehouse)) == {"time_out_of_range", "unparsable_time"}


def test_documents_of_every_form_are_read_or_refused(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    for name, (request, response) in (ODD_DOCUMENTS | INVALID_DOCUMENTS).items():
        put(source, name, "2026-01-05T10:00:00Z", request, response)
    assert settle(source, warehouse) == {"invalid_json": len(INVALID_DOCUMENTS)}
    assert held_ids(warehouse) == sorted(ODD_DOCUMENTS)
    lengths = dict(held(warehouse, "select id, prompt_length from analytics.ai_audit_logs where prompt_length > 0"))
    assert lengths == {"wrong types": 1, "odd text": 9, "long": 1_000_000}
    ((widest,),) = held(warehouse, "select max(length(status)) from analytics.ai_audit_logs")
    assert widest == 64


def test_ids_held_twice_and_not_at_all_are_refused_once_each(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    times = ["2026-01-05T10:00:00Z", "2026-01-05T11:00:00Z", "2026-01-06T11:00:00Z"]
    for time in times:
        put(source, None, time)
        put(source, " ", time)
        put(source, "across", time)
    for _ in range(3):
        put(source, "same", times[0])
        put(source, None, times[0])
    put(source, "within", times[0])
    put(source, "within", times[1])
    put(source, "only bad", times[0], "{")
    assert settle(source, warehouse) == {"missing_id": 9, "duplicate_id": 2 + 2 + 1, "invalid_json": 1}
    newest = held(warehouse, "select id, strftime(created_at, '%d %H') from analytics.ai_audit_logs order by id")
    assert newest == [("across", "06 11"), ("same", "05 10"), ("within", "05 11")]


def test_exact_doubles_on_two_days_are_counted_once_each(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    for time in ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z", "2026-01-07T10:00:00Z"):
        put(source, "x", time)
        put(source, "x", time)
    assert settle(source, warehouse) == {"duplicate_id": 7}


def test_a_refused_double_comes_in_once_the_newer_row_is_gone(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    put(source, "x", "2026-01-05T10:00:00Z")
    put(source, "x", "2026-01-06T10:00:00Z")
    settle(source, warehouse)
    tell(source, "delete from ai_audit_logs where created_at like '2026-01-06%'")
    run(source, warehouse, "full", since=datetime(2026, 1, 6, tzinfo=UTC))
    assert_all_accounted(source, warehouse)
    assert held_ids(warehouse) == ["x"]
    assert settle(source, warehouse) == {}


def test_rows_that_turn_bad_or_good_are_counted_once_by_a_delta(source: str, warehouse: DuckDBWarehouse):
    tell(source, TEXT_TABLE)
    now = datetime.now(UTC)  # within the look-back, however long ago this module was loaded
    for id_ in ("turns bad", "turns good", "stays"):
        put(source, id_, now.isoformat(), "{" if id_ == "turns good" else "{}")
    run(source, warehouse)
    assert reasons(warehouse) == {"invalid_json": 1}
    tell(source, "update ai_audit_logs set request_metadata = case id when 'turns bad' then '{' else '{}' end")
    report = run(source, warehouse)
    assert_all_accounted(source, warehouse)
    assert held_ids(warehouse) == ["stays", "turns good"]
    assert (report.run.counts.added, report.run.counts.removed) == (1, 1)
