"""The export of the ledger to the warehouse: it is complete, and unchanged tables are not written."""

import json
from pathlib import Path

import duckdb
import pytest

from audit_assets.alerting.ledger.export import EXPORTED_COLUMNS, column_types, export_ledger
from audit_assets.alerting.ledger.store import acknowledge
from audit_assets.alerting.remediation.store import approve, plan
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.snapshot import open_snapshot, publish
from audit_assets_tests.alerting.ledger_factories import NOON, Book, episode, later, rule_result

pytestmark = pytest.mark.requirement("R45")

TABLES = tuple(table.name for table in EXPORTED_COLUMNS)


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(tmp_path / "warehouse.duckdb", tmp_path / "warehouse.lock", 10.0)


def ask(warehouse: DuckDBWarehouse, query: str) -> list[tuple[object, ...]]:
    with warehouse.connection("a test") as connection:
        return connection.execute(query).fetchall()


def exported(book: Book, warehouse: DuckDBWarehouse) -> tuple[str, ...]:
    """Exports the ledger; returns the tables that were written."""
    with warehouse.connection("a test") as connection:
        return tuple(export_ledger(book.ledger, DuckDBMaintenance(connection)))


def test_the_copy_equals_the_ledger(book: Book, warehouse: DuckDBWarehouse):
    book.record(rule_result(episode("chat"), episode("summary", 70.0)))
    key = book.open()[0]
    with book.ledger.transaction() as connection:
        plan(connection, key, "p1", "alice", "a retry loop", NOON)
    book.record(rule_result(at=later(minutes=15)), now=later(minutes=16))
    book.record(rule_result(at=later(minutes=60)), now=later(minutes=61))
    assert exported(book, warehouse) == TABLES
    for table in EXPORTED_COLUMNS:
        names = list(EXPORTED_COLUMNS[table])
        connection = ask(warehouse, f"select {', '.join(names)} from analytics.{table.name} order by {names[0]}")
        attribute = table.name.removeprefix("ai_audit_").removeprefix("alert_")
        at_home = [
            tuple(getattr(row, name.removeprefix("happened_")) for name in names) for row in book.rows(attribute)
        ]
        assert connection == at_home
        assert connection
    assert ask(warehouse, "select count(*) from analytics.ai_audit_alerts where resolved_at is null") == [(0,)]
    (payload,) = ask(warehouse, "select payload from analytics.ai_audit_alert_deliveries order by seq limit 1")[0]
    assert json.loads(str(payload))


def test_without_changes_nothing_is_written(book: Book, warehouse: DuckDBWarehouse):
    assert exported(book, warehouse) == TABLES, "empty tables are tables: a query on them finds no rows, not an error"
    assert exported(book, warehouse) == ()
    book.record(rule_result(episode()))
    assert exported(book, warehouse) == ("ai_audit_alerts", "ai_audit_alert_events", "ai_audit_alert_deliveries")
    assert exported(book, warehouse) == ()
    (key,) = book.open()
    with book.ledger.transaction() as connection:
        plan(connection, key, "p1", "alice", "a retry loop", NOON)
    assert exported(book, warehouse) == ("ai_audit_alert_events", "ai_audit_remediations")
    with book.ledger.transaction() as connection:
        approve(connection, "p1", "bob", later(minutes=1))
    assert exported(book, warehouse) == ("ai_audit_alert_events", "ai_audit_remediations")


def test_a_figure_that_changes_in_an_open_episode_is_copied(book: Book, warehouse: DuckDBWarehouse):
    book.record(rule_result(episode(value=90.0)))
    exported(book, warehouse)
    book.record(rule_result(episode(value=120.0, at=later(minutes=15))), now=later(minutes=16), as_of=later(minutes=15))
    assert "ai_audit_alerts" in exported(book, warehouse)
    assert ask(warehouse, "select value, peak from analytics.ai_audit_alerts") == [(120.0, 120.0)]


def test_the_acknowledgement_is_exported(book: Book, warehouse: DuckDBWarehouse):
    book.record(rule_result(episode()))
    exported(book, warehouse)
    (key,) = book.open()
    with book.ledger.transaction() as connection:
        acknowledge(connection, key, NOON, "Ada")
    assert exported(book, warehouse) == ("ai_audit_alerts", "ai_audit_alert_events")
    assert ask(warehouse, "select acknowledged_by, acknowledged_at from analytics.ai_audit_alerts") == [("Ada", NOON)]


def test_the_types_are_those_of_column_types(sqlite_book: Book, warehouse: DuckDBWarehouse):
    exported(sqlite_book, warehouse)
    for table in EXPORTED_COLUMNS:
        found = ask(
            warehouse,
            "select column_name, lower(data_type) from information_schema.columns"
            f" where table_name = '{table.name}' order by ordinal_position",
        )
        expected = {
            name: kind.replace("timestamptz", "timestamp with time zone") for name, kind in column_types(table).items()
        }
        assert found == list(expected.items())


def test_a_copy_that_fails_half_way_leaves_the_previous_one(
    sqlite_book: Book, warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
):
    sqlite_book.record(rule_result(episode()))
    exported(sqlite_book, warehouse)
    sqlite_book.record(rule_result(episode("other"), at=later(minutes=15)), now=later(minutes=16))

    class Failing:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection = connection

        def execute(self, query: str, *more: object) -> object:
            if "create or replace table analytics.ai_audit_alert_deliveries" in query:
                raise duckdb.IOException("No space left on device")
            return self.connection.execute(query, *more)

        def __getattr__(self, name: str) -> object:
            return getattr(self.connection, name)

    before = ask(warehouse, "select key, state from analytics.ai_audit_alerts order by key")
    with warehouse.connection("a test") as connection, pytest.raises(duckdb.IOException):
        export_ledger(sqlite_book.ledger, DuckDBMaintenance(Failing(connection)))  # type: ignore[arg-type]
    assert ask(warehouse, "select key, state from analytics.ai_audit_alerts order by key") == before
    assert exported(sqlite_book, warehouse), "and the next export repairs it"
    assert len(ask(warehouse, "select key from analytics.ai_audit_alerts")) == 2


def test_the_snapshot_writes_a_copy_again_only_where_it_changed(
    sqlite_book: Book, warehouse: DuckDBWarehouse, tmp_path: Path
):
    folder = tmp_path / "published"

    def published() -> dict[str, str]:
        with warehouse.connection("a test") as connection:
            export_ledger(sqlite_book.ledger, DuckDBMaintenance(connection))
            manifest = publish(DuckDBMaintenance(connection), folder, NOON).manifest
        return {table: manifest.files[table][0].path for table in TABLES}

    sqlite_book.record(rule_result(episode()))
    first = published()
    assert published() == first
    sqlite_book.record(rule_result(at=later(minutes=60)), now=later(minutes=61))
    after = published()
    assert [table for table in TABLES if after[table] == first[table]] == ["ai_audit_remediations"]
    with open_snapshot(folder, TABLES) as connection:
        assert connection.execute("select resolve_reason from analytics.ai_audit_alerts").fetchall() == [("cleared",)]
