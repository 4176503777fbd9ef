"""Ledgers on SQLite and on a real Postgres."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_assets.alerting.ledger import open_ledger
from audit_assets_tests.alerting.made_ledger import Book


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'alerts.db'}"
    return request.getfixturevalue("source").replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture
def book(ledger_url: str) -> Iterator[Book]:
    ledger = open_ledger(ledger_url)
    yield Book(ledger)
    ledger.close()


@pytest.fixture
def sqlite_book(tmp_path: Path) -> Iterator[Book]:
    """Where it is not the database that is in question."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'alerts.db'}")
    yield Book(ledger)
    ledger.close()
