"""From the ledger to the providers over real HTTP: every row of the fault table that one process can show."""

import io
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console
from sqlalchemy import insert

from audit_assets.alerting import outbox, silences
from audit_assets.alerting.deliverer import Delivered, deliver
from audit_assets.alerting.ledger import drills
from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.senders import senders_of
from audit_assets.alerting.silences import Silence, SilenceError
from audit_assets.alerting.slack_client import SlackClient
from audit_assets_tests.alerting.made_ledger import (
    NOON,
    OPS_CHANNEL,
    PAGER,
    QUARTER,
    WAITING,
    Book,
    episode,
    judged,
    later,
)
from audit_assets_tests.fakes.answering import Reply
from audit_assets_tests.fakes.providers import PAGERDUTY_PATH, FakeProviders

pytestmark = pytest.mark.requirement("R40", "R41")

POST = "/api/chat.postMessage"


@dataclass
class Post:
    """A ledger with a deliverer over the fakes; its clock goes where tests put it."""

    book: Book
    fakes: FakeProviders
    slack: SlackClient | None
    pagerduty: PagerDutyClient | None
    at: datetime = NOON
    console: Console = field(default_factory=lambda: Console(quiet=True))

    def deliver(self, after: timedelta = timedelta()) -> Delivered:
        self.at += after
        senders = senders_of(self.slack, self.pagerduty, self.console)
        return deliver(self.book.ledger, senders, self.book.routing, lambda: self.at)

    def opened(self, *capabilities: str, at: datetime | None = None) -> None:
        self.at = at or self.at
        crowd = [episode(name, 90.0 - number, at=self.at) for number, name in enumerate(capabilities or ("chat",))]
        self.book.record(judged(*crowd, at=self.at), now=self.at)

    def cleared(self, after: timedelta = QUARTER) -> None:
        self.at += after
        self.book.record(judged(at=self.at), now=self.at)

    def states(self) -> list[str]:
        return [one.state for one in self.fakes.incidents().values()]


@pytest.fixture
def post(sqlite_book: Book, fakes: FakeProviders, slack: SlackClient, pagerduty: PagerDutyClient) -> Post:
    return Post(sqlite_book, fakes, slack, pagerduty)


def test_an_episode_is_one_incident_and_one_message_that_turns_green(post: Post):
    post.opened()
    assert post.deliver().sent == 2
    (incident,) = post.fakes.incidents().values()
    (message,) = post.fakes.messages()
    assert (incident.state, incident.dedup_key) == ("open", post.book.open()[0])
    assert message.content["attachments"][0]["color"] == "#7C3AED"
    post.cleared()
    post.deliver()
    (incident,) = post.fakes.incidents().values()
    reading = post.fakes.reading()
    (message,), (reply,) = reading.posts, reading.replies
    assert (incident.state, incident.opened, incident.resolves) == ("resolved", 1, 1)
    assert (message.content["attachments"][0]["color"], message.edits) == ("#16A34A", 1)
    assert reply.thread_ts == message.ts
    assert "back to normal" in reply.text


def test_what_is_told_is_not_told_again(post: Post):
    post.opened()
    post.deliver()
    for step in range(1, 6):
        at = later(minutes=15 * step)
        post.book.record(judged(episode(at=at, since=NOON - QUARTER), at=at), now=at)
        assert post.deliver(QUARTER).sent == 0
    assert sum(post.fakes.reading().requests.values()) == 2


def test_a_blip_that_cleared_before_it_was_sent_is_not_sent(post: Post):
    post.opened()
    post.cleared()
    assert post.deliver().sent == 0
    assert not post.fakes.reading().requests


def test_one_provider_down_and_the_other_goes_on(post: Post):
    post.fakes.down = {"slack"}
    post.opened()
    post.deliver()
    assert post.states() == ["open"]
    assert post.fakes.messages() == []
    post.fakes.down = set()
    post.deliver(timedelta(minutes=10))
    assert len(post.fakes.messages()) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_tried_again(post: Post, status: int):
    post.fakes.next_answers[PAGERDUTY_PATH].append(Reply(status, "no"))
    post.opened()
    post.deliver()
    assert post.fakes.incidents() == {}
    post.deliver(timedelta(seconds=1))
    assert post.states() == ["open"]


