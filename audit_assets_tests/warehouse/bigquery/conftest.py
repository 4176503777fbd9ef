"""A dataset of its own on the emulator for each test, and a DuckDB warehouse beside it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from audit_assets.settings import Settings
from audit_assets.warehouse.bigquery.jobs import Jobs
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets_tests.emulator.running import Emulator
from audit_assets_tests.ingest.both_sides import warehouse_in
from audit_assets_tests.warehouse.bigquery.sent import analyzed

_numbers = count(1)


@pytest.fixture(autouse=True)
def _read_by_googles_analyzer(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """What these tests send is what BigQuery would take."""
    asked, script = Jobs._asked, Jobs.script

    def asked_and_read(jobs: Jobs, sql: str, *more: Any) -> Any:
        analyzed(sql)
        return asked(jobs, sql, *more)

    def script_and_read(jobs: Jobs, sql: str, name: str) -> Any:
        analyzed(sql)
        return script(jobs, sql, name)

    monkeypatch.setattr(Jobs, "_asked", asked_and_read)
    monkeypatch.setattr(Jobs, "script", script_and_read)


def settings_for(emulator: Emulator, home: Path, **more: object) -> Settings:
    """Settings that lead to an empty project of the emulator."""
    values = {
        "AI_AUDIT_HOME": home,
        "AI_AUDIT_WAREHOUSE_DESTINATION": "bigquery",
        "AI_AUDIT_BIGQUERY_ENDPOINT": emulator.endpoint,
        "AI_AUDIT_BIGQUERY_PROJECT": f"test-project-{next(_numbers)}",
        **more,
    }
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]


@pytest.fixture
def bigquery(emulator: Emulator, tmp_path: Path) -> BigQueryWarehouse:
    return BigQueryWarehouse(settings_for(emulator, tmp_path), BigQueryTerms())


@pytest.fixture
def duckdb(tmp_path: Path) -> DuckDBWarehouse:
    return warehouse_in(tmp_path)
