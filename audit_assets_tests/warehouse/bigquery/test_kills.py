"""A sync into BigQuery is killed at any moment: the next one makes it good, and nothing is there twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets_tests.emulator.running import Emulator
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, source_ids, spread, tell
from audit_assets_tests.warehouse.bigquery.conftest import settings_for
from audit_assets_tests.warehouse.bigquery.test_same_as_duckdb import FIRST, dump


@pytest.mark.requirement("R10")
def test_a_sync_killed_at_any_moment_is_made_good_by_the_next(source: str, emulator: Emulator, tmp_path: Path):
    settings = settings_for(emulator, tmp_path)
    warehouse = BigQueryWarehouse(settings, BigQueryTerms())
    spread(source, 60, NOW - 6 * DAY, DAY / 10)
    sync(source, warehouse, POLICY, Request("full", since=FIRST))
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
        spread(source, 5, NOW - (3 - number) * DAY, DAY / 100, f"more-{number}-")
        tell(source, "delete from ai_audit_logs where id = %s", [f"r{number * 7 + 1}"])
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(2.5 + 0.6 * number)  # the first two seconds are Python's
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed
    sync(source, warehouse, POLICY, Request("full", since=FIRST))
    held = dump(warehouse)
    assert sorted(row[0] for row in held["ai_audit_logs"]) == source_ids(source)
    gone = [row for row in held["ai_audit_repair_diff"] if row[1] == "gone"]
    assert sorted(row[2] for row in gone) == sorted(f"r{number * 7 + 1}" for number in range(3))  # each once