def test_retry_after_is_waited_for_and_the_other_provider_is_not_held_up(post: Post):
    post.fakes.next_answers[PAGERDUTY_PATH].append(Reply(429, {"status": "throttled"}, {"Retry-After": "30"}))
    post.opened()
    assert post.deliver().sent == 1
    post.deliver(timedelta(seconds=29))
    assert post.fakes.incidents() == {}
    post.deliver(timedelta(seconds=2))
    assert post.states() == ["open"]


def test_refused_blocks_are_tried_once_more_as_plain_text(post: Post):
    post.fakes.next_answers[POST].append(Reply(200, {"ok": False, "error": "invalid_blocks"}))
    post.opened()
    post.deliver()
    (message,) = post.fakes.messages()
    assert "attachments" not in message.content
    assert "Spike" in message.text


def test_what_is_refused_twice_is_given_up_and_told_on_the_other_channel(post: Post):
    post.fakes.next_answers[PAGERDUTY_PATH].extend(
        [Reply(400, {"status": "invalid event", "message": "no", "errors": ["'summary' is wrong"]})] * 2
    )
    post.opened()
    assert post.deliver().dead == 1
    texts = [message.text for message in post.fakes.messages()]
    assert any("was given up" in text and "volume_spike" in text for text in texts)
    assert post.fakes.incidents() == {}


def test_a_message_that_somebody_deleted_wakes_nobody(post: Post):
    post.opened("chat", "search")
    post.deliver()
    post.fakes.slack.forget_messages = True
    post.opened("chat", "search", "summary", at=NOON)
    post.deliver(timedelta(minutes=1))
    post.cleared()
    post.deliver()
    assert {one.said for one in post.book.rows("deliveries") if one.action in ("edit", "reply")} == {
        f"{word}: the message was deleted, or may not be changed" for word in ("message_not_found", "thread_not_found")
    }
    assert set(post.states()) == {"resolved"}
    assert all("notice" not in one.dedup_key for one in post.fakes.incidents().values())


def test_a_message_whose_channel_is_gone_holds_nothing_up(post: Post):
    post.opened()
    post.deliver()
    post.fakes.slack.channels = {"#ai-copilot-ops": "C0ANOTHER1"}  # made anew, under the same name
    post.cleared()
    post.opened("search", at=post.at + timedelta(hours=2))
    post.deliver()
    assert {one.channel for one in post.fakes.reading().posts} == {"C0COPILOT1", "C0ANOTHER1"}
    assert sorted(post.states()) == ["open", "resolved"]


def test_a_bad_token_is_told_on_the_other_channel_and_all_follows_once_it_is_mended(post: Post):
    post.fakes.slack.bad_token = True
    post.opened()
    post.deliver()
    summaries = [one.summary for one in post.fakes.incidents().values()]
    assert any("slack:#ai-copilot-ops" in said and "invalid_auth" in said for said in summaries)
    for _ in range(5):
        post.deliver(timedelta(seconds=65))
    assert len(post.fakes.incidents()) == 2, "said once, and not at every attempt"
    post.fakes.slack.bad_token = False
    post.deliver(timedelta(seconds=65))
    assert len(post.fakes.messages()) == 1
    post.deliver(timedelta(seconds=65))
    assert sorted(post.states()) == ["open", "resolved"], "the notice is over, the episode is not"


def test_an_answer_that_is_no_answer_is_not_sent(post: Post):
    post.fakes.next_answers[POST].append(Reply(200, "<html>welcome to the hotel</html>"))
    post.opened()
    post.deliver()
    assert post.fakes.messages() == []
    post.deliver(timedelta(seconds=2))
    assert len(post.fakes.messages()) == 1


