"""From the ledger to the providers over real HTTP: every fault of the fault table that one process can show."""

import io
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console
from sqlalchemy import insert

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.senders import build_senders
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery import outbox, silences
from audit_assets.alerting.delivery.deliverer import DeliveryCounts, deliver
from audit_assets.alerting.delivery.silences import Silence, SilenceError
from audit_assets.alerting.ledger.tables import drills
from audit_assets_tests.alerting.ledger_factories import (
    NOON,
    OPS_CHANNEL,
    PAGER,
    QUARTER,
    WAITING,
    Book,
    episode,
    later,
    rule_result,
)
from tools.fakes.answering import Reply
from tools.fakes.providers import PAGERDUTY_PATH, FakeProviders

pytestmark = pytest.mark.requirement("R40", "R41")

POST = "/api/chat.postMessage"


@dataclass
class DeliveryHarness:
    """A ledger with a deliverer over the fakes; tests set its clock."""

    book: Book
    fakes: FakeProviders
    slack: SlackClient | None
    pagerduty: PagerDutyClient | None
    at: datetime = NOON
    console: Console = field(default_factory=lambda: Console(quiet=True))

    def deliver(self, after: timedelta = timedelta()) -> DeliveryCounts:
        self.at += after
        senders = build_senders(self.slack, self.pagerduty, self.console)
        return deliver(self.book.ledger, senders, self.book.routing, lambda: self.at)

    def opened(self, *capabilities: str, at: datetime | None = None) -> None:
        self.at = at or self.at
        crowd = [episode(name, 90.0 - number, at=self.at) for number, name in enumerate(capabilities or ("chat",))]
        self.book.record(rule_result(*crowd, at=self.at), now=self.at)

    def cleared(self, after: timedelta = QUARTER) -> None:
        self.at += after
        self.book.record(rule_result(at=self.at), now=self.at)

    def states(self) -> list[str]:
        return [one.state for one in self.fakes.incidents().values()]


@pytest.fixture
def harness(sqlite_book: Book, fakes: FakeProviders, slack: SlackClient, pagerduty: PagerDutyClient) -> DeliveryHarness:
    return DeliveryHarness(sqlite_book, fakes, slack, pagerduty)


def test_an_episode_is_one_incident_and_one_message_that_turns_green(harness: DeliveryHarness):
    harness.opened()
    assert harness.deliver().sent == 2
    (incident,) = harness.fakes.incidents().values()
    (message,) = harness.fakes.messages()
    assert (incident.state, incident.dedup_key) == ("open", harness.book.open()[0])
    assert message.content["attachments"][0]["color"] == "#7C3AED"
    harness.cleared()
    harness.deliver()
    (incident,) = harness.fakes.incidents().values()
    reading = harness.fakes.received()
    (message,), (reply,) = reading.posts, reading.replies
    assert (incident.state, incident.opened, incident.resolves) == ("resolved", 1, 1)
    assert (message.content["attachments"][0]["color"], message.edits) == ("#16A34A", 1)
    assert reply.thread_ts == message.ts
    assert "back to normal" in reply.text


