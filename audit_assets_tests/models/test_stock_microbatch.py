"""Why the project has its own macro to replace the days of a build: dbt's microbatch keeps rows of an emptied day."""

from pathlib import Path

import pytest

from audit_assets_tests.models.bigquery import BigQueryModels
from audit_assets_tests.models.conftest import DBT_FOLDER
from tools.emulator.running import Emulator

PROJECT = """
name: stock
profile: audit
flags: {send_anonymous_usage_stats: false}
"""
SOURCE = """
sources:
  - name: stock
    schema: stock
    tables: [{name: events, config: {event_time: created_at}}]
"""
MODEL = """
{{ config(
    materialized='incremental', incremental_strategy='microbatch', event_time='date', batch_size='day',
    begin='2026-11-01', partition_by={'field': 'date', 'data_type': 'date', 'granularity': 'day'}
) }}
select date(created_at) as date, count(*) as event_count from {{ source('stock', 'events') }} group by date
"""


@pytest.mark.requirement("R28")
def test_the_stock_microbatch_leaves_the_rows_of_an_emptied_day(tmp_path: Path, emulator: Emulator):
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text(PROJECT)
    (tmp_path / "models/sources.yml").write_text(SOURCE)
    (tmp_path / "models/days.sql").write_text(MODEL)
    models = BigQueryModels(tmp_path, emulator, "stock")
    models.client.create_dataset("stock")
    models.query("create table events (created_at timestamp)")
    models.query("insert into events values (timestamp '2026-11-01 09:00:00'), (timestamp '2026-11-02 09:00:00')")
    window = ("--event-time-start", "2026-11-01", "--event-time-end", "2026-11-03")
    own_project = ("--project-dir", str(tmp_path), "--profiles-dir", str(DBT_FOLDER))

    models.run("run", *own_project, *window)
    models.query("delete from events where created_at >= timestamp '2026-11-02'")
    models.run("run", *own_project, *window)

    assert models.query("select cast(date as string), event_count from days order by date") == [
        ("2026-11-01", 1),
        ("2026-11-02", 1),  # although no event of that day is left
    ]
