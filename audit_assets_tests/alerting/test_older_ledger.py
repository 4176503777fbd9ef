"""A ledger that an earlier version wrote, on SQLite and on Postgres: it opens, and keeps what it holds."""

from datetime import timedelta

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, inspect, select

from audit_assets.alerting.instant import Instant
from audit_assets.alerting.ledger import open_ledger
from audit_assets.alerting.older_ledger import add_missing_columns
from audit_assets_tests.alerting.made_ledger import NOON, Book, episode, judged

pytestmark = pytest.mark.requirement("R45")

LATER = ("acknowledged_at", "acknowledged_by", "acknowledgement_asked_at")


def without_what_came_later(url: str) -> None:
    """Makes the ledger at `url` the one that the version before wrote."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for column in LATER:
            connection.exec_driver_sql(f"alter table ai_audit_alerts drop column {column}")
    engine.dispose()


def test_an_older_ledger_opens_and_keeps_its_rows(ledger_url: str):
    with open_ledger(ledger_url) as ledger:
        Book(ledger).record(judged(episode("chat"), episode("search")))
        before = Book(ledger).rows("alerts")
    without_what_came_later(ledger_url)
    for _ in range(2):  # the second time there is nothing to add
        with open_ledger(ledger_url) as ledger:
            book = Book(ledger)
            assert book.rows("alerts") == before
            assert {row.acknowledged_at for row in book.rows("alerts")} == {None}
    with open_ledger(ledger_url) as ledger:
        Book(ledger).record(judged(at=NOON + timedelta(hours=1)), now=NOON + timedelta(hours=1))
        assert Book(ledger).open() == []


def test_a_column_that_is_added_is_the_one_a_new_ledger_has(ledger_url: str):
    engine = create_engine(ledger_url)
    older, newer = MetaData(), MetaData()
    Table("things", older, Column("id", Integer, primary_key=True))
    Table("things", newer, Column("id", Integer, primary_key=True), Column("at", Instant), Column("by", String))
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
