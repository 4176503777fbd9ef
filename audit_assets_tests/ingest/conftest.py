"""A fresh warehouse for each test of the sync."""

from pathlib import Path

import pytest

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import warehouse_in


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return warehouse_in(tmp_path)
