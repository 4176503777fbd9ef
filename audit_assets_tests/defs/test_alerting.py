"""The delivery sensor: its skip message, and that reading acknowledgements blocks nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import SkipReason
from sqlalchemy import insert

from audit_assets.alerting.ledger.tables import drills, open_ledger
from audit_assets_tests.alerting.conftest import API_TOKEN, CHANNELS, ROUTING_KEY, TOKEN
from audit_assets_tests.alerting.ledger_factories import Book, episode, rule_result
from audit_assets_tests.environments import NOW, Home, tick_sensor
from tools.fakes.providers import INCIDENTS_PATH, FakeProviders

pytestmark = pytest.mark.requirement("R40", "R41")


@pytest.fixture
def book(empty_home: Home) -> Iterator[Book]:
    """The ledger of a home with one episode of a rule whose drill has passed."""
    with open_ledger(empty_home.settings().ledger_url) as ledger:
        book = Book(ledger)
        book.record(rule_result(episode("chat", at=NOW), at=NOW), now=NOW)
        passed = {"id": "d1", "drill": "spike", "rule_id": "volume_spike", "capability": "d1", "began_at": NOW}
        with ledger.transaction() as connection:
            connection.execute(insert(drills).values(**passed, told=2, passed=True))
        yield book


@pytest.fixture
def fakes(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders(tmp_path / "requests.jsonl", routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS) as playing:
        playing.pagerduty.api_token = API_TOKEN
        monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
        monkeypatch.setenv("SLACK_BASE_URL", playing.slack_url)
        monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
        monkeypatch.setenv("PAGERDUTY_EVENTS_URL", playing.events_url)
        monkeypatch.setenv("PAGERDUTY_API_URL", playing.events_url)
        yield playing


def tick() -> str:
    result = tick_sensor("alert_deliveries")
    assert isinstance(result, SkipReason)
    return str(result.skip_message)


def test_it_delivers_and_reports_how_many(fakes: FakeProviders):
    assert tick() == "2 sent, 0 to retry, 0 held, 0 parked, 0 given up; waiting: none"
    assert not [path for path, _ in fakes.bodies if path == INCIDENTS_PATH], "without a token no request is sent"


def test_it_reads_back_who_acknowledged_what_it_delivered(
    book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PAGERDUTY_API_TOKEN", API_TOKEN)
    (key,) = book.open()
    fakes.pagerduty.acknowledge(key, "Ada", NOW)
    assert tick().endswith("; waiting: 1 pending; acknowledgements: 1 polled, 1 new"), "the edit of the message"
    assert tick().startswith("1 sent, ")
    (message,) = fakes.messages()
    assert "Acknowledged by `Ada` at " in str(message.content)


def test_what_it_cannot_read_is_reported_and_blocks_nothing(fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PAGERDUTY_API_TOKEN", "wrong-sesame")
    result = tick()
    assert result.startswith("2 sent, ")
    assert "acknowledgements cannot be read: 401 Unauthorized; PAGERDUTY_API_TOKEN must be a read-only" in result
    assert "sesame" not in result
