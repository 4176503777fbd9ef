"""Builds on BigQuery: behavior that DuckDB does not have."""

from pathlib import Path

import pytest

from audit_assets_tests.models.bigquery import BigQueryModels
from audit_assets_tests.models.conftest import DBT_FOLDER, NOW, BuildFailedError, Row
from tools.emulator.running import Emulator

PROJECT = """
name: stray
profile: audit
macro-paths: ["{macros}"]
flags: {{send_anonymous_usage_stats: false}}
"""
STRAY_MODEL = """
{{ config(
    materialized='incremental', incremental_strategy='insert_overwrite', on_schema_change='fail',
    partition_by={'field': 'date', 'data_type': 'date', 'granularity': 'day'}
) }}
select date '2026-11-01' as date, 1 as event_count
"""


@pytest.mark.requirement("R28")
def test_a_built_row_outside_the_replaced_days_fails_the_build(tmp_path: Path, emulator: Emulator):
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text(PROJECT.format(macros=DBT_FOLDER / "macros"))
    (tmp_path / "models/stray.sql").write_text(STRAY_MODEL)
    models = BigQueryModels(tmp_path, emulator, "stray")
    models.client.create_dataset("stray")
    command = ("run", "--project-dir", str(tmp_path), "--profiles-dir", str(DBT_FOLDER))

    models.run(*command, days="2026-11-01")
    models.run(*command, days="2026-11-01,2026-11-02")
    assert models.query("select event_count from stray") == [(1,)]
    with pytest.raises(BuildFailedError, match="a built row of 2026-11-01 lies outside the replaced days"):
        models.run(*command, days="2026-11-02")
    assert models.query("select event_count from stray") == [(1,)]


@pytest.mark.requirement("R27", "R06")
def test_percentiles_by_sketch_are_values_of_nearly_the_exact_rank(tmp_path: Path, emulator: Emulator):
    models = BigQueryModels(tmp_path, emulator, "sketches")
    models.clear()
    models.load([Row(f"row-{n}", "2026-11-01 09:00:00+00", duration_ms=str(n)) for n in range(1, 401)])
    models.run(
        "run", "--full-refresh", "--select", "+ai_audit_daily", "--vars", "percentiles: sketch", days=None, now=NOW
    )
    ((p50, p90, p95, p99),) = models.query(
        "select p50_latency_ms, p90_latency_ms, p95_latency_ms, p99_latency_ms from ai_audit_daily"
    )
    for found, exact in ((p50, 200), (p90, 360), (p95, 380), (p99, 396)):
        assert abs(found - exact) <= 4  # a hundredth of the ranks