def killed_after_taking(post: Post) -> None:
    """A deliverer that died between the provider's answer and its note of it, for every row."""
    senders = senders_of(post.slack, post.pagerduty, post.console)
    while True:
        with post.book.ledger.transaction() as connection:
            row = outbox.claim(connection, post.at, "killed")
        if row is None:
            return
        assert senders[row.target.partition(":")[0]].send(row, None).kind == "sent"


def test_killed_after_both_took_it_there_is_one_incident_and_one_message(post: Post):
    post.opened()  # the channel's id is known from its first message on
    post.deliver()
    post.cleared()
    post.deliver()
    post.opened("a", "b", at=later(hours=2))
    killed_after_taking(post)
    post.deliver(timedelta(minutes=2))
    reading = post.fakes.reading()
    assert [one.opened for one in reading.incidents.values()] == [1, 1, 1]
    assert len(reading.posts) == 2, "the second was found again by its metadata"
    assert {status for _, status in post.book.outbox()} == {"sent"}


def test_without_the_scope_to_read_the_channel_it_is_told_at_least_once(post: Post):
    post.fakes.slack.missing_history_scope = True
    post.opened()
    killed_after_taking(post)
    post.deliver(timedelta(minutes=2))
    assert len(post.fakes.reading().posts) == 2


def test_an_outage_of_a_day_ends_with_all_told_that_still_holds_and_nothing_that_is_over(post: Post):
    post.fakes.down = {"slack", "pagerduty"}
    post.opened("over", "lasting")
    for _ in range(23):
        post.deliver(timedelta(hours=1))
    post.book.record(judged(episode("lasting", at=post.at, since=NOON - QUARTER), at=post.at), now=post.at)
    post.fakes.down = set()
    for _ in range(3):
        post.deliver(timedelta(minutes=6))
    incidents = post.fakes.incidents()
    (message,) = post.fakes.reading().posts
    assert [one.event["payload"]["component"] for one in incidents.values()] == ["lasting"]
    assert "lasting" in message.text


def test_five_hundred_at_once_are_one_message_and_twenty_five_pages(post: Post):
    post.opened(*(f"capability-{number}" for number in range(500)))
    for _ in range(3):
        post.deliver(timedelta(minutes=1))
    assert len(post.fakes.reading().posts) == 1
    assert len(post.fakes.incidents()) == 25
    assert any("476" in one.summary for one in post.fakes.incidents().values())
    post.cleared()
    for _ in range(3):
        post.deliver(timedelta(minutes=1))
    assert set(post.states()) == {"resolved"}
    assert post.fakes.reading().posts[0].content["attachments"][0]["color"] == "#16A34A"


def test_a_summary_that_was_closed_and_is_needed_again_is_closed_again(post: Post):
    steady = [f"steady-{number}" for number in range(24)]
    first = [episode(name, 90.0 - number, at=post.at) for number, name in enumerate(steady)]

    def judge(*crowd: str) -> None:
        post.at += timedelta(minutes=5)
        now = [episode(name, 20.0, at=post.at) for name in crowd]
        post.book.record(judged(*first, *now, at=post.at), now=post.at)
        post.deliver(timedelta(seconds=30))

    judge()
    for crowd in (["one"], [], ["two"], [], []):
        judge(*crowd)
    (summary,) = [one for key, one in post.fakes.incidents().items() if key.endswith("/summary")]
    assert (summary.opened, summary.resolves, summary.state) == (2, 2, "resolved")
    assert post.states().count("open") == 24


def silenced(post: Post, **which: str) -> int:
    wanted = {"rule_id": None, "capability": None, "environment": None, **which}
    asked = Silence(
        0, **wanted, starts_at=post.at, ends_at=post.at + timedelta(hours=2), reason="a move", created_by="x"
    )
    with post.book.ledger.transaction() as connection:
        return silences.silence(connection, asked, post.at)


