"""Readers of the embedded warehouse read a published snapshot, and cannot change it."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from audit_assets.warehouse.duckdb_keeper import DuckDBKeeper
from audit_assets.warehouse.snapshot import open_snapshot, publish, read_manifest
from audit_assets_tests.warehouse.publishing import FIRST, add, counts, warehouse_in

pytestmark = pytest.mark.requirement("R60")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published day of three interactions."""
    with warehouse_in(tmp_path).connection("a test") as connection:
        add(connection, FIRST, 3)
        publish(DuckDBKeeper(connection), tmp_path / "published", NOON)
    return tmp_path / "published"


@pytest.mark.parametrize(
    "statement",
    [
        "insert into analytics.ai_audit_daily values (date '2026-11-01', 1)",
        "update analytics.ai_audit_logs set status = 'ok'",
        "delete from analytics.ai_audit_logs",
        "truncate analytics.ai_audit_logs",
        "alter table analytics.ai_audit_logs add column noted varchar",
    ],
)
def test_a_reader_cannot_change_a_table(folder: Path, statement: str):
    with open_snapshot(folder) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement)
    assert counts(folder) == (3, 3, 3)


def test_what_a_reader_makes_or_drops_is_his_own_and_gone_with_his_connection(folder: Path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with open_snapshot(folder) as connection:
        connection.execute("create table analytics.mine as select 1 as one")
        connection.execute("drop view analytics.ai_audit_daily")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert counts(folder) == (3, 3, 3)


def test_published_files_are_for_reading_alone(folder: Path):
    manifest = read_manifest(folder)
    assert manifest is not None
    modes = {stat.S_IMODE((folder / path).stat().st_mode) for path in manifest.paths()}
    assert modes == {0o444}
