"""Who took an incident: from PagerDuty over real HTTP into the ledger, on SQLite and Postgres, and on to Slack."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from audit_assets.alerting.acknowledgements import ReadBack, read_back
from audit_assets.alerting.asking import AT_ONCE, questions
from audit_assets.alerting.deliverer import SENSOR_BUDGET, deliver
from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.pagerduty_incidents import PagerDutyIncidents
from audit_assets.alerting.record import OnRecord, open_episodes
from audit_assets.alerting.senders import senders_of
from audit_assets.alerting.slack_client import SlackClient
from audit_assets.alerting.watchdog import troubles
from audit_assets_tests.alerting.made_ledger import NOON, QUARTER, SPIKE, Book, episode, judged
from audit_assets_tests.alerting.telling import told
from audit_assets_tests.fakes.answering import Reply
from audit_assets_tests.fakes.providers import INCIDENTS_PATH, FakeProviders
from audit_assets_tests.fakes.reading import Message

pytestmark = pytest.mark.requirement("R40", "R41")

MINUTE = timedelta(minutes=1)
SHOWN = "Acknowledged by `Ada Lovelace` at 12:03 UTC"


@dataclass
class Desk:
    """A ledger whose rows go to the fakes and whose incidents are asked about; its clock goes where tests put it."""

    book: Book
    fakes: FakeProviders
    slack: SlackClient | None
    pagerduty: PagerDutyClient | None
    incidents: PagerDutyIncidents
    at: datetime = NOON
    console: Console = field(default_factory=lambda: Console(quiet=True))

    def deliver(self) -> None:
        senders = senders_of(self.slack, self.pagerduty, self.console)
        deliver(self.book.ledger, senders, self.book.routing, lambda: self.at)

    def judge(self, *capabilities: str, value: float = 90.0) -> None:
        crowd = [episode(name, value - n, at=self.at, since=NOON - QUARTER) for n, name in enumerate(capabilities)]
        self.book.record(judged(*crowd, at=self.at), now=self.at)

    def told(self, *capabilities: str) -> None:
        """Episodes that open and are told to both."""
        self.judge(*(capabilities or ("chat",)))
        self.deliver()

    def take(self, *keys: str, by: str = "Ada Lovelace") -> None:
        for key in keys or self.book.open():
            self.fakes.pagerduty.acknowledge(key, by, NOON + 3 * MINUTE)

    def read(self, after: timedelta = timedelta(), budget: timedelta = SENSOR_BUDGET) -> ReadBack:
        self.at += after
        return read_back(self.book.ledger, self.incidents, self.book.routing, lambda: self.at, until=self.at + budget)

    def asked(self) -> list[str]:
        return [body["incident_key"][0] for path, body in self.fakes.bodies if path == INCIDENTS_PATH]

    def message(self) -> Message:
        (message,) = self.fakes.reading().posts
        return message

    def taken(self) -> list[str]:
        """What the message at Slack says of who took what."""
        *blocks, _ = self.message().content["attachments"][0]["blocks"]
        return [element["text"] for block in blocks if block["type"] == "context" for element in block["elements"]]

    def events(self) -> list[Any]:
        return [row for row in self.book.rows("events") if row.kind == "acknowledged"]


@pytest.fixture
def desk(
    book: Book, fakes: FakeProviders, slack: SlackClient, pagerduty: PagerDutyClient, incidents: PagerDutyIncidents
) -> Desk:
    return Desk(book, fakes, slack, pagerduty, incidents)


@pytest.fixture
def sqlite_desk(
    sqlite_book: Book,
    fakes: FakeProviders,
    slack: SlackClient,
    pagerduty: PagerDutyClient,
    incidents: PagerDutyIncidents,
) -> Desk:
    """Where it is not the database that is in question."""
    return Desk(sqlite_book, fakes, slack, pagerduty, incidents)


def test_who_took_it_is_one_event_and_one_edit_of_the_message(desk: Desk):
    desk.told()
    before = desk.message()
    desk.take()
    assert desk.read(MINUTE) == ReadBack(asked=1, acknowledged=1)
    (row,) = desk.book.rows("alerts")
    assert (row.acknowledged_at, row.acknowledged_by) == (NOON + 3 * MINUTE, "Ada Lovelace")
    (event,) = desk.events()
    assert (event.key, event.at, event.said) == (row.key, NOON + 3 * MINUTE, "by Ada Lovelace")
    desk.deliver()
    after = desk.message()
    assert (after.edits, desk.taken()) == (1, [SHOWN])
    assert after.text == before.text
    blocks = after.content["attachments"][0]["blocks"]
    assert [*blocks[:-2], blocks[-1]] == before.content["attachments"][0]["blocks"], "all else stays as it was"


def test_what_is_taken_is_not_asked_about_again(desk: Desk):
    desk.told()
    desk.take()
    for _ in range(5):
        desk.read(MINUTE)
        desk.deliver()
    assert (len(desk.asked()), len(desk.events()), desk.message().edits) == (1, 1, 1)


def test_one_incident_is_asked_about_once_a_minute(desk: Desk):
    desk.told()
    assert desk.read() == ReadBack(asked=1)
    assert desk.read(timedelta(seconds=59)) == ReadBack()
    assert desk.read(timedelta(seconds=1)) == ReadBack(asked=1)
    assert desk.asked() == desk.book.open() * 2


def test_later_edits_keep_who_took_it_and_so_does_the_end(desk: Desk):
    desk.told("chat")
    desk.take()
    desk.read()
    desk.deliver()
    desk.at += QUARTER
    desk.judge("chat", "search")
    desk.deliver()
    assert desk.taken() == [f"{SHOWN}: `chat`"], "not all of the message is taken now"
    assert "search" in str(desk.message().content)
    desk.at += QUARTER
    desk.judge()
    desk.deliver()
    assert desk.message().content["attachments"][0]["color"] == "#16A34A"
    assert desk.taken() == [f"{SHOWN}: `chat`"]
    assert {row.acknowledged_by for row in desk.book.rows("alerts")} == {"Ada Lovelace", None}


def test_two_who_take_two_are_two_lines_and_the_second_edit_replaces_the_first(desk: Desk):
    desk.told("chat", "search")
    one, two = desk.book.open()
    desk.take(one)
    desk.read()
    desk.take(two, by="Grace")
    desk.read(MINUTE)
    desk.deliver()
    assert desk.message().edits == 1, "the first was not seen by anybody"
    names = {row.key: f"`{row.dimensions.split(chr(34))[3]}`" for row in desk.book.rows("alerts")}
    assert sorted(desk.taken()) == [f"{SHOWN}: {names[one]}", f"Acknowledged by `Grace` at 12:03 UTC: {names[two]}"]


def test_the_summary_stands_for_all_that_have_no_incident_of_their_own(desk: Desk):
    desk.told(*(f"capability-{number:02}" for number in range(40)))
    (summary,) = [key for key in desk.fakes.incidents() if key.endswith("/summary")]
    desk.take(summary)
    rounds = [desk.read(), desk.read()]
    assert [one.asked for one in rounds] == [AT_ONCE, 5]
    assert sum(one.acknowledged for one in rounds) == 16
    assert len(set(desk.asked())) == 25
    assert len(desk.events()) == 16
    desk.deliver()
    (line,) = desk.taken()
    assert line.startswith(f"{SHOWN}: `capability-24`, ")
    assert line.endswith(" and 13 more")


def test_what_was_not_sent_to_pagerduty_is_not_asked_about(sqlite_desk: Desk):
    desk = sqlite_desk
    desk.fakes.down = {"pagerduty"}
    desk.told()
    desk.fakes.down = set()
    assert desk.read() == ReadBack()
    desk.pagerduty = None  # said on the console
    desk.at += MINUTE
    desk.deliver()
    assert ("trigger", "sent") in desk.book.outbox()
    assert desk.read(MINUTE) == ReadBack()


def test_what_is_over_is_not_asked_about(sqlite_desk: Desk):
    sqlite_desk.told()
    sqlite_desk.at += QUARTER
    sqlite_desk.judge()
    assert sqlite_desk.read() == ReadBack()


def test_a_message_that_was_not_sent_yet_says_it_from_the_start(sqlite_desk: Desk):
    desk = sqlite_desk
    desk.fakes.next_answers["/api/chat.postMessage"].append(Reply(429, "", {"Retry-After": "60"}))
    desk.told()
    desk.take()
    desk.read(MINUTE)
    desk.deliver()
    assert (desk.message().edits, desk.taken()) == (0, [SHOWN])


def test_a_message_without_blocks_says_it_too(sqlite_desk: Desk):
    desk = sqlite_desk
    refusal = Reply(200, {"ok": False, "error": "invalid_blocks"})
    desk.fakes.next_answers["/api/chat.postMessage"].append(refusal)
    desk.told()
    desk.take()
    desk.read()
    desk.deliver()
    lines = desk.message().text.splitlines()
    assert (lines.count(SHOWN), lines[-1]) == (1, SHOWN)


@pytest.mark.requirement("R42")
def test_a_name_from_outside_neither_formats_nor_mentions(sqlite_desk: Desk):
    desk = sqlite_desk
    desk.told()
    desk.take(by="*x*_<!channel> <https://evil.example|ok> `z` :fire:\nAcknowledged by\u202e\x00")
    desk.read()
    desk.deliver()
    (line,) = desk.taken()
    assert line.startswith(
        "Acknowledged by `*x*_&lt;!channel&gt; &lt;https://evil.example|ok&gt; ˋzˋ :fire:\\x0aAcknowledged by"
    )
    assert line.endswith(" at 12:03 UTC")


def test_killed_between_asking_and_writing_it_is_asked_a_minute_later_and_told_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    desk.told()
    desk.take()
    with monkeypatch.context() as patch:
        patch.setattr("audit_assets.alerting.acknowledgements.tell_taken", killed)
        with pytest.raises(Killed):
            desk.read()
    assert desk.events() == []
    assert desk.book.rows("alerts")[0].acknowledged_at is None, "all of it, or nothing"
    assert desk.read() == ReadBack()
    assert desk.read(MINUTE) == ReadBack(asked=1, acknowledged=1)
    desk.deliver()
    assert (len(desk.events()), desk.message().edits, desk.taken()) == (1, 1, [SHOWN])


def test_two_who_read_at_once_write_it_once(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """The other had read the same list of what to ask, and both had their answer before either wrote it."""
    desk.told()
    desk.take()
    monkeypatch.setattr("audit_assets.alerting.acknowledgements._is_mine", lambda *_: True)
    asks, others = PagerDutyIncidents.acknowledgement, list[ReadBack]()

    def while_another_reads(incidents: PagerDutyIncidents, key: str) -> Any:
        if not others:
            others.append(ReadBack())
            others[0] = desk.read()
        return asks(incidents, key)

    monkeypatch.setattr(PagerDutyIncidents, "acknowledgement", while_another_reads)
    assert desk.read() == ReadBack(asked=1, acknowledged=0)
    assert others == [ReadBack(asked=1, acknowledged=1)]
    desk.deliver()
    assert (len(desk.events()), desk.message().edits) == (1, 1)


def test_a_wrong_token_is_told_once_with_its_mend_and_holds_nothing_up(desk: Desk):
    desk.incidents = PagerDutyIncidents(SecretStr("wrong-sesame"), desk.fakes.events_url)
    desk.told("chat")
    read = desk.read()
    assert read.said.startswith(
        "acknowledgements cannot be read: 401 Unauthorized; PAGERDUTY_API_TOKEN takes a read-only"
    )
    assert desk.read(timedelta(seconds=15)) == replace(read, asked=0), "it is said for as long as it lasts"
    for _ in range(4):
        desk.read(2 * MINUTE)
        desk.deliver()
    notices = [message.text for message in desk.fakes.messages() if "acknowledgements" in message.text]
    assert len(notices) == 1
    assert "PAGERDUTY_API_TOKEN takes a read-only REST API key" in notices[0]
    desk.at += QUARTER
    desk.judge()
    desk.deliver()
    assert [one.state for one in desk.fakes.incidents().values()] == ["resolved"]
    assert "sesame" not in str([desk.book.rows(name) for name in ("deliveries", "targets", "events", "alerts")])


def test_a_token_that_was_mended_is_told_and_what_was_taken_meanwhile_follows(sqlite_desk: Desk):
    desk = sqlite_desk
    desk.fakes.pagerduty.api_token = "another"
    desk.told()
    desk.take()
    desk.read()
    desk.fakes.pagerduty.api_token = None
    assert desk.read(2 * MINUTE) == ReadBack(asked=1, acknowledged=1)
    desk.deliver()
    texts = [message.text for message in desk.fakes.messages()]
    assert "AI audit alerts: acknowledgements are read back from PagerDuty again" in texts


def test_nobody_is_woken_because_acknowledgements_cannot_be_read(sqlite_desk: Desk):
    desk = sqlite_desk
    desk.fakes.pagerduty.api_token = "another"
    desk.told()
    desk.read()
    desk.deliver()
    with desk.book.ledger.transaction() as connection:
        assert troubles(connection, desk.at) == []


@pytest.mark.parametrize(
    "reply",
    [Reply(500, "no"), Reply(200, "<html>welcome</html>"), Reply(200, {"incidents": [{"acknowledgements": [1]}]})],
)
def test_what_passes_by_itself_ends_the_round_and_is_asked_again_ever_later(sqlite_desk: Desk, reply: Reply):
    desk = sqlite_desk
    desk.told("chat", "search")
    desk.take()
    desk.fakes.next_answers[INCIDENTS_PATH].extend([reply] * 3)
    first = desk.read()
    assert (first.asked, first.acknowledged, first.trouble is not None) == (1, 0, True)
    waits: list[timedelta] = []
    for _ in range(2):
        (target,) = [row for row in desk.book.rows("targets") if row.failures]
        waits.append(target.not_before - desk.at)
        desk.at = target.not_before
        assert desk.read(MINUTE).asked == 1
    assert waits[1] > waits[0]
    assert desk.read(MINUTE) == ReadBack(asked=2, acknowledged=2)
    desk.deliver()
    assert desk.taken() == [SHOWN]
    assert len(desk.fakes.messages()) == 1, "nobody was told of it"


def test_while_pagerduty_lists_nothing_alerts_are_told(sqlite_desk: Desk):
    desk = sqlite_desk
    desk.told("chat")
    desk.fakes.next_answers[INCIDENTS_PATH].append(Reply(429, "", {"Retry-After": "120"}))
    desk.read()
    desk.at += MINUTE
    desk.judge("chat", "search")
    desk.deliver()
    assert len(desk.fakes.incidents()) == 2
    assert desk.read().asked == 0, "it asked for two minutes"
    assert desk.read(2 * MINUTE).asked == 2


def test_no_question_begins_when_the_time_is_up(sqlite_desk: Desk):
    sqlite_desk.told("chat", "search")
    assert sqlite_desk.read(budget=timedelta()) == ReadBack()
    assert sqlite_desk.read() == ReadBack(asked=2), "what was not asked is still due"


class Made:
    """Open episodes of one message, each with an incident of its own."""

    def __init__(self, number: int) -> None:
        self.known: list[OnRecord] = []
        self.keys = {f"key-{one:02}" for one in range(number)}
        for key in sorted(self.keys):
            self.known.append(OnRecord(told(SPIKE, key=key), "volume_spike", "group", NOON, in_summary=False))

    def ask(self, keys: list[str], at: datetime) -> None:
        self.known = [replace(one, asked_at=at) if one.told.key in keys else one for one in self.known]


def test_more_incidents_than_a_round_asks_about_have_their_turn_one_after_the_other():
    made = Made(50)
    seen: list[str] = []
    for second in range(0, 45, 15):
        asked = [one.key for one in questions(made.known, made.keys, NOON + timedelta(seconds=second))]
        made.ask(asked, NOON + timedelta(seconds=second))
        seen += asked
    assert len(seen) == len(set(seen)) == 50
    assert questions(made.known, made.keys, NOON + timedelta(seconds=59)) == []
    again = [one.key for one in questions(made.known, made.keys, NOON + MINUTE)]
    assert again == seen[:AT_ONCE]


def test_open_episodes_say_when_they_were_asked_about(desk: Desk):
    desk.told()
    desk.read(MINUTE)
    with desk.book.ledger.transaction() as connection:
        (one,) = open_episodes(connection)
    assert (one.asked_at, one.incident_key) == (desk.at, one.told.key)
