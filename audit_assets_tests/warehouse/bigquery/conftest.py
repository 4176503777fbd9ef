"""A dataset on the emulator per test, and a DuckDB warehouse to compare with."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from audit_assets.settings import Settings
from audit_assets.warehouse.bigquery.client import BigQueryOptions
from audit_assets.warehouse.bigquery.jobs import Jobs
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.environments import settings_of
from audit_assets_tests.ingest.both_sides import warehouse_in
from audit_assets_tests.warehouse.bigquery.sent import analyzed
from tools.emulator.running import Emulator

_numbers = count(1)


@pytest.fixture(autouse=True)
def _read_by_googles_analyzer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks every statement of these tests with Google's analyzer."""
    asked = Jobs._query  # pyright: ignore[reportPrivateUsage] - what both kinds of query share
    script = Jobs.script

    def asked_and_read(jobs: Jobs, sql: str, *more: Any) -> Any:
        analyzed(sql)
        return asked(jobs, sql, *more)

    def script_and_read(jobs: Jobs, sql: str, name: str) -> Any:
        analyzed(sql)
        return script(jobs, sql, name)

    monkeypatch.setattr(Jobs, "_query", asked_and_read)
    monkeypatch.setattr(Jobs, "script", script_and_read)


def settings_for(emulator: Emulator, home: Path, **more: object) -> Settings:
    """Settings for an empty project of the emulator."""
    return settings_of(
        {
            "AI_AUDIT_HOME": home,
            "AI_AUDIT_WAREHOUSE_DESTINATION": "bigquery",
            "AI_AUDIT_BIGQUERY_ENDPOINT": emulator.endpoint,
            "AI_AUDIT_BIGQUERY_PROJECT": f"test-project-{next(_numbers)}",
            **more,
        }
    )


@pytest.fixture
def bigquery(emulator: Emulator, tmp_path: Path) -> BigQueryWarehouse:
    return BigQueryWarehouse(settings_for(emulator, tmp_path), BigQueryOptions())


@pytest.fixture
def duckdb(tmp_path: Path) -> DuckDBWarehouse:
    return warehouse_in(tmp_path)
