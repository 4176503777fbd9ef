"""A ledger written by an earlier version, on SQLite and on Postgres, opens and keeps its rows."""

from datetime import timedelta

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, inspect, select

from audit_assets.alerting.ledger.migrations import add_missing_columns
from audit_assets.alerting.ledger.tables import UtcDateTime, open_ledger
from audit_assets_tests.alerting.ledger_factories import NOON, Book, episode, rule_result

pytestmark = pytest.mark.requirement("R45")

LATER = ("acknowledged_at", "acknowledged_by", "acknowledgement_asked_at")


def downgrade_schema(url: str) -> None:
    """Changes the ledger at `url` to the schema of the previous version."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for column in LATER:
            connection.exec_driver_sql(f"alter table ai_audit_alerts drop column {column}")
    engine.dispose()


def test_an_older_ledger_opens_and_keeps_its_rows(ledger_url: str):
    with open_ledger(ledger_url) as ledger:
        Book(ledger).record(rule_result(episode("chat"), episode("search")))
        before = Book(ledger).rows("alerts")
    downgrade_schema(ledger_url)
    for _ in range(2):  # the second time there is nothing to add
        with open_ledger(ledger_url) as ledger:
            book = Book(ledger)
            assert book.rows("alerts") == before
            assert {row.acknowledged_at for row in book.rows("alerts")} == {None}
    with open_ledger(ledger_url) as ledger:
        Book(ledger).record(rule_result(at=NOON + timedelta(hours=1)), now=NOON + timedelta(hours=1))
        assert Book(ledger).open() == []


def test_an_added_column_equals_that_of_a_new_ledger(ledger_url: str):
    engine = create_engine(ledger_url)
    older, newer = MetaData(), MetaData()
    Table("things", older, Column("id", Integer, primary_key=True))
    Table("things", newer, Column("id", Integer, primary_key=True), Column("at", UtcDateTime), Column("by", String))
    with engine.begin() as connection:
        older.create_all(connection)
        add_missing_columns(connection, newer)
        added = {column["name"]: str(column["type"]) for column in inspect(connection).get_columns("things")}
        newer.drop_all(connection)
        newer.create_all(connection)
        made = {column["name"]: str(column["type"]) for column in inspect(connection).get_columns("things")}
        assert connection.execute(select(newer.tables["things"])).all() == []
    engine.dispose()
    assert added == made
