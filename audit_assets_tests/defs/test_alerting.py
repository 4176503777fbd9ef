"""The sensor that tells: what it says, and that what it reads back holds nothing up."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster import SkipReason, build_sensor_context
from sqlalchemy import insert

from audit_assets.alerting.ledger import drills, open_ledger
from audit_assets_tests.alerting.conftest import API_TOKEN, CHANNELS, ROUTING_KEY, TOKEN
from audit_assets_tests.alerting.made_ledger import Book, episode, judged
from audit_assets_tests.fakes.providers import INCIDENTS_PATH, FakeProviders
from audit_assets_tests.homes import Home

pytestmark = pytest.mark.requirement("R40", "R41")


@pytest.fixture
def book(empty_home: Home) -> Iterator[Book]:
    """The ledger of a home with one episode in it, of a rule that has its drill."""
    now = datetime.now(UTC)
    with open_ledger(empty_home.settings().ledger_url) as ledger:
        book = Book(ledger)
        book.record(judged(episode("chat", at=now), at=now), now=now)
        passed = {"id": "d1", "drill": "spike", "rule_id": "volume_spike", "capability": "d1", "began_at": now}
        with ledger.transaction() as connection:
            connection.execute(insert(drills).values(**passed, told=2, passed=True))
        yield book


@pytest.fixture
def fakes(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders(tmp_path / "told.jsonl", routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS) as playing:
        playing.pagerduty.api_token = API_TOKEN
        monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
        monkeypatch.setenv("SLACK_BASE_URL", playing.slack_url)
        monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
        monkeypatch.setenv("PAGERDUTY_EVENTS_URL", playing.events_url)
        monkeypatch.setenv("PAGERDUTY_API_URL", playing.events_url)
        yield playing


def tick() -> str:
    from audit_assets.defs.alerting import alert_deliveries
    from audit_assets.defs.resources import Surroundings

    with build_sensor_context(resources={"surroundings": Surroundings()}) as context:
        said = alert_deliveries(context)
    assert isinstance(said, SkipReason)
    return str(said.skip_message)


def test_it_tells_and_says_how_many(fakes: FakeProviders):
    assert tick() == "2 sent, 0 to try again, 0 held, 0 parked, 0 given up; waiting: nothing"
    assert not [path for path, _ in fakes.bodies if path == INCIDENTS_PATH], "without a token nobody is asked"


def test_it_reads_back_who_took_what_it_told(book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PAGERDUTY_API_TOKEN", API_TOKEN)
    (key,) = book.open()
    fakes.pagerduty.acknowledge(key, "Ada", datetime.now(UTC))
    assert tick().endswith("; waiting: 1 pending; acknowledgements: 1 asked for, 1 new"), "the edit of the message"
    assert tick().startswith("1 sent, ")
    (message,) = fakes.messages()
    assert "Acknowledged by `Ada` at " in str(message.content)


def test_what_it_cannot_read_is_said_and_holds_nothing_up(fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PAGERDUTY_API_TOKEN", "wrong-sesame")
    said = tick()
    assert said.startswith("2 sent, ")
    assert "acknowledgements cannot be read: 401 Unauthorized; PAGERDUTY_API_TOKEN takes a read-only" in said
    assert "sesame" not in said
