"""The models are valid on BigQuery."""

import pytest

from audit_assets.settings import read_settings
from tools import bigquery_gate
from tools.analyzer import Columns


@pytest.mark.requirement("R27", "R28")
def test_every_statement_passes_googles_analyzer_in_both_forms():
    count, problems = bigquery_gate.check(read_settings().home / "cache")
    assert problems == []
    # Models and tests, at least one script for each built model, and the two models with percentiles.
    assert count >= 2 * (14 + 30 + 14) + 2


@pytest.mark.requirement("R27")
def test_the_gate_names_the_model_and_what_is_wrong_with_it():
    bigquery_gate.load_analyzer_module(read_settings().home / "cache")
    tables: dict[str, Columns] = {"ai_audit_daily": (("date", "TYPE_DATE"), ("interaction_count", "TYPE_INT64"))}
    contract = (("day", "TYPE_DATE"), ("total", "TYPE_INT64"))
    statements = tuple(
        bigquery_gate.Statement("incremental", name, sql, contract)
        for name, sql in {
            "right": "select date as day, sum(interaction_count) as total from ai_audit_daily group by date",
            "wrong_type": "select date as day, avg(interaction_count) as total from ai_audit_daily group by date",
            "wrong_function": "select date as day, quantile_disc(interaction_count, 0.5) as total from ai_audit_daily",
        }.items()
    )
    found = bigquery_gate.problems_of(bigquery_gate.Compiled(statements, tables))
    assert len(found) == 2
    assert found[0] == "wrong_type (incremental): yields total TYPE_DOUBLE, its contract says total TYPE_INT64"
    assert found[1].startswith("wrong_function (incremental): ")
    assert "quantile_disc" in found[1]
    assert "[at 1:" in found[1]


@pytest.mark.requirement("R27")
def test_the_gate_names_what_reads_the_raw_rows_without_a_literal_bound():
    bigquery_gate.load_analyzer_module(read_settings().home / "cache")
    columns: Columns = (("id", "TYPE_STRING"), ("created_at", "TYPE_TIMESTAMP"), ("date", "TYPE_DATE"))
    statements = tuple(
        bigquery_gate.Statement("incremental", name, sql, None)
        for name, sql in {
            "bounded": "select id from stg_ai_audit_logs where created_at >= timestamp '2026-11-01 00:00:00+00'",
            "by_day": "select id from stg_ai_audit_logs where date = date '2026-11-01'",
            "by_what_is_stored": "select id from ai_audit_logs where created_at >= (select max(created_at) from times)",
        }.items()
    )
    tables: dict[str, Columns] = {"ai_audit_logs": columns, "stg_ai_audit_logs": columns, "times": columns}
    found = bigquery_gate.problems_of(bigquery_gate.Compiled(statements, tables))
    assert [problem.split(" without ")[0] for problem in found] == [
        "by_day (incremental): reads stg_ai_audit_logs",
        "by_what_is_stored (incremental): reads ai_audit_logs",
    ]


@pytest.mark.requirement("R27")
def test_the_gate_names_a_merge_whose_replaced_days_are_asked_for():
    bigquery_gate.load_analyzer_module(read_settings().home / "cache")
    merge = (
        "merge into ai_audit_daily as DBT_INTERNAL_DEST using (select date '2026-11-01' as date) as source on false "
        "when not matched by source\n and DBT_INTERNAL_DEST.{} then delete "
        "when not matched then insert (date) values (date)"
    )
    statements = tuple(
        bigquery_gate.Statement("incremental", replaced, merge.format(replaced), None)
        for replaced in (
            "date in (date '2026-11-01', date '2026-11-03')",
            "date >= date '2026-11-01'",
            "date is not null",
        )
    )
    tables: dict[str, Columns] = {"ai_audit_daily": (("date", "TYPE_DATE"),)}
    (found,) = bigquery_gate.problems_of(bigquery_gate.Compiled(statements, tables))
    assert found.startswith("date is not null (incremental): replaces days that are not literals")
