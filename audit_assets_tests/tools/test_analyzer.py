"""Google's analyzer on single statements and on scripts."""

import pytest

from audit_assets.settings import read_settings
from tools.analyzer import AnalyzerError, BigQueryAnalyzer, load_analyzer_module

LOGS = (("id", "TYPE_STRING"), ("created_at", "TYPE_TIMESTAMP"), ("n", "TYPE_INT64"))


@pytest.fixture(scope="module")
def analyzer() -> BigQueryAnalyzer:
    load_analyzer_module(read_settings().home / "cache")
    tables = dict.fromkeys(("logs", "staging", "ours.analytics.logs"), LOGS)
    return BigQueryAnalyzer({**tables, "kept": (("days", "array<date>"), ("point", "struct<x float64, y int64>"))})


def test_types_are_named_by_kind_and_arrays_and_structs_as_bigquery_writes_them(analyzer: BigQueryAnalyzer):
    sql = "select days, point.y, [point] as points, b'x' as b, numeric '1' as m, json '1' as j, date '2026-11-01' as d"
    assert analyzer.columns(f"{sql} from kept") == (
        ("days", "array<date>"),
        ("y", "TYPE_INT64"),
        ("points", "array<struct<x float64, y int64>>"),
        ("b", "TYPE_BYTES"),
        ("m", "TYPE_NUMERIC"),
        ("j", "TYPE_JSON"),
        ("d", "TYPE_DATE"),
    )


def test_named_parameters_have_the_types_they_are_given(analyzer: BigQueryAnalyzer):
    sql = "select id from logs where id in unnest(@ids) and created_at >= @since"
    assert analyzer.columns(sql, {"ids": "array<string>", "since": "timestamp"}) == (("id", "TYPE_STRING"),)
    with pytest.raises(AnalyzerError, match="IN UNNEST must be an array"):
        analyzer.columns(sql.replace("unnest(@ids)", "unnest(@since)"), {"since": "timestamp"})
    with pytest.raises(AnalyzerError, match="since"):
        analyzer.columns(sql, {"ids": "array<string>"})


@pytest.mark.parametrize("name", ["ours.analytics.logs", "`ours.analytics.logs`", "`ours`.`analytics`.`logs`"])
def test_a_full_name_is_found_however_it_is_quoted(analyzer: BigQueryAnalyzer, name: str):
    assert analyzer.columns(f"select * from {name}") == LOGS
    with pytest.raises(AnalyzerError):
        analyzer.columns(f"select * from {name.replace('logs', 'lags')}")


@pytest.mark.parametrize(
    "statement",
    [
        "create table t (a int64 not null options (description = 'd'), made timestamp)"
        " partition by date(made) cluster by a options (require_partition_filter = true, labels = [('kept', 'yes')])",
        "create or replace view v options (description = 'd') as select id from logs",
        "merge logs using staging on logs.id = staging.id and logs.created_at >= timestamp '2026-11-01'"
        " when matched and logs.n != staging.n then update set n = staging.n when not matched then insert row"
        " when not matched by source and logs.n = 0 then delete",
        "insert into logs (id, n) select id, n from staging",
        "update logs set n = 0 where id = 'a'",
        "delete from logs where created_at < timestamp '2026-11-01'",
        "truncate table logs",
        "grant `roles/bigquery.dataViewer` on table logs to 'group:a@b.example'",
        "revoke `roles/bigquery.dataViewer` on table logs from 'group:a@b.example'",
        "create or replace row access policy p on logs grant to ('group:a@b.example') filter using (n > 0)",
        "drop row access policy if exists p on logs",
        "drop all row access policies on logs",
        "alter table logs add column if not exists more array<string>, add column less bytes",
        "begin transaction; commit transaction",
        "begin transaction; rollback",
        "assert (select count(*) from logs) = 0 as 'none'",
        "select @@row_count, @@error.message",
    ],
)
def test_a_valid_bigquery_statement_is_accepted(analyzer: BigQueryAnalyzer, statement: str):
    assert len(analyzer.script(statement)) == statement.count(";") + 1