def test_what_is_silenced_is_told_when_the_silence_is_over_and_it_still_fires(post: Post):
    silenced(post, capability="chat")
    post.opened()
    assert (post.deliver().held, post.fakes.messages()) == (2, [])
    post.deliver(timedelta(hours=2))
    assert (len(post.fakes.messages()), post.states()) == (1, ["open"])


def test_what_ended_in_its_silence_is_told_to_nobody(post: Post):
    silenced(post, rule_id="volume_spike")
    post.opened()
    post.deliver()
    post.cleared()
    post.deliver(timedelta(hours=3))
    assert not post.fakes.reading().requests


def test_what_was_told_before_a_silence_is_still_told_to_be_over(post: Post):
    post.opened()
    post.deliver()
    silenced(post, rule_id="volume_spike")
    post.cleared()
    post.deliver()
    assert post.states() == ["resolved"]


def test_a_silence_that_is_lifted_lets_what_it_held_go(post: Post):
    made = silenced(post, environment="live")
    post.opened()
    post.deliver()
    with post.book.ledger.transaction() as connection:
        silences.unsilence(connection, made, post.at)
    post.deliver(timedelta(seconds=1))
    assert post.states() == ["open"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule_id": None}, "it would silence everything"),
        ({"ends_at": NOON}, "over before it begins"),
        ({"reason": " "}, "say why"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(sqlite_book: Book, change: dict[str, object], said: str):
    asked = Silence(0, "volume_spike", None, None, NOON, later(hours=1), "a move", "x")
    with pytest.raises(SilenceError, match=said), sqlite_book.ledger.transaction() as connection:
        silences.silence(connection, replace(asked, **change), NOON)  # type: ignore[arg-type]


@pytest.mark.requirement("R39")
def test_nobody_is_woken_before_a_drill_is_on_record(post: Post):
    post.book.routing = WAITING
    post.opened()
    post.deliver()
    assert (post.states(), len(post.fakes.messages())) == ([], 1)
    passed = {"id": "d1", "drill": "spike", "rule_id": "volume_spike", "capability": "drill-d1", "began_at": NOON}
    with post.book.ledger.transaction() as connection:
        connection.execute(insert(drills).values(**passed, told=2, passed=True))
    post.deliver(timedelta(seconds=1))
    assert post.states() == ["open"]


@pytest.mark.requirement("R39")
def test_a_drill_itself_is_delivered_and_says_that_it_is_one(post: Post):
    post.book.routing = WAITING
    post.book.record(judged(episode("drill-1", environment="sim")))
    post.deliver()
    (incident,) = post.fakes.incidents().values()
    (message,) = post.fakes.messages()
    assert incident.summary.startswith("[DRILL]")
    assert incident.event["payload"]["group"] == "sim"
    assert "[DRILL]" in message.text


def test_what_was_said_on_the_console_is_not_looked_for_at_slack_once_there_is_a_token(post: Post):
    slack, post.slack = post.slack, None
    post.opened()
    post.deliver()
    post.slack = slack
    post.cleared()
    assert post.deliver().dead == 0
    assert post.fakes.messages() == []
    post.opened(at=later(hours=3))
    post.deliver()
    assert len(post.fakes.messages()) == 1


def test_without_tokens_all_is_said_on_the_console(post: Post):
    post.slack = post.pagerduty = None
    post.console = Console(record=True, width=200, file=io.StringIO())
    post.opened()
    assert post.deliver().sent == 2
    said = post.console.export_text()
    assert f"→ {OPS_CHANNEL} post: " in said
    assert f"→ {PAGER} trigger: " in said
    assert not post.fakes.reading().requests


def test_a_log_that_holds_ascii_alone_loses_no_message(post: Post):
    post.slack = post.pagerduty = None
    log = io.BytesIO()
    post.console = Console(file=io.TextIOWrapper(log, encoding="ascii"), width=100)
    post.opened()
    assert post.deliver().sent == 2
    assert b"slack:#ai-copilot-ops post: AI Copilot Audit Spike" in log.getvalue()
