"""Ledgers on SQLite and on a real Postgres, the providers played, and clients that speak with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from audit_assets.alerting.ledger import open_ledger
from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.pagerduty_incidents import PagerDutyIncidents
from audit_assets.alerting.slack_client import SlackClient
from audit_assets_tests.alerting.made_ledger import Book
from audit_assets_tests.fakes.providers import FakeProviders

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-1234-open-sesame"
API_TOKEN = "y_NbAkKc66ryYTWUXYEu"
CHANNELS = {"#alerts": "C0ALERTS01", "#ai-copilot-ops": "C0COPILOT1", "#ai-copilot-compliance": "C0COPILOT2"}


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


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[FakeProviders]:
    """PagerDuty and Slack with one key, one token each and three channels, and their log."""
    with FakeProviders(tmp_path / "told.jsonl", routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS) as playing:
        playing.pagerduty.api_token = API_TOKEN
        yield playing


@pytest.fixture
def pagerduty(fakes: FakeProviders) -> PagerDutyClient:
    return PagerDutyClient(SecretStr(ROUTING_KEY), fakes.events_url, timeout=5)


@pytest.fixture
def incidents(fakes: FakeProviders) -> PagerDutyIncidents:
    return PagerDutyIncidents(SecretStr(API_TOKEN), fakes.events_url)


@pytest.fixture
def slack(fakes: FakeProviders) -> SlackClient:
    return SlackClient(SecretStr(TOKEN), fakes.slack_url, timeout=5)
