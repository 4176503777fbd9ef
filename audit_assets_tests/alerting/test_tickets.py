"""From the ledger to JIRA and to a webhook over real HTTP: one ticket and one closing comment, whatever breaks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from audit_assets.alerting import outbox, silences
from audit_assets.alerting.deliverer import Delivered, deliver
from audit_assets.alerting.jira_client import JiraClient
from audit_assets.alerting.senders import senders_of
from audit_assets.alerting.silences import Silence
from audit_assets.alerting.slack_client import SlackClient
from audit_assets.alerting.ticket_senders import ticket_senders
from audit_assets.rules.routing import Routing
from audit_assets.settings import Settings
from audit_assets_tests.alerting.conftest import CHANNELS, TOKEN
from audit_assets_tests.alerting.made_ledger import NOON, OPS, QUARTER, Book, episode, judged, later
from audit_assets_tests.fakes.answering import Faults, Reply
from audit_assets_tests.fakes.jira import CLOUD_SEARCH, ISSUES, SEARCH, FakeJira
from audit_assets_tests.fakes.providers import HOOKS, JIRA, FakeProviders
from audit_assets_tests.fakes.webhook import FakeWebhook

pytestmark = pytest.mark.requirement("R47")

EMAIL, JIRA_TOKEN, HOOK_TOKEN = "bot@example.com", "jira-open-sesame", "hook-open-sesame"
HOOK = f"{HOOKS}tickets"
DROPPED = Faults(dropped_after_processing=1.0)


def routing(ticket: str, **more: Any) -> Routing:
    """All rules on one channel, and on a ticket."""
    route = {**OPS, "ticket": ticket, **more}
    return Routing.model_validate({"routes": {"on_call": route, "ops": route, "compliance": route}})


@dataclass
class Desk:
    """A ledger with a deliverer of messages and tickets over the fakes; its clock goes where tests put it."""

    book: Book
    fakes: FakeProviders
    settings: Settings
    slack: SlackClient
    at: datetime = NOON
    console: Console = field(default_factory=lambda: Console(record=True, quiet=False, width=200, stderr=True))

    @property
    def senders(self) -> dict[str, Any]:
        return {**senders_of(self.slack, None, self.console), **ticket_senders(self.settings, self.console)}

    def deliver(self, after: timedelta = timedelta()) -> Delivered:
        self.at += after
        return deliver(self.book.ledger, self.senders, self.book.routing, lambda: self.at)

    def opened(self, *capabilities: str, environment: str = "live") -> None:
        names = capabilities or ("chat",)
        crowd = [episode(name, 90.0 - n, at=self.at, environment=environment) for n, name in enumerate(names)]
        self.book.record(judged(*crowd, at=self.at), now=self.at)

    def cleared(self, after: timedelta = QUARTER) -> None:
        self.at += after
        self.book.record(judged(at=self.at), now=self.at)

    def happened(self) -> tuple[int, int]:
        """Issues and comments."""
        return len(self.fakes.effects("issue")), len(self.fakes.effects("comment"))


def settings_over(fakes: FakeProviders, **more: Any) -> Settings:
    given = {
        "JIRA_URL": fakes.jira_url,
        "JIRA_EMAIL": fakes.jira.email or "",
        "JIRA_API_TOKEN": JIRA_TOKEN,
        "AI_AUDIT_TICKET_WEBHOOK_URL": fakes.hook_url("tickets"),
        "AI_AUDIT_TICKET_WEBHOOK_TOKEN": HOOK_TOKEN,
        "AI_AUDIT_SEND": "1",
    }
    return Settings(_env_file=None, **{**given, **more})  # type: ignore[call-arg]


@pytest.fixture(params=["cloud", "data center"])
def fakes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeProviders]:
    jira = FakeJira(JIRA_TOKEN, EMAIL if request.param == "cloud" else None)
    log = tmp_path / "told.jsonl"
    with FakeProviders(log, token=TOKEN, channels=CHANNELS, jira=jira, webhook=FakeWebhook(HOOK_TOKEN)) as playing:
        yield playing


@pytest.fixture
def desk(sqlite_book: Book, fakes: FakeProviders, slack: SlackClient) -> Desk:
    sqlite_book.routing = routing("jira:AUDIT")
    return Desk(sqlite_book, fakes, settings_over(fakes), slack)


@pytest.fixture
def hooked(desk: Desk) -> Desk:
    desk.book.routing = routing("webhook")
    return desk


def test_an_episode_is_one_issue_and_one_comment_when_it_is_over(desk: Desk):
    desk.opened()
    assert desk.deliver().sent == 2
    (issue,) = desk.fakes.effects("issue")
    fields = issue["fields"]
    assert (fields["project"], fields["issuetype"]) == ({"key": "AUDIT"}, {"name": "Task"})
    assert fields["summary"] == "AI Copilot Audit Spike: chat, +800 %"
    assert "chat: 90 calls in 2 hours, usually 10" in fields["description"]
    desk.deliver(QUARTER)
    desk.cleared()
    desk.deliver()
    desk.deliver(QUARTER)
    (comment,) = desk.fakes.effects("comment")
    assert comment["key"] == issue["key"]
    assert "chat: over since 2026-11-24 12:30 UTC" in comment["body"]
    assert desk.happened() == (1, 1)


def test_on_postgres_too(book: Book, fakes: FakeProviders, slack: SlackClient):
    book.routing = routing("jira:AUDIT")
    desk = Desk(book, fakes, settings_over(fakes), slack)
    desk.opened("a", "b")
    desk.deliver()
    desk.cleared()
    desk.deliver()
    assert desk.happened() == (1, 1)


def test_many_capabilities_are_one_ticket_that_is_over_when_the_last_is(desk: Desk):
    desk.opened(*(f"capability-{number}" for number in range(300)))
    desk.deliver()
    assert desk.happened() == (1, 0)
    last, desk.at = episode("capability-7", at=later(minutes=30), since=NOON - QUARTER), later(minutes=30)
    desk.book.record(judged(last, at=desk.at), now=desk.at)
    desk.deliver()
    assert desk.happened() == (1, 0), "one still fires"
    desk.cleared()
    desk.deliver()
    assert desk.happened() == (1, 1)


def test_what_cleared_before_it_was_filed_is_not_filed(desk: Desk):
    desk.opened()
    desk.cleared()
    desk.deliver()
    assert desk.happened() == (0, 0)


def test_an_issue_whose_answer_was_lost_is_found_by_its_label_and_not_filed_again(desk: Desk):
    desk.fakes.faults = DROPPED
    desk.opened()
    desk.deliver()
    assert desk.happened() == (1, 0)
    desk.fakes.faults = Faults()
    assert desk.deliver(timedelta(seconds=110)).sent <= 1, "Slack alone: JIRA's index may not know it yet"
    assert desk.happened() == (1, 0)
    desk.deliver(timedelta(seconds=11))
    assert desk.happened() == (1, 0)
    paths = [path for path, _ in desk.fakes.bodies if path.startswith(JIRA)]
    assert paths == [JIRA + ISSUES, JIRA + (CLOUD_SEARCH if desk.fakes.jira.is_cloud else SEARCH)]
    desk.cleared()
    desk.deliver()
    assert desk.happened() == (1, 1), "the comment goes to the issue that was found"


def test_a_comment_whose_answer_was_lost_is_found_by_its_last_line(desk: Desk):
    desk.opened()
    desk.deliver()
    desk.cleared()
    desk.fakes.faults = DROPPED
    desk.deliver()
    desk.fakes.faults = Faults()
    for _ in range(3):
        desk.deliver(timedelta(minutes=3))
    assert desk.happened() == (1, 1)
    assert {status for _, status in desk.book.outbox("jira:AUDIT")} == {"sent"}


def test_killed_after_jira_took_it_there_is_one_issue(desk: Desk):
    desk.opened()
    with desk.book.ledger.transaction() as connection:
        while (row := outbox.claim(connection, desk.at, "killed")) is not None:
            assert desk.senders[row.target.partition(":")[0]].send(row, None).kind == "sent"
    desk.deliver(timedelta(minutes=3))
    assert desk.happened() == (1, 0)
    assert {status for _, status in desk.book.outbox("jira:AUDIT")} == {"sent"}


def test_the_other_kind_of_jira_is_searched_where_the_first_search_is_not_there(desk: Desk):
    label = "ai-audit-none"
    assert desk.settings.jira_token is not None
    wrong = JiraClient(desk.settings.jira_token, desk.fakes.jira_url, desk.fakes.jira.email or "")
    for path in (CLOUD_SEARCH, SEARCH):
        desk.fakes.next_answers[JIRA + path].append(Reply(410, "gone"))
    assert wrong.find("AUDIT", label).kind == "parked"  # type: ignore[union-attr]
    desk.fakes.next_answers[JIRA + (SEARCH if not desk.fakes.jira.is_cloud else CLOUD_SEARCH)].append(Reply(404, "no"))
    other = JIRA + (SEARCH if desk.fakes.jira.is_cloud else CLOUD_SEARCH)
    desk.fakes.next_answers[other].append(Reply(200, {"issues": [{"key": "AUDIT-9"}]}))
    assert wrong.find("AUDIT", label).reference == "AUDIT-9"  # type: ignore[union-attr]


@pytest.mark.parametrize("trouble", ["token", "project", "field"])
def test_what_a_person_must_mend_is_told_on_slack_once_and_filed_afterwards(desk: Desk, trouble: str):
    jira = desk.fakes.jira
    if trouble == "token":
        jira.bad_token = True
    elif trouble == "project":
        jira.projects = {}
    else:
        jira.required = ("customfield_10010",)
    desk.opened()
    assert desk.deliver().parked == 1
    for _ in range(3):
        desk.deliver(timedelta(minutes=2))
    texts = [message.text for message in desk.fakes.messages()]
    (told,) = [text for text in texts if "jira:AUDIT is not taken" in text]
    assert {"token": "401", "project": "valid project is required", "field": "customfield_10010"}[trouble] in told
    jira.bad_token, jira.projects, jira.required = False, {"AUDIT": ("Task",)}, ()
    desk.deliver(timedelta(minutes=2))
    assert desk.happened() == (1, 0)
    assert any("jira:AUDIT takes messages again" in message.text for message in desk.fakes.messages())


@pytest.mark.parametrize("lost", [False, True])
def test_an_issue_somebody_deleted_is_given_up_and_holds_up_no_other(desk: Desk, lost: bool):
    desk.opened()
    desk.deliver()
    gone = Reply(404, {"errorMessages": ["no issue"]})
    answers = [Reply(502, "no"), gone, gone] if lost else [gone]
    desk.fakes.next_answers[f"{JIRA}{ISSUES}/AUDIT-1/comment"].extend(answers)
    desk.cleared()
    ended = [desk.deliver(timedelta(minutes=3)) for _ in range(2)]
    assert (sum(one.dead for one in ended), sum(one.parked for one in ended)) == (1, 0)
    assert any("was given up: 404 no issue" in message.text for message in desk.fakes.messages())


def test_other_types_of_issue_are_named_in_the_route(desk: Desk):
    desk.book.routing = routing("jira:AUDIT/Bug")
    desk.opened()
    desk.deliver()
    assert desk.fakes.effects("issue")[0]["fields"]["issuetype"] == {"name": "Bug"}


def test_a_webhook_is_told_the_beginning_and_the_end_of_one_ticket(hooked: Desk):
    hooked.opened("a", "b")
    hooked.deliver()
    hooked.cleared()
    hooked.deliver()
    first, last = hooked.fakes.effects("hook")
    assert first["body"]["id"] == first["key"]
    assert (first["body"]["event"], last["body"]["event"]) == ("opened", "closed")
    assert first["body"]["ticket"] == last["body"]["ticket"]
    assert first["body"]["capabilities"] == ["a", "b"]
    assert {"title", "text", "links", "rule", "environment"} < set(first["body"])


def test_a_webhooks_key_is_the_same_at_every_attempt_and_it_takes_the_first(hooked: Desk):
    hooked.fakes.faults = DROPPED
    hooked.opened()
    for _ in range(4):
        hooked.deliver(timedelta(minutes=6))
    hooked.fakes.faults = Faults()
    hooked.deliver(timedelta(minutes=6))
    ids = {body["id"] for path, body in hooked.fakes.bodies if path == HOOK}
    assert len([path for path, _ in hooked.fakes.bodies if path == HOOK]) > 3
    assert len(ids) == len(hooked.fakes.effects("hook")) == 1


def test_a_webhook_that_knows_no_such_token_is_told_of_without_it(hooked: Desk):
    hooked.fakes.webhook.bad_token = True
    hooked.opened()
    assert hooked.deliver().parked == 1
    hooked.deliver()
    assert any("webhook is not taken: 401" in message.text for message in hooked.fakes.messages())


@pytest.mark.parametrize("ticket", ["jira:AUDIT", "webhook"])
def test_no_token_is_in_the_ledger_the_log_or_a_repr(
    desk: Desk, ticket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    desk.book.routing = routing(ticket)
    desk.fakes.jira.bad_token = desk.fakes.webhook.bad_token = True
    desk.fakes.next_answers[JIRA + ISSUES].append(Reply(401, f"no such token: {JIRA_TOKEN}"))
    desk.fakes.next_answers[HOOK].append(Reply(401, f"no such token: {HOOK_TOKEN}"))
    desk.opened()
    desk.deliver()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("alerts.db*")).decode("utf-8", "replace")
    said = repr(desk.settings) + caplog.text + desk.console.export_text() + repr(desk.senders)
    for secret in (JIRA_TOKEN, HOOK_TOKEN):
        assert secret not in kept + said
    assert "[redacted]" in kept


@pytest.mark.parametrize(("drill_tickets", "filed"), [(False, 0), (True, 1)])
def test_a_drill_is_filed_only_where_its_route_says_so(desk: Desk, drill_tickets: bool, filed: int):
    desk.book.routing = routing("jira:AUDIT", drill_tickets=drill_tickets)
    desk.opened("drill-1", environment="sim")
    desk.deliver()
    titles = [issue["fields"]["summary"] for issue in desk.fakes.effects("issue")]
    assert len(titles) == filed
    assert all(title.startswith("[DRILL] ") for title in titles)


@pytest.mark.parametrize("missing", [{"JIRA_API_TOKEN": None}, {"JIRA_URL": None}, {"AI_AUDIT_SEND": "0"}])
def test_without_settings_a_ticket_is_said_on_the_console(desk: Desk, missing: dict[str, Any]):
    settings = desk.settings
    desk.settings = settings_over(desk.fakes, **missing)
    desk.opened()
    desk.deliver()
    assert "→ jira:AUDIT ticket: AI Copilot Audit Spike: chat" in desk.console.export_text()
    desk.settings = settings
    desk.cleared()
    desk.deliver()
    assert desk.happened() == (0, 0), "what was said on the console is not commented at JIRA"


def test_a_silenced_ticket_waits_as_the_message_does(desk: Desk):
    asked = Silence(0, "volume_spike", None, None, desk.at, later(hours=2), "a move", "x")
    with desk.book.ledger.transaction() as connection:
        silences.silence(connection, asked, desk.at)
    desk.opened()
    assert desk.deliver().held == 2
    desk.deliver(timedelta(hours=2))
    assert desk.happened() == (1, 0)
