"""A snapshot belongs to the warehouse it was published from."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.snapshot import publish, read_manifest
from audit_assets_tests.warehouse.publishing import add, warehouse_in

pytestmark = pytest.mark.requirement("R27")


def test_a_warehouse_made_anew_keeps_nothing_of_the_old_ones_snapshot(tmp_path: Path):
    folder, day = tmp_path / "published", date(2026, 11, 1)
    old = warehouse_in(tmp_path / "old")
    with old.connection("a test") as connection:
        add(connection, day, 3)
        publish(DuckDBMaintenance(connection), folder, datetime(2026, 11, 2, tzinfo=UTC))
    new = warehouse_in(tmp_path / "new")
    with new.connection("a test") as connection:
        add(connection, day, 5)  # as many builds of the day as the old one had
        publish(DuckDBMaintenance(connection), folder, datetime(2026, 11, 3, tzinfo=UTC))
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.rows("ai_audit_logs") == 5
