"""Readers of the embedded warehouse read a published snapshot, and cannot change it."""

import os
import stat
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.snapshot import open_snapshot, publish, read_manifest
from audit_assets_tests.warehouse.publishing import FIRST, add, counts, warehouse_in

pytestmark = pytest.mark.requirement("R60")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published snapshot with one day of three interactions."""
    with warehouse_in(tmp_path).connection("a test") as connection:
        add(connection, FIRST, 3)
        publish(DuckDBMaintenance(connection), tmp_path / "published", NOON)
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


def test_what_a_reader_creates_or_drops_affects_only_its_own_connection(folder: Path):
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
    assert modes == {0o400}


@pytest.mark.skipif(sys.platform != "linux", reason="access lists are set by Linux's extended attributes here")
def test_who_is_in_the_access_list_of_the_folder_reads_what_is_published_later(tmp_path: Path):
    published, reader = tmp_path / "published", 65534
    published.mkdir(mode=0o700)
    # Owner rwx, the reader r-x, group none, mask r-x, others none: what `setfacl -m u:…:rX` and `-m d:u:…:rX` write.
    entries = [(1, 7, -1), (2, 5, reader), (4, 0, -1), (0x10, 5, -1), (0x20, 0, -1)]
    access_list = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        for kind in ("access", "default"):
            os.setxattr(published, f"system.posix_acl_{kind}", access_list)
    except OSError as error:
        pytest.skip(f"{tmp_path} is on a file system without access lists: {error.strerror}")
    with warehouse_in(tmp_path).connection("a test") as connection:
        add(connection, FIRST, 3)
        publish(DuckDBMaintenance(connection), published, NOON)
    manifest = read_manifest(published)
    assert manifest is not None
    paths = sorted(manifest.paths())
    # The bits of the group are the list's mask.
    assert {stat.S_IMODE((published / path).stat().st_mode) for path in paths} == {0o440}
    if os.geteuid() == 0:
        read = ["cat", "manifest.json", *paths]
        subprocess.run(
            read, user=reader, group=reader, extra_groups=[], cwd=published, stdout=subprocess.DEVNULL, check=True,
            timeout=20,
        )  # fmt: skip
