"""A dataset of its own on the emulator for each test, and a DuckDB warehouse beside it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from audit_assets.settings import Settings
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets_tests.emulator.running import Emulator
from audit_assets_tests.ingest.both_sides import warehouse_in

_numbers = count(1)


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
