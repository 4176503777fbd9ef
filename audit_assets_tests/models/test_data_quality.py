"""How staging interprets status words and token counts, and how calls that are logged twice are counted."""

from collections.abc import Sequence
from datetime import date

import pytest

from audit_assets.ingest.policy import Statuses
from audit_assets_tests.models.conftest import Models, Row

DAY = "2026-11-02"
CHOSEN = ("stg_ai_audit_logs", "ai_audit_daily", "ai_audit_data_quality", "ai_audit_status_words")

CLASSES = {
    "success": [
        *("success", " Success ", "SUCCEEDED", "completed", "Complete", "ok", "OK", "done", "200", "201", "200 OK"),
        *(
            "HTTP/1.1 204 No Content",
            "200.0",
            "stop",
            "STOP",
            "length",
            "end_turn",
            "end-turn",
            "tool_calls",
            "toolUse",
        ),
        *("max_tokens", "true"),
    ],
    "error": [
        *(
            "error",
            "FAILED",
            "failure",
            "timeout",
            "timed out",
            "cancelled",
            "canceled",
            "rate_limited",
            "Rate Limited",
        ),
        *("400", "429", "429 Too Many Requests", "500", "503", "HTTP 502", "content_filter", "DEADLINE_EXCEEDED"),
    ],
    "unknown": [*("pending", "Processing", "in_progress", "queued", "100", "302", "null"), None, "", " "],
}
UNLISTED = ["banana", "4o4", "600", "2000", "20", "okey dokey", "erfolg", "ſuccess", "💥"]


def build(models: Models, rows: Sequence[Row], days: str | None = None) -> None:
    models.load(rows)
    whole = [] if days else ["--full-refresh"]
    only = ["--select", *CHOSEN, "--indirect-selection", "cautious", "--exclude-resource-type", "unit_test"]
    models.run("build", *whole, *only, days=days)


@pytest.mark.requirement("R04")
def test_status_words_are_read_by_the_mapping_and_unlisted_ones_are_unknown_and_named(models: Models):
    expected = {word: name for name, words in CLASSES.items() for word in words} | dict.fromkeys(UNLISTED, "unknown")
    words = list(expected)
    build(models, [Row(str(n), f"{DAY} 09:00:00+00", status=word) for n, word in enumerate(words)])
    found = dict(models.query("select id, status_class from stg_ai_audit_logs"))
    assert {word: found[str(n)] for n, word in enumerate(words)} == expected
    unlisted = models.query("select status, interaction_count from ai_audit_status_words where not is_listed")
    assert sorted(unlisted) == [(word, 1) for word in sorted(UNLISTED)]
    assert models.query("select unlisted_status_count from ai_audit_data_quality") == [(len(UNLISTED),)]


@pytest.mark.requirement("R04", "R28")
def test_another_mapping_reads_all_of_history_anew_when_the_models_are_rebuilt(models: Models):
    rows = [Row(f"{day}", f"{day} 09:00:00+00", status="Banana") for day in ("2026-10-01", DAY)]
    build(models, rows)
    counts = "select success_count, error_count, unknown_count from ai_audit_daily"
    assert models.query(counts) == [(0, 0, 1)] * 2
    try:
        models.statuses = Statuses.model_validate({"error": ["banana"]})
        build(models, [])
        assert models.query(counts) == [(0, 1, 0)] * 2
    finally:
        models.statuses = Statuses()


@pytest.mark.requirement("R04")
def test_whole_numbers_beyond_2_to_the_53rd_are_kept_and_what_is_none_is_counted(models: Models):
    kept = {
        "9007199254740992": 9007199254740992,
        "9007199254740993": 9007199254740993,
        "9223372036854775807": 9223372036854775807,
        "9007199254740993.0": 9007199254740993,
        "12": 12,
        " 7 ": 7,
        "1e3": 1000,
        "0": 0,
        "": None,
        " ": None,
    }
    junk = ["9223372036854775808", "1e30", "many", "-1", "1.5", "4.00000000000000000001", "0x10", "1_000", "NaN", "[]"]
    texts = [*kept, *junk]
    build(
        models,
        [Row(str(n), f"{DAY} 09:00:00+00", prompt_tokens=t, completion_tokens=t, source_documents="[1,")
         for n, t in enumerate(texts)],
    )  # fmt: skip
    for column in ("prompt_tokens", "completion_tokens"):
        found = dict(models.query(f"select id, {column} from stg_ai_audit_logs"))
        assert {t: found[str(n)] for n, t in enumerate(texts)} == kept | dict.fromkeys(junk)
        assert models.query(f"select invalid_{column}_count from ai_audit_data_quality") == [(len(junk),)]
    assert models.query("select invalid_source_documents_count from ai_audit_data_quality") == [(len(texts),)]


@pytest.mark.requirement("R28")
def test_a_call_logged_under_two_ids_is_counted_once_beside_the_rows_also_over_midnight(models: Models):
    rows = [
        Row("first", f"{DAY} 23:59:59+00", completion_id="c1"),
        Row("again", f"{DAY} 23:59:59+00", completion_id="c1", capability="other"),
        Row("other", f"{DAY} 12:00:00+00", completion_id="c2"),
        Row("none", f"{DAY} 12:00:00+00"),
        Row("none too", f"{DAY} 12:00:00+00"),
        Row("next day", "2026-11-03 00:00:01+00", completion_id="c1"),
        Row("much later", "2026-11-05 00:00:01+00", completion_id="c2"),
        Row("stub", f"{DAY} 12:00:00+00", completion_id="c2", provider="stub"),
        Row("drill", f"{DAY} 12:00:00+00", completion_id="c2", drill_id="d"),
    ]
    build(models, rows)
    figures = "select date, sum(interaction_count), sum(call_count), sum(duplicate_call_count)"
    second, third, fifth = (date(2026, 11, day) for day in (2, 3, 5))
    daily = f"{figures} from ai_audit_data_quality group by 1 order by 1"
    assert models.query(daily) == [(second, 6, 5, 1), (third, 1, 0, 1), (fifth, 1, 1, 0)]
    # A late row turns a row of the next day into a repeat, although that day is not among the changed ones.
    build(models, [Row("late", "2026-11-04 08:00:00+00", completion_id="c2")], days="2026-11-04")
    assert models.query(daily)[2:] == [(date(2026, 11, 4), 1, 1, 0), (fifth, 1, 0, 1)]
    assert models.query("select sum(interaction_count) from ai_audit_daily") == [(9,)]
