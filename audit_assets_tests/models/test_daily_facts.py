"""Daily facts, compared with figures counted by hand or recounted in Python."""

import random
from datetime import date

import pytest

from audit_assets.config.yaml_files import read_values
from audit_assets.warehouse.schema import MODELS
from audit_assets_tests.models.conftest import Models, Row, rows_of_day

DAY = "2026-11-04"


@pytest.mark.requirement("R27")
def test_every_unit_test_beside_the_models_passes(models: Models):
    models.rebuild()
    results = models.run("test", "--select", "test_type:unit", days=DAY)
    files = [read_values(path.read_text()) for path in MODELS.rglob("*.yml")]
    assert len(results) == sum(len(file.get("unit_tests", ())) for file in files) > 10
    assert {str(result.status) for result in results} == {"pass"}


@pytest.mark.requirement("R02", "R06", "R05")
def test_missing_names_get_a_name_and_missing_workspaces_stay_in_the_totals(models: Models):
    models.load(
        [
            Row("1", f"{DAY} 09:00:00+00", workflow_id=" ", capability=" \t", provider=None),
            Row("2", f"{DAY} 09:00:00+00", workflow_id=None, capability=" chat\n", provider=" openai "),
            Row("3", f"{DAY} 09:00:00+00", workflow_id=" w1 ", capability="chat", provider="openai"),
            Row("4", f"{DAY} 09:00:00+00", workflow_id="w1", capability="chat", provider="stub"),
        ]
    )
    models.rebuild(tests=True)
    daily = "select capability, provider, is_stub, interaction_count, workspace_count from ai_audit_daily order by all"
    assert models.query(daily) == [
        ("chat", "openai", False, 2, 1),
        ("chat", "stub", True, 1, 1),
        ("unknown", "unspecified", False, 1, 0),
    ]
    workspaces = "select workspace_id, workspace_path, total_interactions from ai_audit_workspace_stats order by all"
    assert models.query(workspaces) == [("unassigned", None, 2), ("w1", "/workspaces/w1", 2)]
    without_stub = [("chat", 2), ("unknown", 1)]
    for table in ("ai_audit_capability_stats", "ai_audit_capability_anomalies", "ai_audit_capability_grid"):
        sums = f"select capability, sum(interaction_count) from {table} where date = '{DAY}' group by 1 order by 1"
        assert models.query(sums) == without_stub


@pytest.mark.requirement("R20")
def test_percentiles_are_observed_values_at_the_ceiling_of_p_times_n(models: Models):
    generator = random.Random(20)
    rows: list[Row] = []
    expected: dict[str, list[float]] = {}
    for count in (1, 2, 3, 10, 19, 20, 21, 99, 100, 101, 200):
        durations = [round(generator.lognormvariate(7, 1), 1) for _ in range(count)]
        name = f"n{count}"
        rows += [
            Row(f"{name}-{n}", f"{DAY} 09:00:00+00", capability=name, duration_ms=str(value))
            for n, value in enumerate(durations)
        ]
        ordered = sorted(durations)
        expected[name] = [ordered[-(-percent * count // 100) - 1] for percent in (50, 90, 95, 99)]
    models.load(rows)
    models.rebuild()
    columns = "capability, p50_latency_ms, p90_latency_ms, p95_latency_ms, p99_latency_ms"
    for table in ("ai_audit_daily", "ai_audit_capability_stats"):
        found = models.query(f"select {columns} from {table} where date = '{DAY}'")
        assert {name: list(values) for name, *values in found} == expected


@pytest.mark.requirement("R20")
def test_the_columns_of_ai_audit_daily_are_the_ledgers_in_its_order(models: Models):
    models.rebuild()
    expected = """
        date capability provider is_stub interaction_count workspace_count success_count error_count unknown_count
        error_rate avg_latency_ms p50_latency_ms p90_latency_ms p95_latency_ms p99_latency_ms max_latency_ms
        duration_count
    """
    assert [row[0] for row in models.query("describe ai_audit_daily")] == expected.split()


@pytest.mark.requirement("R25")
def test_the_error_funnel_separates_status_from_flag_and_loses_no_row(models: Models):
    cases = [
        ("success", None),
        ("success", False),
        ("success", True),
        ("failed", None),
        ("failed", True),
        (None, None),
        (None, True),
        ("pending", False),
        ("pending", True),
        ("", None),
    ]
    models.load(
        [Row(str(n), f"{DAY} 09:00:00+00", status=status, error_flag=flag) for n, (status, flag) in enumerate(cases)]
    )
    models.rebuild(tests=True)
    counts = (
        "interaction_count, success_count, error_by_status_only_count, error_by_flag_only_count, error_by_both_count, "
        "unknown_count"
    )
    assert models.query(f"select {counts} from ai_audit_error_funnel") == [(10, 2, 1, 3, 1, 3)]
    daily = "select success_count, error_count, unknown_count, error_rate from ai_audit_daily"
    assert models.query(daily) == [(2, 5, 3, 5 / 7)]


@pytest.mark.requirement("R04")
def test_junk_in_any_text_field_neither_breaks_staging_nor_loses_the_row(models: Models):
    junk = [
        "",
        " ",
        "null",
        "true",
        "1e400",
        "-inf",
        "NaN",
        "[",
        "{}",
        '"x"',
        "\x00",
        "💥" * 40,
        "9" * 400,
        "0x1f",
        "1_0",
    ]
    models.load(
        [
            Row(
                str(n),
                f"{DAY} 09:00:00+00",
                duration_ms=text,
                prompt_tokens=text,
                completion_tokens=text,
                source_documents=text,
                status=text,
                model_parameters=text,
            )
            for n, text in enumerate(junk)
        ]
    )
    models.rebuild(tests=True)
    assert models.query("select count(*), count(duration_ms) from stg_ai_audit_logs") == [(len(junk), 0)]
    assert models.query("select sum(interaction_count) from ai_audit_daily") == [(len(junk),)]


@pytest.mark.requirement("R20", "R21")
def test_drill_rows_are_not_counted_as_business(models: Models):
    models.load([*rows_of_day(DAY, 2), Row("d", f"{DAY} 09:00:00+00", capability="drill-1", drill_id="1")])
    models.rebuild(tests=True)
    for table in ("ai_audit_daily", "ai_audit_capability_stats", "ai_audit_workspace_counts"):
        assert models.query(f"select distinct capability from {table}") == [("summarise",)]
    for table in ("ai_audit_capability_grid", "ai_audit_capability_outcomes", "ai_audit_capabilities"):
        series = f"select distinct environment, capability from {table} order by all"
        assert models.query(series) == [("live", "summarise"), ("sim", "drill-1")], table
    assert models.query("select environment from stg_ai_audit_logs where id = 'd'") == [("sim",)]


@pytest.mark.requirement("R21")
def test_a_silent_capability_keeps_rows_of_zero_and_leaves_after_ninety_days(models: Models):
    models.load([*rows_of_day("2026-07-01", 1, capability="old"), *rows_of_day("2026-10-01", 1, capability="quiet")])
    models.rebuild()
    spans = "select capability, min(date), max(date), count(*) from ai_audit_capability_stats group by 1 order by 1"
    assert models.query(spans) == [
        ("old", date(2026, 7, 1), date(2026, 9, 29), 91),
        ("quiet", date(2026, 10, 1), date(2026, 11, 5), 36),
    ]