def test_a_script_yields_what_each_of_its_statements_does(analyzer: BigQueryAnalyzer):
    script = """
        declare days array<date>;
        declare least_count, most int64 default 4;
        create temp table arrived partition by day cluster by id as
            select id, date(created_at) as day, 'a;b' as `text` from staging where n >= @least;
        set days = (select array_agg(distinct day) from arrived);
        begin transaction;
        delete from logs where date(created_at) in unnest(days) and n < MOST;
        create temp table more as select * from arrived;
        insert into logs (id) select id from more;
        drop table more;
        commit transaction;
        alter table logs add column day date;
        if least_count > 3 then select day from logs; else select 1.5 as half; end if;
        begin select days; exception when error then raise using message = @@error.message; end;
        drop table arrived;
    """
    yielded = [columns for columns in analyzer.script(script, {"least": "int64"}) if columns]
    arrived = (("id", "TYPE_STRING"), ("day", "TYPE_DATE"), ("text", "TYPE_STRING"))
    assert yielded == [
        arrived,
        arrived,
        (("day", "TYPE_DATE"),),
        (("half", "TYPE_DOUBLE"),),
        (("days", "array<date>"),),
    ]
    assert analyzer.columns("select * from logs") == LOGS  # a script leaves nothing behind


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("select 1;\nselect id,\n  m from logs", "Unrecognized name: m [at 3:3]"),
        ("select 'ä';\nselect 'ä', m from logs", "Unrecognized name: m [at 2:13]"),
        ("select 1;\nselect from", "Syntax error: SELECT list must not be empty [at 2:8]"),
        (
            "declare n int64;\nset n = 'one'",
            "An expression of TYPE_STRING stands where TYPE_INT64 is expected [at 2:9]",
        ),
        ("declare n int64;\nset n = missing", "Unrecognized name: missing [at 2:9]"),
        ("declare n whole", "Type not found: whole [at 1:11]"),
        ("declare n int64;\ndeclare N date", "Variable is declared already: n [at 2:1]"),
        ("select 1;\ndeclare n int64", "Variable declarations stand at the start of a script or block [at 2:1]"),
        ("set n = 1", "Undeclared variable: n [at 1:1]"),
        ("begin declare n int64; end;\nselect n", "Unrecognized name: n [at 2:8]"),
        ("if 1 then select 1; end if", "An expression of TYPE_INT64 stands where TYPE_BOOL is expected [at 1:4]"),
        ("while true do select 1; end while", "WhileStatement: is not followed here [at 1:1]"),
        ("create temp table t as select 1 as a;\ndrop table t;\nselect a from t", "Table not found: t [at 3:15]"),
        ("create temp table t as select 1 as a;\nselect b from t", "Unrecognized name: b [at 2:8]"),
        ("drop table missing", "Table not found: missing [at 1:1]"),
        ("alter table missing add column a date", "Table not found: missing [at 1:13]"),
        ("alter table logs add column N date", "Column already exists: N [at 1:29]"),
        ("create table t (a int64) partition by b", "Unrecognized name: b [at 1:39]"),
        ("begin transaction;\nbegin transaction", "Transactions cannot be nested [at 2:1]"),
        ("select 1; commit", "There is no transaction to end [at 1:11]"),
        ("begin transaction; select 1", "The script ends inside its transaction"),
        (
            "begin transaction;\ncreate table t (a int64);\ncommit",
            "Only temporary tables can be created, altered or dropped in a transaction [at 2:1]",
        ),
        (
            "begin begin transaction; commit; exception when error then\nselect 1; end",
            "The handler neither commits nor rolls back the transaction [at 1:44]",
        ),
        ("delete from logs", "DELETE must have a WHERE clause [at 1:1]"),
        (
            "insert into logs (id) select n from staging",
            "cannot be inserted into column id, which has type STRING [at 1:23]",
        ),
    ],
)
def test_what_bigquery_would_refuse_is_reported_with_its_place(analyzer: BigQueryAnalyzer, script: str, message: str):
    with pytest.raises(AnalyzerError) as error:
        analyzer.script(script)
    assert message in str(error.value)


def test_a_handler_that_rolls_back_ends_the_transaction(analyzer: BigQueryAnalyzer):
    script = (
        "begin begin transaction; commit; exception when error then rollback; raise; end; begin transaction; commit"
    )
    assert len(analyzer.script(script)) == 6
