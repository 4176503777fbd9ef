"""Documents of text and json columns are read as Postgres reads them into jsonb."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_assets.ingest.documents import parse, to_jsonb_text
from audit_assets.ingest.policy import SyncPolicy, parts_of
from audit_assets.ingest.source import SourceError, open_source
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    NOW,
    TEXT_TABLE,
    execute,
    fetch,
    insert_row,
    loaded_ids,
    reject_reasons,
    run,
)

pytestmark = pytest.mark.requirement("R04")

DOCUMENTS = [
    *("{}", " [1] ", "null", "true", '"x"', "-0", "-0.0", "0e5", "0e-3", "1.50e1", "1e3", "1.0e-3", "1E+2", "-12.50"),
    *("9007199254740993", "12345678901234567890123", "1e131071", "1e-16383", "0.1000", "00.1e1", "[1e400]"),
    *('{"b": 1, "aa": 2, "a": 3}', '{"a": 1, "a": {"x": 2, "x": 3}}', '{"a": [], "b": {}, "": 1}', '{"é": 1, "zz": 2}'),
    *(r'"\u00e9\ud83d\ude00"', r'"\\u0000"', r'"\u001f\b\f\n\r\t\"\/\\"', '"\x7f"', r'{"\u0061": 1, "a": 2}'),
    *("", " ", "NaN", "[NaN]", "Infinity", "-Infinity", '{"a":1,}', "[1,]", "{'a': 1}", "[1] x", "// c\n1", "01", "1."),
    *(".5", "+1", "-", "1e", "tru", '"a\tb"', '"a\nb"', r'"\u0000"', r'{"\u0000": 1}', r'"\ud800"', r'"\udc00"'),
    *(r'"\ud800\u0041"', r'"\ud800x\udc00"', r'"\udc00\ud800"', r'"\x41"', r'"\u12"', '{"a"}', "[1 2]"),
    *("1e131072", "1e-16384", "0e-16384", "0e999999", "1e99999999999999", "1e-99999999999999", "\ufeff1", "\u00a01"),
    *('{1: 2}', '{"a": 1 "b": 2}', "[", "]", '"', '{"a": NaN, "a": 1}', "nul", "None", "True"),
]  # fmt: skip


def by_postgres(source: str, texts: list[str]) -> list[str | None]:
    """Each text as jsonb writes it, or None if it is not valid."""
    with closing(psycopg2.connect(source)) as connection, connection, connection.cursor() as cursor:
        query = """select case when pg_input_is_valid(text, 'jsonb') then (text::jsonb)::text end
            from unnest(%s::text[]) with ordinality as given (text, place) order by place"""
        cursor.execute(query, (texts,))
        return [text for (text,) in cursor.fetchall()]


def by_us(text: str) -> str | None:
    try:
        return to_jsonb_text(parse(text))
    except ValueError:
        return None


def test_a_document_is_valid_and_written_as_jsonb_has_it(source: str):
    assert {text: by_us(text) for text in DOCUMENTS} == dict(
        zip(DOCUMENTS, by_postgres(source, DOCUMENTS), strict=True)
    )


spaces = st.sampled_from(["", " ", "\n\t"])
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
escapes = st.sampled_from([r"\u0000", r"\ud83d", r"\ude00", r"\u0041", r"\n", r"\/", r"\\", r"\q", "'"])
strings = st.lists(st.one_of(st.text(letters, max_size=3), escapes), max_size=3).map(
    lambda parts: '"' + "".join(parts) + '"'
)
numbers = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
scalars = st.one_of(strings, numbers, st.sampled_from(["null", "true", "false", "NaN", ""]))
keys = st.sampled_from(['"a"', '"b"', '"aa"', '"é"', '""', r'"\u0061"'])
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.tuples(spaces, st.lists(inner, max_size=3)).map(lambda made: "[" + ("," + made[0]).join(made[1]) + "]"),
        st.lists(st.tuples(keys, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{k}: {v}" for k, v in pairs) + "}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(documents.map(lambda text: text.replace("\0", "")), min_size=40, max_size=80))
def test_random_text_is_read_as_jsonb_reads_it(source: str, texts: list[str]):
    assert [by_us(text) for text in texts] == by_postgres(source, texts)


def test_a_document_nested_too_deep_is_rejected_and_counted(source: str, warehouse: DuckDBWarehouse):
    execute(source, TEXT_TABLE)
    insert_row(source, "deep", NOW.isoformat(), "[" * 100_000 + "]" * 100_000, "{}")
    insert_row(source, "good", NOW.isoformat(), "{}", "{}")
    run(source, warehouse)
    assert (loaded_ids(warehouse), reject_reasons(warehouse)) == (["good"], {"invalid_json": 1})


NESTED = SyncPolicy.model_validate(
    {
        "source": {
            "request_keys": {"prompt": "input.0.prompt", "drill_id": r"a\.b", "snapshot_id": '"c.d".e'},
            "response_keys": {"completion_tokens": "usage.completion_tokens", "error": "outcome.error"},
            "either_keys": {"prompt_tokens": "usage.prompt_tokens"},
        }
    }
)


@pytest.mark.parametrize("kinds", [("jsonb", "jsonb"), ("json", "text"), ("text", "jsonb"), ("jsonb", "json")])
def test_keys_with_dots_lead_into_documents_of_every_type(
    source: str, warehouse: DuckDBWarehouse, kinds: tuple[str, str]
):
    request, response = kinds
    execute(source, TEXT_TABLE.replace("request_metadata text", f"request_metadata {request}").replace(
        "response_metadata text", f"response_metadata {response}"))  # fmt: skip
    insert_row(
        source,
        "a",
        NOW.isoformat(),
        '{"input": [{"prompt": "x"}, {"prompt": "abc", "prompt": "four"}], "a.b": " ", "a": {"b": "no"},'
        ' "c.d": {"e": "s"}, "input": [{"prompt": "three", "prompt": "four"}]}',
        '{"usage": {"prompt_tokens": 1, "prompt_tokens": 9007199254740993, "completion_tokens": 12345678901234567890},'
        ' "usage.completion_tokens": 3, "outcome": {"error": "quota"}, "status": "ok",'
        ' "modelParameters": {"b":1.10,"a":[]}}',
    )
    run(source, warehouse, policy=NESTED)
    found = fetch(
        warehouse,
        """select prompt_length, drill_id, snapshot_id, prompt_tokens, completion_tokens, error_flag, status,
            model_parameters from analytics.ai_audit_logs""",
    )
    assert found == [
        (4, " ", "s", "9007199254740993", "12345678901234567890", True, "ok", '{"a": [], "b": 1.10}')
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        (r"a\.b.c", ("a.b", "c")),
        ('"a.b".c', ("a.b", "c")),
        ('a."b""c"', ("a", 'b"c')),
        (r"a\\b", ("a\\b",)),
        ('it\'s "in" status', ('it\'s "in" status',)),
    ],
)
def test_a_name_is_split_at_its_dots(name: str, parts: tuple[str, ...]):
    assert parts_of(name) == parts


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", '"a', '"a"b', "a\\", r"\a", '""'])
def test_a_name_with_an_empty_part_or_an_open_quote_is_no_key(name: str):
    with pytest.raises(ValueError, match="dots separate the parts"):
        parts_of(name)


@pytest.mark.parametrize("relation", ["table", "view"])
def test_a_domain_is_read_as_the_type_it_is_of_and_no_prompt_travels(
    source: str, warehouse: DuckDBWarehouse, relation: str
):
    execute(
        source,
        """create domain document as jsonb; create domain checked as document check (value is not null);
        create domain moment as timestamptz; create domain name_of as text;
        alter table ai_audit_logs alter request_metadata type checked, alter response_metadata type document,
            alter created_at type moment, alter capability type name_of""",
    )
    if relation == "view":
        execute(source, "alter table ai_audit_logs rename to kept; create view ai_audit_logs as select * from kept")
    insert_row(source, "a", NOW, '{"prompt": "secret"}', "{}")
    with open_source(source, SyncPolicy()) as opened:
        assert {opened.table.types[f"{name}_metadata"] for name in ("request", "response")} == {"jsonb"}
    run(source, warehouse)
    assert fetch(warehouse, "select id, prompt_length from analytics.ai_audit_logs") == [("a", 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "created_at type bigint using 1764500000",
            r"for created_at the column 'created_at' of bigint, a number whose",
        ),
        ("created_at type numeric using 1764500000", "of numeric, a number whose unit is not known"),
        ("created_at type uuid using gen_random_uuid()", "of uuid, which is not a time"),
        ("created_at type time using created_at::time", "of time without time zone, which is not a time"),
        ("request_metadata type bytea using null", "of bytea, which is not JSON"),
        ("response_metadata type jsonb[] using null", r"of jsonb\[\], which is not JSON"),
        ("capability type text[] using null", r"of text\[\], a list"),
    ],
)
def test_a_column_whose_type_cannot_be_its_field_is_an_error_and_not_zero_rows(
    source: str, warehouse: DuckDBWarehouse, change: str, message: str
):
    execute(source, f"alter table ai_audit_logs alter created_at drop default, alter {change}")
    with pytest.raises(SourceError, match=message):
        run(source, warehouse)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ('"audit.logs"', '"audit.logs"'),
        ('apart."Audit.Lögs ""x"', 'apart."Audit.Lögs ""x"'),
        ('"A.b"."c.d"', r"A\.b.c\.d"),
    ],
)
def test_a_table_whose_name_holds_dots_is_read_where_it_is_quoted(
    source: str, warehouse: DuckDBWarehouse, made: str, named: str
):
    execute(source, f'create schema apart; create schema "A.b"; create table {made} as select * from ai_audit_logs')
    execute(source, f"insert into {made} (id, created_at) values ('a', %s)", (NOW,))
    run(source, warehouse, policy=SyncPolicy.model_validate({"source": {"table": named}}))
    assert loaded_ids(warehouse) == ["a"]
