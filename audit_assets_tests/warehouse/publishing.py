"""A small warehouse to publish from, and a child process that publishes it in a loop until it is killed.

Every row is counted by three tables in one commit: raw rows, a per-day table and a whole table. In a consistent
snapshot they agree.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.statements import count_loads
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.snapshot import Manifest, open_snapshot, publish, read_manifest

FIRST = date(2026, 11, 1)
DAYS = 8
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

TABLES = """
create table if not exists analytics.ai_audit_workspace_stats (date date, workspace_id varchar, rows bigint);
create table if not exists analytics.ai_audit_capability_grid (date date, capability varchar, rows bigint);
create table if not exists analytics.ai_audit_daily (date date, rows bigint);
"""


def warehouse_in(folder: Path) -> DuckDBWarehouse:
    """A warehouse with the sync's tables and three marts, all empty."""
    warehouse = DuckDBWarehouse(folder / "warehouse.duckdb", folder / "warehouse.duckdb.lock", 30.0)
    with warehouse.connection("a test") as connection:
        connection.execute(TABLES)
    return warehouse


def add(connection: duckdb.DuckDBPyConnection, day: date, rows: int) -> None:
    """Adds `rows` interactions of a UTC day to every table, synced and built."""
    connection.execute("begin transaction")
    connection.execute(
        """insert into analytics.ai_audit_logs by name
        select uuid()::varchar as id, ?::date + interval 9 hour as created_at from range(?)""",
        [day, rows],
    )
    for table in ("ai_audit_workspace_stats (date, rows)", "ai_audit_daily"):
        connection.execute(f"insert into analytics.{table} values (?, ?)", [day, rows])
    count_loads(connection, {day}, {day})
    DuckDBMaintenance(connection).mark_built([day])
    connection.execute("commit")


def counts(folder: Path) -> tuple[int, int, int]:
    """The numbers of interactions in the three tables of the current snapshot."""
    with open_snapshot(folder, ["ai_audit_logs", "ai_audit_workspace_stats", "ai_audit_daily"]) as connection:
        row = connection.execute(
            """select (select count(*) from analytics.ai_audit_logs),
                (select coalesce(sum(rows), 0)::bigint from analytics.ai_audit_workspace_stats),
                (select coalesce(sum(rows), 0)::bigint from analytics.ai_audit_daily)"""
        ).fetchone()
    assert row is not None
    return row


def assert_whole(folder: Path) -> Manifest:
    """Asserts that the snapshot's files exist, match the manifest, and agree."""
    manifest = read_manifest(folder)
    assert manifest is not None
    assert [path for path in manifest.paths() if not (folder / path).exists()] == []
    by_logs, by_stats, by_daily = counts(folder)
    assert by_logs == by_stats == by_daily == manifest.rows("ai_audit_logs")
    return manifest


def publish_for_ever(path: str) -> None:
    """Adds rows to a random day and publishes, in a loop. Prints a line per manifest to stdout."""
    folder = Path(path)
    warehouse = warehouse_in(folder)
    rng = random.Random()
    with warehouse.connection("publishing in a loop") as connection:
        while True:
            add(connection, FIRST + timedelta(days=rng.randrange(DAYS)), rng.randint(1, 400))
            published = publish(DuckDBMaintenance(connection), folder / "published", NOW)
            print(published.manifest.snapshot_id, flush=True)
