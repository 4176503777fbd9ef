"""Fixtures: ledgers on SQLite and on a real Postgres, fake providers, and clients for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from audit_assets.alerting.channels.pagerduty import PagerDutyClient, PagerDutyIncidents
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets_tests.alerting.ledger_factories import Book
from tools.fakes.providers import FakeProviders

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-1234-open-sesame"
API_TOKEN = "y_NbAkKc66ryYTWUXYEu"
CHANNELS = {"#alerts": "C0ALERTS01", "#ai-copilot-ops": "C0COPILOT1", "#ai-copilot-compliance": "C0COPILOT2"}


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger, on SQLite and on Postgres."""
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
    """A ledger on SQLite only, for tests that do not depend on the database."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'alerts.db'}")
    yield Book(ledger)
    ledger.close()


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[FakeProviders]:
    """Fake PagerDuty and Slack with one key, one token each and three channels, and their log."""
    with FakeProviders(
        tmp_path / "requests.jsonl", routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS
    ) as providers:
        providers.pagerduty.api_token = API_TOKEN
        yield providers


@pytest.fixture
def pagerduty(fakes: FakeProviders) -> PagerDutyClient:
    return PagerDutyClient(SecretStr(ROUTING_KEY), fakes.events_url, timeout=5)


@pytest.fixture
def incidents(fakes: FakeProviders) -> PagerDutyIncidents:
    return PagerDutyIncidents(SecretStr(API_TOKEN), fakes.events_url)


@pytest.fixture
def slack(fakes: FakeProviders) -> SlackClient:
    return SlackClient(SecretStr(TOKEN), fakes.slack_url, timeout=5)
