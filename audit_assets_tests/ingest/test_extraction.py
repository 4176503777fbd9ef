"""Reading the documents at the source and in memory gives the same fields."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import extras

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    NOW,
    POLICY,
    TEXT_TABLE,
    execute,
    fetch,
    insert_row,
    run,
    warehouse_in,
)

pytestmark = pytest.mark.requirement("R04")

LENGTHS = {
    '{"prompt": "twelve chars"}': 12,
    '{"prompt": "", "messages": [{"content": "not counted"}]}': 0,
    '{"prompt": null, "messages": [{"content": "abc"}]}': 3,
    '{"messages": [{"role": "system", "content": "abc"}, {"role": "user", "content": "de"}]}': 5,
    '{"messages": [{"content": [{"type": "text", "text": "ab"}, "cd", {"type": "image", "url": "x"}]}]}': 4,
    '{"messages": [{"content": {"type": "text", "text": "abc"}}]}': 3,
    '{"messages": {"content": "lone"}}': 4,
    '{"messages": []}': 0,
    '{"messages": "text"}': 0,
    '{"prompt": "👩‍👩‍👧 é"}': 7,
    "{}": None,
}
FLAGS = {
    '{"error": true}': True,
    '{"error": "quota"}': True,
    '{"error": {"code": 1}}': True,
    '{"error": [1]}': True,
    '{"error": 1}': True,
    '{"error": false}': False,
    '{"error": null}': False,
    '{"error": ""}': False,
    '{"error": "false"}': False,
    '{"error": {}}': False,
    '{"error": [ ]}': False,
    "{}": None,
    "[]": None,
}


@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_the_prompt_is_measured_and_the_error_reduced_to_a_flag(source: str, warehouse: DuckDBWarehouse, kind: str):
    if kind != "jsonb":
        execute(
            source,
            f"alter table ai_audit_logs alter request_metadata type {kind}, alter response_metadata type {kind}",
        )
    for request in LENGTHS:
        insert_row(source, "request " + request, NOW, request, None)
    for response in FLAGS:
        insert_row(source, "response " + response, NOW, None, response)
    run(source, warehouse)
    lengths = dict(
        fetch(warehouse, "select id[9:], prompt_length from analytics.ai_audit_logs where id like 'request%'")
    )
    flags = dict(fetch(warehouse, "select id[10:], error_flag from analytics.ai_audit_logs where id like 'response%'"))
    assert lengths == LENGTHS
    assert flags == FLAGS


@pytest.mark.parametrize("kind", ["jsonb", "text"])
def test_every_key_comes_over_under_its_name(source: str, warehouse: DuckDBWarehouse, kind: str):
    execute(source, f"alter table ai_audit_logs alter request_metadata type {kind}")
    request = '{"prompt": "hi", "sourceDocuments": ["d1", "d2"], "snapshotId": "s1", "promptTokens": 5, "drillId": "x"}'
    response = (
        '{"status": "success", "durationMs": "12.5", "model": "m", "modelParameters": {"top": 1}, '
        '"completionId": "c", "completionTokens": 9, "promptTokens": 6, "response": "text"}'
    )
    insert_row(source, "a", NOW, request, response)
    insert_row(source, "b", NOW, "{}", response)
    run(source, warehouse)
    rows = fetch(
        warehouse,
        """select status, duration_ms, model, model_parameters::json, completion_id, prompt_tokens, completion_tokens,
            source_documents::json ->> 1, snapshot_id, drill_id from analytics.ai_audit_logs order by id""",
    )
    assert json.loads(rows[0][3]) == {"top": 1}
    shared = ("success", "12.5", "m", rows[0][3], "c")
    assert rows == [(*shared, "5", "9", "d2", "s1", "x"), (*shared, "6", "9", None, None, None)]


# What a customer may write, but for a zero byte and a lone surrogate, which jsonb cannot hold.
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
text = st.text(letters, max_size=12)
number = st.one_of(st.integers(-(10**40), 10**40), st.floats(allow_nan=False, allow_infinity=False))
scalar = st.one_of(st.none(), st.booleans(), number, text)
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
part = st.one_of(scalar, st.fixed_dictionaries({}, optional={"text": scalar, "type": text}))
message = st.one_of(
    scalar, st.fixed_dictionaries({}, optional={"content": st.one_of(part, st.lists(part, max_size=3))})
)
request = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.one_of(st.none(), text),
        "messages": st.one_of(message, st.lists(message, max_size=3)),
        "promptTokens": scalar,
        "sourceDocuments": value,
        "snapshotId": scalar,
        "drillId": scalar,
    },
)
response = st.fixed_dictionaries(
    {},
    optional={
        "status": scalar,
        "error": value,
        "durationMs": scalar,
        "model": text,
        "modelParameters": value,
        "completionId": scalar,
        "completionTokens": scalar,
        "promptTokens": scalar,
        "response": text,
    },
)
document = st.one_of(scalar, st.lists(scalar, max_size=2))
rows = st.lists(st.tuples(st.one_of(request, document), st.one_of(response, document)), min_size=30, max_size=80)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rows)
def test_equal_documents_come_to_equal_fields_from_jsonb_and_from_text(
    source: str, tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[Any, Any]]
):
    folder = tmp_path_factory.mktemp("equal")
    found: list[list[tuple[Any, ...]]] = []
    for kind in ("text", "json", "jsonb"):
        execute(source, TEXT_TABLE.replace("_metadata text", f"_metadata {kind}"))
        with closing(psycopg2.connect(source)) as connection, connection, connection.cursor() as cursor:
            values = [
                (f"{n:03}", NOW.isoformat(), json.dumps(asked, ensure_ascii=False), json.dumps(answer))
                for n, (asked, answer) in enumerate(documents)
            ]
            columns = "id, created_at, request_metadata, response_metadata"
            extras.execute_values(cursor, f"insert into ai_audit_logs ({columns}) values %s", values)
        warehouse = warehouse_in(folder / kind)
        report = run(source, warehouse, policy=POLICY)
        assert report.run.counts.rejected == {}
        found.append(
            fetch(warehouse, "select * exclude (row_hash, synced_at) from analytics.ai_audit_logs order by id")
        )
    from_text, from_json, from_jsonb = found
    assert from_text == from_jsonb
    assert from_json == from_jsonb
