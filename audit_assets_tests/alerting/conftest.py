"""The providers played for tests of alerting, and clients that speak with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.slack_client import SlackClient
from audit_assets_tests.fakes.providers import FakeProviders

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-1234-open-sesame"
CHANNELS = {"#alerts": "C0ALERTS01"}


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[FakeProviders]:
    """PagerDuty and Slack with one key, one token and one channel, and their log."""
    with FakeProviders(tmp_path / "told.jsonl", routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS) as playing:
        yield playing


@pytest.fixture
def pagerduty(fakes: FakeProviders) -> PagerDutyClient:
    return PagerDutyClient(SecretStr(ROUTING_KEY), fakes.events_url, timeout=5)


@pytest.fixture
def slack(fakes: FakeProviders) -> SlackClient:
    return SlackClient(SecretStr(TOKEN), fakes.slack_url, timeout=5)