def test_a_sent_message_is_not_sent_again(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    for step in range(1, 6):
        at = later(minutes=15 * step)
        harness.book.record(rule_result(episode(at=at, since=NOON - QUARTER), at=at), now=at)
        assert harness.deliver(QUARTER).sent == 0
    assert sum(harness.fakes.received().requests.values()) == 2


def test_an_alert_that_cleared_before_it_was_sent_is_not_sent(harness: DeliveryHarness):
    harness.opened()
    harness.cleared()
    assert harness.deliver().sent == 0
    assert not harness.fakes.received().requests


def test_one_provider_down_and_the_other_goes_on(harness: DeliveryHarness):
    harness.fakes.down = {"slack"}
    harness.opened()
    harness.deliver()
    assert harness.states() == ["open"]
    assert harness.fakes.messages() == []
    harness.fakes.down = set()
    harness.deliver(timedelta(minutes=10))
    assert len(harness.fakes.messages()) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_tried_again(harness: DeliveryHarness, status: int):
    harness.fakes.next_replies[PAGERDUTY_PATH].append(Reply(status, "no"))
    harness.opened()
    harness.deliver()
    assert harness.fakes.incidents() == {}
    harness.deliver(timedelta(seconds=1))
    assert harness.states() == ["open"]


def test_retry_after_is_waited_for_and_the_other_provider_is_not_held_up(harness: DeliveryHarness):
    harness.fakes.next_replies[PAGERDUTY_PATH].append(Reply(429, {"status": "throttled"}, {"Retry-After": "30"}))
    harness.opened()
    assert harness.deliver().sent == 1
    harness.deliver(timedelta(seconds=29))
    assert harness.fakes.incidents() == {}
    harness.deliver(timedelta(seconds=2))
    assert harness.states() == ["open"]


def test_refused_blocks_are_tried_once_more_as_plain_text(harness: DeliveryHarness):
    harness.fakes.next_replies[POST].append(Reply(200, {"ok": False, "error": "invalid_blocks"}))
    harness.opened()
    harness.deliver()
    (message,) = harness.fakes.messages()
    assert "attachments" not in message.content
    assert "Spike" in message.text


def test_a_message_refused_twice_is_given_up_and_reported_on_the_other_channel(harness: DeliveryHarness):
    harness.fakes.next_replies[PAGERDUTY_PATH].extend(
        [Reply(400, {"status": "invalid event", "message": "no", "errors": ["'summary' is wrong"]})] * 2
    )
    harness.opened()
    assert harness.deliver().dead == 1
    texts = [message.text for message in harness.fakes.messages()]
    assert any("was given up" in text and "volume_spike" in text for text in texts)
    assert harness.fakes.incidents() == {}


def test_a_deleted_message_does_not_page(harness: DeliveryHarness):
    harness.opened("chat", "search")
    harness.deliver()
    harness.fakes.slack.forget_messages = True
    harness.opened("chat", "search", "summary", at=NOON)
    harness.deliver(timedelta(minutes=1))
    harness.cleared()
    harness.deliver()
    assert {one.said for one in harness.book.rows("deliveries") if one.action in ("edit", "reply")} == {
        f"{word}: the message was deleted, or may not be changed" for word in ("message_not_found", "thread_not_found")
    }
    assert set(harness.states()) == {"resolved"}
    assert all("notice" not in one.dedup_key for one in harness.fakes.incidents().values())


def test_a_message_whose_channel_was_deleted_does_not_block_others(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    harness.fakes.slack.channels = {"#ai-copilot-ops": "C0ANOTHER1"}  # created again with the same name
    harness.cleared()
    harness.opened("search", at=harness.at + timedelta(hours=2))
    harness.deliver()
    assert {one.channel for one in harness.fakes.received().posts} == {"C0COPILOT1", "C0ANOTHER1"}
    assert sorted(harness.states()) == ["open", "resolved"]


def test_a_bad_token_is_reported_on_the_other_channel_and_all_messages_follow_once_it_is_fixed(
    harness: DeliveryHarness,
):
    harness.fakes.slack.bad_token = True
    harness.opened()
    harness.deliver()
    summaries = [one.summary for one in harness.fakes.incidents().values()]
    assert any("slack:#ai-copilot-ops" in text and "invalid_auth" in text for text in summaries)
    for _ in range(5):
        harness.deliver(timedelta(seconds=65))
    assert len(harness.fakes.incidents()) == 2, "reported once, and not at every attempt"
    harness.fakes.slack.bad_token = False
    harness.deliver(timedelta(seconds=65))
    assert len(harness.fakes.messages()) == 1
    harness.deliver(timedelta(seconds=65))
    assert sorted(harness.states()) == ["open", "resolved"], "the notice is resolved, the episode is not"


def test_an_invalid_response_is_not_sent(harness: DeliveryHarness):
    harness.fakes.next_replies[POST].append(Reply(200, "<html>welcome to the hotel</html>"))
    harness.opened()
    harness.deliver()
    assert harness.fakes.messages() == []
    harness.deliver(timedelta(seconds=2))
    assert len(harness.fakes.messages()) == 1


def kill_after_sending(harness: DeliveryHarness) -> None:
    """A deliverer that died between the provider's response and recording it, for every row."""
    senders = build_senders(harness.slack, harness.pagerduty, harness.console)
    while True:
        with harness.book.ledger.transaction() as connection:
            row = outbox.claim(connection, harness.at, "killed")
        if row is None:
            return
        assert senders[row.target.partition(":")[0]].send(row, None).kind == "sent"


def test_killed_after_both_accepted_it_there_is_one_incident_and_one_message(harness: DeliveryHarness):
    harness.opened()  # the channel's id is known from its first message on
    harness.deliver()
    harness.cleared()
    harness.deliver()
    harness.opened("a", "b", at=later(hours=2))
    kill_after_sending(harness)
    harness.deliver(timedelta(minutes=2))
    reading = harness.fakes.received()
    assert [one.opened for one in reading.incidents.values()] == [1, 1, 1]
    assert len(reading.posts) == 2, "the second was found again by its metadata"
    assert {status for _, status in harness.book.outbox()} == {"sent"}


def test_without_the_scope_to_read_the_channel_it_is_sent_at_least_once(harness: DeliveryHarness):
    harness.fakes.slack.missing_history_scope = True
    harness.opened()
    kill_after_sending(harness)
    harness.deliver(timedelta(minutes=2))
    assert len(harness.fakes.received().posts) == 2


def test_after_an_outage_of_a_day_messages_about_open_episodes_are_sent_and_no_others(harness: DeliveryHarness):
    harness.fakes.down = {"slack", "pagerduty"}
    harness.opened("over", "lasting")
    for _ in range(23):
        harness.deliver(timedelta(hours=1))
    harness.book.record(
        rule_result(episode("lasting", at=harness.at, since=NOON - QUARTER), at=harness.at), now=harness.at
    )
    harness.fakes.down = set()
    for _ in range(3):
        harness.deliver(timedelta(minutes=6))
    incidents = harness.fakes.incidents()
    (message,) = harness.fakes.received().posts
    assert [one.event["payload"]["component"] for one in incidents.values()] == ["lasting"]
    assert "lasting" in message.text


def test_five_hundred_at_once_are_one_message_and_twenty_five_pages(harness: DeliveryHarness):
    harness.opened(*(f"capability-{number}" for number in range(500)))
    for _ in range(3):
        harness.deliver(timedelta(minutes=1))
    assert len(harness.fakes.received().posts) == 1
    assert len(harness.fakes.incidents()) == 25
    assert any("476" in one.summary for one in harness.fakes.incidents().values())
    harness.cleared()
    for _ in range(3):
        harness.deliver(timedelta(minutes=1))
    assert set(harness.states()) == {"resolved"}
    assert harness.fakes.received().posts[0].content["attachments"][0]["color"] == "#16A34A"


def test_a_summary_that_was_closed_and_is_needed_again_is_closed_again(harness: DeliveryHarness):
    steady = [f"steady-{number}" for number in range(24)]
    first = [episode(name, 90.0 - number, at=harness.at) for number, name in enumerate(steady)]

    def judge(*crowd: str) -> None:
        harness.at += timedelta(minutes=5)
        now = [episode(name, 20.0, at=harness.at) for name in crowd]
        harness.book.record(rule_result(*first, *now, at=harness.at), now=harness.at)
        harness.deliver(timedelta(seconds=30))

    judge()
    for crowd in (["one"], [], ["two"], [], []):
        judge(*crowd)
    (summary,) = [one for key, one in harness.fakes.incidents().items() if key.endswith("/summary")]
    assert (summary.opened, summary.resolves, summary.state) == (2, 2, "resolved")
    assert harness.states().count("open") == 24


def silenced(harness: DeliveryHarness, **which: str) -> int:
    wanted = {"rule_id": None, "capability": None, "environment": None, **which}
    asked = Silence(
        0,
        **wanted,
        starts_at=harness.at,
        ends_at=harness.at + timedelta(hours=2),
        reason="a move",
        created_by="x",
    )
    with harness.book.ledger.transaction() as connection:
        return silences.silence(connection, asked, harness.at)


def test_a_silenced_alert_is_sent_after_the_silence_if_it_still_fires(harness: DeliveryHarness):
    silenced(harness, capability="chat")
    harness.opened()
    assert (harness.deliver().suppressed, harness.fakes.messages()) == (2, [])
    harness.deliver(timedelta(hours=2))
    assert (len(harness.fakes.messages()), harness.states()) == (1, ["open"])


def test_an_episode_that_ended_during_a_silence_is_not_sent(harness: DeliveryHarness):
    silenced(harness, rule_id="volume_spike")
    harness.opened()
    harness.deliver()
    harness.cleared()
    harness.deliver(timedelta(hours=3))
    assert not harness.fakes.received().requests


def test_an_alert_sent_before_a_silence_is_still_resolved(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    silenced(harness, rule_id="volume_spike")
    harness.cleared()
    harness.deliver()
    assert harness.states() == ["resolved"]


def test_a_silence_that_is_lifted_releases_the_suppressed_messages(harness: DeliveryHarness):
    made = silenced(harness, environment="live")
    harness.opened()
    harness.deliver()
    with harness.book.ledger.transaction() as connection:
        silences.unsilence(connection, made, harness.at)
    harness.deliver(timedelta(seconds=1))
    assert harness.states() == ["open"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rule_id": None}, "it would silence everything"),
        ({"ends_at": NOON}, "end before it starts"),
        ({"reason": " "}, "reason is required"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(sqlite_book: Book, change: dict[str, object], text: str):
    asked = Silence(0, "volume_spike", None, None, NOON, later(hours=1), "a move", "x")
    with pytest.raises(SilenceError, match=text), sqlite_book.ledger.transaction() as connection:
        silences.silence(connection, replace(asked, **change), NOON)


@pytest.mark.requirement("R39")
def test_nobody_is_paged_before_a_drill_has_passed(harness: DeliveryHarness):
    harness.book.routing = WAITING
    harness.opened()
    harness.deliver()
    assert (harness.states(), len(harness.fakes.messages())) == ([], 1)
    passed = {"id": "d1", "drill": "spike", "rule_id": "volume_spike", "capability": "drill-d1", "began_at": NOON}
    with harness.book.ledger.transaction() as connection:
        connection.execute(insert(drills).values(**passed, told=2, passed=True))
    harness.deliver(timedelta(seconds=1))
    assert harness.states() == ["open"]


@pytest.mark.requirement("R39")
def test_a_drill_is_delivered_and_marked_as_a_drill(harness: DeliveryHarness):
    harness.book.routing = WAITING
    harness.book.record(rule_result(episode("drill-1", environment="sim")))
    harness.deliver()
    (incident,) = harness.fakes.incidents().values()
    (message,) = harness.fakes.messages()
    assert incident.summary.startswith("[DRILL]")
    assert incident.event["payload"]["group"] == "sim"
    assert "[DRILL]" in message.text


def test_console_messages_are_not_looked_for_in_slack_once_there_is_a_token(harness: DeliveryHarness):
    slack, harness.slack = harness.slack, None
    harness.opened()
    harness.deliver()
    harness.slack = slack
    harness.cleared()
    assert harness.deliver().dead == 0
    assert harness.fakes.messages() == []
    harness.opened(at=later(hours=3))
    harness.deliver()
    assert len(harness.fakes.messages()) == 1


def test_without_tokens_everything_is_written_to_the_console(harness: DeliveryHarness):
    harness.slack = harness.pagerduty = None
    harness.console = Console(record=True, width=200, file=io.StringIO())
    harness.opened()
    assert harness.deliver().sent == 2
    text = harness.console.export_text()
    assert f"→ {OPS_CHANNEL} post: " in text
    assert f"→ {PAGER} trigger: " in text
    assert not harness.fakes.received().requests


def test_a_log_that_holds_ascii_alone_loses_no_message(harness: DeliveryHarness):
    harness.slack = harness.pagerduty = None
    log = io.BytesIO()
    harness.console = Console(file=io.TextIOWrapper(log, encoding="ascii"), width=100)
    harness.opened()
    assert harness.deliver().sent == 2
    assert b"slack:#ai-copilot-ops post: AI Copilot Audit Spike" in log.getvalue()
