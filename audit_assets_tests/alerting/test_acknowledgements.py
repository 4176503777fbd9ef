"""Acknowledgements: from PagerDuty over real HTTP into the ledger, on SQLite and Postgres, and on to Slack."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import SecretStr
from rich.console import Console

from audit_assets.alerting.channels.pagerduty import PagerDutyClient, PagerDutyIncidents
from audit_assets.alerting.channels.senders import build_senders
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery.acknowledgements import (
    QUERIES_PER_ROUND,
    AckPollResult,
    due_queries,
    poll_acknowledgements,
)
from audit_assets.alerting.delivery.deliverer import SENSOR_BUDGET, deliver
from audit_assets.alerting.delivery.watchdog import find_problems
from audit_assets.alerting.ledger.store import StoredAlert, open_episodes
from audit_assets_tests.alerting.ledger_factories import NOON, QUARTER, SPIKE, Book, episode, rule_result
from audit_assets_tests.alerting.notification_factories import alert
from tools.fakes.answering import Reply
from tools.fakes.providers import INCIDENTS_PATH, FakeProviders
from tools.fakes.reading import Message

pytestmark = pytest.mark.requirement("R40", "R41")

MINUTE = timedelta(minutes=1)
ACKNOWLEDGED = "Acknowledged by `Ada Lovelace` at 12:03 UTC"


@dataclass
class Harness:
    """A ledger with a deliverer and a poller over the fakes; tests set its clock."""

    book: Book
    fakes: FakeProviders
    slack: SlackClient | None
    pagerduty: PagerDutyClient | None
    incidents: PagerDutyIncidents
    at: datetime = NOON
    console: Console = field(default_factory=lambda: Console(quiet=True))

    def deliver(self) -> None:
        senders = build_senders(self.slack, self.pagerduty, self.console)
        deliver(self.book.ledger, senders, self.book.routing, lambda: self.at)

    def judge(self, *capabilities: str, value: float = 90.0) -> None:
        crowd = [episode(name, value - n, at=self.at, since=NOON - QUARTER) for n, name in enumerate(capabilities)]
        self.book.record(rule_result(*crowd, at=self.at), now=self.at)

    def opened(self, *capabilities: str) -> None:
        """Opens episodes and delivers their messages."""
        self.judge(*(capabilities or ("chat",)))
        self.deliver()

    def acknowledge(self, *keys: str, by: str = "Ada Lovelace") -> None:
        for key in keys or self.book.open():
            self.fakes.pagerduty.acknowledge(key, by, NOON + 3 * MINUTE)

    def poll(self, after: timedelta = timedelta(), budget: timedelta = SENSOR_BUDGET) -> AckPollResult:
        self.at += after
        return poll_acknowledgements(
            self.book.ledger, self.incidents, self.book.routing, lambda: self.at, until=self.at + budget
        )

    def polled(self) -> list[str]:
        return [body["incident_key"][0] for path, body in self.fakes.bodies if path == INCIDENTS_PATH]

    def message(self) -> Message:
        (message,) = self.fakes.received().posts
        return message

    def acknowledged(self) -> list[str]:
        """The acknowledgement lines of the Slack message."""
        *blocks, _ = self.message().content["attachments"][0]["blocks"]
        return [element["text"] for block in blocks if block["type"] == "context" for element in block["elements"]]

    def events(self) -> list[Any]:
        return [row for row in self.book.rows("events") if row.kind == "acknowledged"]


@pytest.fixture
def harness(
    book: Book, fakes: FakeProviders, slack: SlackClient, pagerduty: PagerDutyClient, incidents: PagerDutyIncidents
) -> Harness:
    return Harness(book, fakes, slack, pagerduty, incidents)


@pytest.fixture
def sqlite_harness(
    sqlite_book: Book,
    fakes: FakeProviders,
    slack: SlackClient,
    pagerduty: PagerDutyClient,
    incidents: PagerDutyIncidents,
) -> Harness:
    """On SQLite only, for tests that do not depend on the database."""
    return Harness(sqlite_book, fakes, slack, pagerduty, incidents)


def test_an_acknowledgement_is_one_event_and_one_edit_of_the_message(harness: Harness):
    harness.opened()
    before = harness.message()
    harness.acknowledge()
    assert harness.poll(MINUTE) == AckPollResult(polled=1, acknowledged=1)
    (row,) = harness.book.rows("alerts")
    assert (row.acknowledged_at, row.acknowledged_by) == (NOON + 3 * MINUTE, "Ada Lovelace")
    (event,) = harness.events()
    assert (event.key, event.at, event.said) == (row.key, NOON + 3 * MINUTE, "by Ada Lovelace")
    harness.deliver()
    after = harness.message()
    assert (after.edits, harness.acknowledged()) == (1, [ACKNOWLEDGED])
    assert after.text == before.text
    blocks = after.content["attachments"][0]["blocks"]
    assert [*blocks[:-2], blocks[-1]] == before.content["attachments"][0]["blocks"], "all else stays as it was"


def test_acknowledged_incidents_are_not_polled_again(harness: Harness):
    harness.opened()
    harness.acknowledge()
    for _ in range(5):
        harness.poll(MINUTE)
        harness.deliver()
    assert (len(harness.polled()), len(harness.events()), harness.message().edits) == (1, 1, 1)


def test_an_incident_is_polled_once_per_minute(harness: Harness):
    harness.opened()
    assert harness.poll() == AckPollResult(polled=1)
    assert harness.poll(timedelta(seconds=59)) == AckPollResult()
    assert harness.poll(timedelta(seconds=1)) == AckPollResult(polled=1)
    assert harness.polled() == harness.book.open() * 2


def test_later_edits_and_the_resolved_message_keep_the_acknowledgement(harness: Harness):
    harness.opened("chat")
    harness.acknowledge()
    harness.poll()
    harness.deliver()
    harness.at += QUARTER
    harness.judge("chat", "search")
    harness.deliver()
    assert harness.acknowledged() == [f"{ACKNOWLEDGED}: `chat`"], "not all alerts of the message are acknowledged"
    assert "search" in str(harness.message().content)
    harness.at += QUARTER
    harness.judge()
    harness.deliver()
    assert harness.message().content["attachments"][0]["color"] == "#16A34A"
    assert harness.acknowledged() == [f"{ACKNOWLEDGED}: `chat`"]
    assert {row.acknowledged_by for row in harness.book.rows("alerts")} == {"Ada Lovelace", None}


def test_two_people_who_acknowledge_two_alerts_are_two_lines_and_the_second_edit_replaces_the_first(harness: Harness):
    harness.opened("chat", "search")
    one, two = harness.book.open()
    harness.acknowledge(one)
    harness.poll()
    harness.acknowledge(two, by="Grace")
    harness.poll(MINUTE)
    harness.deliver()
    assert harness.message().edits == 1, "the first edit was superseded"
    names = {row.key: f"`{row.dimensions.split(chr(34))[3]}`" for row in harness.book.rows("alerts")}
    assert sorted(harness.acknowledged()) == [
        f"{ACKNOWLEDGED}: {names[one]}",
        f"Acknowledged by `Grace` at 12:03 UTC: {names[two]}",
    ]


def test_the_summary_covers_all_episodes_without_an_incident_of_their_own(harness: Harness):
    harness.opened(*(f"capability-{number:02}" for number in range(40)))
    (summary,) = [key for key in harness.fakes.incidents() if key.endswith("/summary")]
    harness.acknowledge(summary)
    rounds = [harness.poll(), harness.poll()]
    assert [one.polled for one in rounds] == [QUERIES_PER_ROUND, 5]
    assert sum(one.acknowledged for one in rounds) == 16
    assert len(set(harness.polled())) == 25
    assert len(harness.events()) == 16
    harness.deliver()
    (line,) = harness.acknowledged()
    assert line.startswith(f"{ACKNOWLEDGED}: `capability-24`, ")
    assert line.endswith(" and 13 more")


def test_alerts_that_were_not_sent_to_pagerduty_are_not_polled(sqlite_harness: Harness):
    harness = sqlite_harness
    harness.fakes.down = {"pagerduty"}
    harness.opened()
    harness.fakes.down = set()
    assert harness.poll() == AckPollResult()
    harness.pagerduty = None  # written to the console
    harness.at += MINUTE
    harness.deliver()
    assert ("trigger", "sent") in harness.book.outbox()
    assert harness.poll(MINUTE) == AckPollResult()


def test_resolved_episodes_are_not_polled(sqlite_harness: Harness):
    sqlite_harness.opened()
    sqlite_harness.at += QUARTER
    sqlite_harness.judge()
    assert sqlite_harness.poll() == AckPollResult()


def test_a_message_that_was_not_sent_yet_includes_the_acknowledgement(sqlite_harness: Harness):
    harness = sqlite_harness
    harness.fakes.next_replies["/api/chat.postMessage"].append(Reply(429, "", {"Retry-After": "60"}))
    harness.opened()
    harness.acknowledge()
    harness.poll(MINUTE)
    harness.deliver()
    assert (harness.message().edits, harness.acknowledged()) == (0, [ACKNOWLEDGED])


def test_a_message_without_blocks_shows_the_acknowledgement_too(sqlite_harness: Harness):
    harness = sqlite_harness
    refusal = Reply(200, {"ok": False, "error": "invalid_blocks"})
    harness.fakes.next_replies["/api/chat.postMessage"].append(refusal)
    harness.opened()
    harness.acknowledge()
    harness.poll()
    harness.deliver()
    lines = harness.message().text.splitlines()
    assert (lines.count(ACKNOWLEDGED), lines[-1]) == (1, ACKNOWLEDGED)


@pytest.mark.requirement("R42")
def test_a_name_from_outside_neither_formats_nor_mentions(sqlite_harness: Harness):
    harness = sqlite_harness
    harness.opened()
    harness.acknowledge(by="*x*_<!channel> <https://evil.example|ok> `z` :fire:\nAcknowledged by\u202e\x00")
    harness.poll()
    harness.deliver()
    (line,) = harness.acknowledged()
    assert line.startswith(
        "Acknowledged by `*x*_&lt;!channel&gt; &lt;https://evil.example|ok&gt; ˋzˋ :fire:\\x0aAcknowledged by"
    )
    assert line.endswith(" at 12:03 UTC")


def test_killed_between_polling_and_recording_it_is_polled_a_minute_later_and_shown_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    harness.opened()
    harness.acknowledge()
    with monkeypatch.context() as patch:
        patch.setattr("audit_assets.alerting.delivery.acknowledgements.enqueue_ack_update", killed)
        with pytest.raises(Killed):
            harness.poll()
    assert harness.events() == []
    assert harness.book.rows("alerts")[0].acknowledged_at is None, "all of it, or nothing"
    assert harness.poll() == AckPollResult()
    assert harness.poll(MINUTE) == AckPollResult(polled=1, acknowledged=1)
    harness.deliver()
    assert (len(harness.events()), harness.message().edits, harness.acknowledged()) == (1, 1, [ACKNOWLEDGED])


def test_two_concurrent_polls_record_it_once(harness: Harness, monkeypatch: pytest.MonkeyPatch):
    """Both processes had the same list of queries, and both had their response before either recorded it."""
    harness.opened()
    harness.acknowledge()
    monkeypatch.setattr("audit_assets.alerting.delivery.acknowledgements._claim", Mock(return_value=True))
    asks, others = PagerDutyIncidents.acknowledgement, list[AckPollResult]()

    def while_another_reads(incidents: PagerDutyIncidents, key: str) -> Any:
        if not others:
            others.append(AckPollResult())
            others[0] = harness.poll()
        return asks(incidents, key)

    monkeypatch.setattr(PagerDutyIncidents, "acknowledgement", while_another_reads)
    assert harness.poll() == AckPollResult(polled=1, acknowledged=0)
    assert others == [AckPollResult(polled=1, acknowledged=1)]
    harness.deliver()
    assert (len(harness.events()), harness.message().edits) == (1, 1)


def test_a_wrong_token_is_reported_once_with_the_fix_and_blocks_nothing(harness: Harness):
    harness.incidents = PagerDutyIncidents(SecretStr("wrong-sesame"), harness.fakes.events_url)
    harness.opened("chat")
    poll = harness.poll()
    assert poll.summary.startswith(
        "acknowledgements cannot be read: 401 Unauthorized; PAGERDUTY_API_TOKEN must be a read-only"
    )
    assert harness.poll(timedelta(seconds=15)) == replace(poll, polled=0), "it is reported for as long as it lasts"
    for _ in range(4):
        harness.poll(2 * MINUTE)
        harness.deliver()
    notices = [message.text for message in harness.fakes.messages() if "acknowledgements" in message.text]
    assert len(notices) == 1
    assert "PAGERDUTY_API_TOKEN must be a read-only REST API key" in notices[0]
    harness.at += QUARTER
    harness.judge()
    harness.deliver()
    assert [one.state for one in harness.fakes.incidents().values()] == ["resolved"]
    assert "sesame" not in str([harness.book.rows(name) for name in ("deliveries", "targets", "events", "alerts")])


def test_a_fixed_token_is_reported_and_acknowledgements_since_then_follow(sqlite_harness: Harness):
    harness = sqlite_harness
    harness.fakes.pagerduty.api_token = "another"
    harness.opened()
    harness.acknowledge()
    harness.poll()
    harness.fakes.pagerduty.api_token = None
    assert harness.poll(2 * MINUTE) == AckPollResult(polled=1, acknowledged=1)
    harness.deliver()
    texts = [message.text for message in harness.fakes.messages()]
    assert "AI audit alerts: acknowledgements are read from PagerDuty again" in texts


def test_unreadable_acknowledgements_do_not_page(sqlite_harness: Harness):
    harness = sqlite_harness
    harness.fakes.pagerduty.api_token = "another"
    harness.opened()
    harness.poll()
    harness.deliver()
    with harness.book.ledger.transaction() as connection:
        assert find_problems(connection, harness.at) == []


@pytest.mark.parametrize(
    "reply",
    [Reply(500, "no"), Reply(200, "<html>welcome</html>"), Reply(200, {"incidents": [{"acknowledgements": [1]}]})],
)
def test_a_temporary_failure_ends_the_round_and_backs_off(sqlite_harness: Harness, reply: Reply):
    harness = sqlite_harness
    harness.opened("chat", "search")
    harness.acknowledge()
    harness.fakes.next_replies[INCIDENTS_PATH].extend([reply] * 3)
    first = harness.poll()
    assert (first.polled, first.acknowledged, first.error is not None) == (1, 0, True)
    waits: list[timedelta] = []
    for _ in range(2):
        (target,) = [row for row in harness.book.rows("targets") if row.failures]
        waits.append(target.not_before - harness.at)
        harness.at = target.not_before
        assert harness.poll(MINUTE).polled == 1
    assert waits[1] > waits[0]
    assert harness.poll(MINUTE) == AckPollResult(polled=2, acknowledged=2)
    harness.deliver()
    assert harness.acknowledged() == [ACKNOWLEDGED]
    assert len(harness.fakes.messages()) == 1, "no message reports it"


def test_while_pagerduty_lists_nothing_alerts_are_sent(sqlite_harness: Harness):
    harness = sqlite_harness
    harness.opened("chat")
    harness.fakes.next_replies[INCIDENTS_PATH].append(Reply(429, "", {"Retry-After": "120"}))
    harness.poll()
    harness.at += MINUTE
    harness.judge("chat", "search")
    harness.deliver()
    assert len(harness.fakes.incidents()) == 2
    assert harness.poll().polled == 0, "it asked for two minutes"
    assert harness.poll(2 * MINUTE).polled == 2


def test_no_query_starts_when_the_time_is_up(sqlite_harness: Harness):
    sqlite_harness.opened("chat", "search")
    assert sqlite_harness.poll(budget=timedelta()) == AckPollResult()
    assert sqlite_harness.poll() == AckPollResult(polled=2), "what was not asked is still due"


class Waiting:
    """Open episodes of one group, each with an incident of its own."""

    def __init__(self, number: int) -> None:
        self.known: list[StoredAlert] = []
        self.keys = {f"key-{one:02}" for one in range(number)}
        for key in sorted(self.keys):
            self.known.append(StoredAlert(alert(SPIKE, key=key), "volume_spike", "group", NOON, in_summary=False))

    def ask(self, keys: list[str], at: datetime) -> None:
        self.known = [replace(one, asked_at=at) if one.alert.key in keys else one for one in self.known]


def test_more_incidents_than_fit_a_round_are_polled_in_turn():
    made = Waiting(50)
    seen: list[str] = []
    for second in range(0, 45, 15):
        polled = [one.key for one in due_queries(made.known, made.keys, NOON + timedelta(seconds=second))]
        made.ask(polled, NOON + timedelta(seconds=second))
        seen += polled
    assert len(seen) == len(set(seen)) == 50
    assert due_queries(made.known, made.keys, NOON + timedelta(seconds=59)) == []
    again = [one.key for one in due_queries(made.known, made.keys, NOON + MINUTE)]
    assert again == seen[:QUERIES_PER_ROUND]


def test_open_episodes_show_when_they_were_polled(harness: Harness):
    harness.opened()
    harness.poll(MINUTE)
    with harness.book.ledger.transaction() as connection:
        (one,) = open_episodes(connection)
    assert (one.asked_at, one.incident_key) == (harness.at, one.alert.key)
