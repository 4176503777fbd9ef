"""A sync into BigQuery is killed at any moment: the next one completes it, and nothing is loaded twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.bigquery.client import BigQueryOptions
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets_tests.ingest.both_sides import DAY, NOW, execute, insert_rows, run, source_ids
from audit_assets_tests.warehouse.bigquery.conftest import settings_for
from audit_assets_tests.warehouse.bigquery.test_same_as_duckdb import FIRST, dump
from tools.emulator.running import Emulator


@pytest.mark.requirement("R10")
def test_a_sync_killed_at_any_moment_is_completed_by_the_next(source: str, emulator: Emulator, tmp_path: Path):
    settings = settings_for(emulator, tmp_path)
    warehouse = BigQueryWarehouse(settings, BigQueryOptions())
    insert_rows(source, 60, NOW - 6 * DAY, DAY / 10)
    run(source, warehouse, "full", since=FIRST)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AI_AUDIT_")},
        **emulator.settings,
        "AI_AUDIT_BIGQUERY_PROJECT": settings.bigquery_project,
        "AI_AUDIT_HOME": str(tmp_path),
        "AI_AUDIT_STATE_FILE": str(tmp_path / "state.json"),
        "AI_AUDIT_SOURCE_URL": source,
    }
    command = [sys.executable, "-m", "audit_assets.cli", "sync", "--mode", "full", "--since", "2023-01-01"]
    killed = 0
    for number in range(3):
        insert_rows(source, 5, NOW - (3 - number) * DAY, DAY / 100, f"more-{number}-")
        execute(source, "delete from ai_audit_logs where id = %s", [f"r{number * 7 + 1}"])
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(2.5 + 0.6 * number)  # the first two seconds are Python's
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed
    run(source, warehouse, "full", since=FIRST)
    tables = dump(warehouse)
    assert sorted(row[0] for row in tables["ai_audit_logs"]) == source_ids(source)
    deleted = [row for row in tables["ai_audit_repair_diff"] if row[1] == "gone"]
    assert sorted(row[2] for row in deleted) == sorted(f"r{number * 7 + 1}" for number in range(3))  # each once
