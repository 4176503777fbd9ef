"""From the ledger to Jira and to a webhook over real HTTP: one ticket and one closing comment, whatever fails."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from audit_assets.alerting.channels.jira import JiraClient
from audit_assets.alerting.channels.senders import build_senders, build_ticket_senders
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery import outbox, silences
from audit_assets.alerting.delivery.deliverer import DeliveryCounts, deliver
from audit_assets.alerting.delivery.silences import Silence
from audit_assets.rules.routing import Routing
from audit_assets.settings import Settings
from audit_assets_tests.alerting.conftest import CHANNELS, TOKEN
from audit_assets_tests.alerting.ledger_factories import NOON, OPS, QUARTER, Book, episode, later, rule_result
from audit_assets_tests.environments import settings_of
from tools.fakes.answering import Faults, Reply
from tools.fakes.jira import CLOUD_SEARCH, ISSUES, SEARCH, FakeJira
from tools.fakes.providers import HOOKS, JIRA, FakeProviders
from tools.fakes.webhook import FakeWebhook

pytestmark = pytest.mark.requirement("R47")

EMAIL, JIRA_TOKEN, HOOK_TOKEN = "bot@example.com", "jira-open-sesame", "hook-open-sesame"
HOOK = f"{HOOKS}tickets"
DROPPED = Faults(dropped_after_processing=1.0)


def routing(ticket: str, **more: Any) -> Routing:
    """Routes that send all rules to one channel and to a ticket."""
    route = {**OPS, "ticket": ticket, **more}
    return Routing.model_validate({"routes": {"on_call": route, "ops": route, "compliance": route}})


@dataclass
class Harness:
    """A ledger with a deliverer of messages and tickets over the fakes; tests set its clock."""

    book: Book
    fakes: FakeProviders
    settings: Settings
    slack: SlackClient
    at: datetime = NOON
    console: Console = field(default_factory=lambda: Console(record=True, quiet=False, width=200, stderr=True))

    @property
    def senders(self) -> dict[str, Any]:
        return {**build_senders(self.slack, None, self.console), **build_ticket_senders(self.settings, self.console)}

    def deliver(self, after: timedelta = timedelta()) -> DeliveryCounts:
        self.at += after
        return deliver(self.book.ledger, self.senders, self.book.routing, lambda: self.at)

    def opened(self, *capabilities: str, environment: str = "live") -> None:
        names = capabilities or ("chat",)
        crowd = [episode(name, 90.0 - n, at=self.at, environment=environment) for n, name in enumerate(names)]
        self.book.record(rule_result(*crowd, at=self.at), now=self.at)

    def cleared(self, after: timedelta = QUARTER) -> None:
        self.at += after
        self.book.record(rule_result(at=self.at), now=self.at)

    def issues_and_comments(self) -> tuple[int, int]:
        """The numbers of issues and comments."""
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
    return settings_of({**given, **more})


@pytest.fixture(params=["cloud", "data center"])
def fakes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeProviders]:
    jira = FakeJira(JIRA_TOKEN, EMAIL if request.param == "cloud" else None)
    log = tmp_path / "requests.jsonl"
    with FakeProviders(log, token=TOKEN, channels=CHANNELS, jira=jira, webhook=FakeWebhook(HOOK_TOKEN)) as playing:
        yield playing


@pytest.fixture
def harness(sqlite_book: Book, fakes: FakeProviders, slack: SlackClient) -> Harness:
    sqlite_book.routing = routing("jira:AUDIT")
    return Harness(sqlite_book, fakes, settings_over(fakes), slack)


@pytest.fixture
def webhook_harness(harness: Harness) -> Harness:
    harness.book.routing = routing("webhook")
    return harness


def test_an_episode_is_one_issue_and_one_comment_when_it_is_resolved(harness: Harness):
    harness.opened()
    assert harness.deliver().sent == 2
    (issue,) = harness.fakes.effects("issue")
    fields = issue["fields"]
    assert (fields["project"], fields["issuetype"]) == ({"key": "AUDIT"}, {"name": "Task"})
    assert fields["summary"] == "AI Copilot Audit Spike: chat, +800 %"
    assert "chat: 90 calls in 2 hours, usually 10" in fields["description"]
    harness.deliver(QUARTER)
    harness.cleared()
    harness.deliver()
    harness.deliver(QUARTER)
    (comment,) = harness.fakes.effects("comment")
    assert comment["key"] == issue["key"]
    assert "chat: resolved at 2026-11-24 12:30 UTC" in comment["body"]
    assert harness.issues_and_comments() == (1, 1)


def test_on_postgres_too(book: Book, fakes: FakeProviders, slack: SlackClient):
    book.routing = routing("jira:AUDIT")
    harness = Harness(book, fakes, settings_over(fakes), slack)
    harness.opened("a", "b")
    harness.deliver()
    harness.cleared()
    harness.deliver()
    assert harness.issues_and_comments() == (1, 1)


def test_many_capabilities_are_one_ticket_that_closes_when_the_last_is_resolved(harness: Harness):
    harness.opened(*(f"capability-{number}" for number in range(300)))
    harness.deliver()
    assert harness.issues_and_comments() == (1, 0)
    last, harness.at = episode("capability-7", at=later(minutes=30), since=NOON - QUARTER), later(minutes=30)
    harness.book.record(rule_result(last, at=harness.at), now=harness.at)
    harness.deliver()
    assert harness.issues_and_comments() == (1, 0), "one still fires"
    harness.cleared()
    harness.deliver()
    assert harness.issues_and_comments() == (1, 1)


def test_what_cleared_before_it_was_filed_is_not_filed(harness: Harness):
    harness.opened()
    harness.cleared()
    harness.deliver()
    assert harness.issues_and_comments() == (0, 0)


def test_an_issue_whose_answer_was_lost_is_found_by_its_label_and_not_filed_again(harness: Harness):
    harness.fakes.faults = DROPPED
    harness.opened()
    harness.deliver()
    assert harness.issues_and_comments() == (1, 0)
    harness.fakes.faults = Faults()
    assert harness.deliver(timedelta(seconds=110)).sent <= 1, "Slack alone: JIRA's index may not know it yet"
    assert harness.issues_and_comments() == (1, 0)
    harness.deliver(timedelta(seconds=11))
    assert harness.issues_and_comments() == (1, 0)
    paths = [path for path, _ in harness.fakes.bodies if path.startswith(JIRA)]
    assert paths == [JIRA + ISSUES, JIRA + (CLOUD_SEARCH if harness.fakes.jira.is_cloud else SEARCH)]
    harness.cleared()
    harness.deliver()
    assert harness.issues_and_comments() == (1, 1), "the comment goes to the issue that was found"


def test_a_comment_whose_answer_was_lost_is_found_by_its_last_line(harness: Harness):
    harness.opened()
    harness.deliver()
    harness.cleared()
    harness.fakes.faults = DROPPED
    harness.deliver()
    harness.fakes.faults = Faults()
    for _ in range(3):
        harness.deliver(timedelta(minutes=3))
    assert harness.issues_and_comments() == (1, 1)
    assert {status for _, status in harness.book.outbox("jira:AUDIT")} == {"sent"}


def test_killed_after_jira_accepted_it_there_is_one_issue(harness: Harness):
    harness.opened()
    with harness.book.ledger.transaction() as connection:
        while (row := outbox.claim(connection, harness.at, "killed")) is not None:
            assert harness.senders[row.target.partition(":")[0]].send(row, None).kind == "sent"
    harness.deliver(timedelta(minutes=3))
    assert harness.issues_and_comments() == (1, 0)
    assert {status for _, status in harness.book.outbox("jira:AUDIT")} == {"sent"}


def test_the_other_kind_of_jira_is_searched_where_the_first_search_is_not_there(harness: Harness):
    label = "ai-audit-none"
    assert harness.settings.jira_token is not None
    wrong = JiraClient(harness.settings.jira_token, harness.fakes.jira_url, harness.fakes.jira.email or "")
    for path in (CLOUD_SEARCH, SEARCH):
        harness.fakes.next_replies[JIRA + path].append(Reply(410, "gone"))
    assert wrong.find("AUDIT", label).kind == "parked"  # type: ignore[union-attr]
    harness.fakes.next_replies[JIRA + (SEARCH if not harness.fakes.jira.is_cloud else CLOUD_SEARCH)].append(
        Reply(404, "no")
    )
    other = JIRA + (SEARCH if harness.fakes.jira.is_cloud else CLOUD_SEARCH)
    harness.fakes.next_replies[other].append(Reply(200, {"issues": [{"key": "AUDIT-9"}]}))
    assert wrong.find("AUDIT", label).reference == "AUDIT-9"  # type: ignore[union-attr]


@pytest.mark.parametrize("problem", ["token", "project", "field"])
def test_a_failure_that_a_person_must_fix_is_reported_on_slack_once_and_filed_afterwards(
    harness: Harness, problem: str
):
    jira = harness.fakes.jira
    if problem == "token":
        jira.bad_token = True
    elif problem == "project":
        jira.projects = {}
    else:
        jira.required = ("customfield_10010",)
    harness.opened()
    assert harness.deliver().parked == 1
    for _ in range(3):
        harness.deliver(timedelta(minutes=2))
    texts = [message.text for message in harness.fakes.messages()]
    (report,) = [text for text in texts if "jira:AUDIT was not accepted" in text]
    assert {"token": "401", "project": "valid project is required", "field": "customfield_10010"}[problem] in report
    jira.bad_token, jira.projects, jira.required = False, {"AUDIT": ("Task",)}, ()
    harness.deliver(timedelta(minutes=2))
    assert harness.issues_and_comments() == (1, 0)
    assert any("jira:AUDIT accepts messages again" in message.text for message in harness.fakes.messages())


@pytest.mark.parametrize("lost", [False, True])
def test_an_issue_somebody_deleted_is_given_up_and_holds_up_no_other(harness: Harness, lost: bool):
    harness.opened()
    harness.deliver()
    missing = Reply(404, {"errorMessages": ["no issue"]})
    answers = [Reply(502, "no"), missing, missing] if lost else [missing]
    harness.fakes.next_replies[f"{JIRA}{ISSUES}/AUDIT-1/comment"].extend(answers)
    harness.cleared()
    ended = [harness.deliver(timedelta(minutes=3)) for _ in range(2)]
    assert (sum(one.dead for one in ended), sum(one.parked for one in ended)) == (1, 0)
    assert any("was given up: 404 no issue" in message.text for message in harness.fakes.messages())


def test_other_types_of_issue_are_named_in_the_route(harness: Harness):
    harness.book.routing = routing("jira:AUDIT/Bug")
    harness.opened()
    harness.deliver()
    assert harness.fakes.effects("issue")[0]["fields"]["issuetype"] == {"name": "Bug"}


def test_a_webhook_receives_the_opening_and_the_closing_of_one_ticket(webhook_harness: Harness):
    webhook_harness.opened("a", "b")
    webhook_harness.deliver()
    webhook_harness.cleared()
    webhook_harness.deliver()
    first, last = webhook_harness.fakes.effects("hook")
    assert first["body"]["id"] == first["key"]
    assert (first["body"]["event"], last["body"]["event"]) == ("opened", "closed")
    assert first["body"]["ticket"] == last["body"]["ticket"]
    assert first["body"]["capabilities"] == ["a", "b"]
    assert {"title", "text", "links", "rule", "environment"} < set(first["body"])


def test_a_webhooks_key_is_the_same_at_every_attempt_and_only_the_first_counts(webhook_harness: Harness):
    webhook_harness.fakes.faults = DROPPED
    webhook_harness.opened()
    for _ in range(4):
        webhook_harness.deliver(timedelta(minutes=6))
    webhook_harness.fakes.faults = Faults()
    webhook_harness.deliver(timedelta(minutes=6))
    ids = {body["id"] for path, body in webhook_harness.fakes.bodies if path == HOOK}
    assert len([path for path, _ in webhook_harness.fakes.bodies if path == HOOK]) > 3
    assert len(ids) == len(webhook_harness.fakes.effects("hook")) == 1


def test_a_webhook_that_rejects_the_token_is_reported_without_it(webhook_harness: Harness):
    webhook_harness.fakes.webhook.bad_token = True
    webhook_harness.opened()
    assert webhook_harness.deliver().parked == 1
    webhook_harness.deliver()
    assert any("webhook was not accepted: 401" in message.text for message in webhook_harness.fakes.messages())


@pytest.mark.parametrize("ticket", ["jira:AUDIT", "webhook"])
def test_no_token_is_in_the_ledger_the_log_or_a_repr(
    harness: Harness, ticket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    harness.book.routing = routing(ticket)
    harness.fakes.jira.bad_token = harness.fakes.webhook.bad_token = True
    harness.fakes.next_replies[JIRA + ISSUES].append(Reply(401, f"no such token: {JIRA_TOKEN}"))
    harness.fakes.next_replies[HOOK].append(Reply(401, f"no such token: {HOOK_TOKEN}"))
    harness.opened()
    harness.deliver()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("alerts.db*")).decode("utf-8", "replace")
    said = repr(harness.settings) + caplog.text + harness.console.export_text() + repr(harness.senders)
    for secret in (JIRA_TOKEN, HOOK_TOKEN):
        assert secret not in kept + said
    assert "[redacted]" in kept


@pytest.mark.parametrize(("drill_tickets", "filed"), [(False, 0), (True, 1)])
def test_a_drill_is_filed_only_if_its_route_says_so(harness: Harness, drill_tickets: bool, filed: int):
    harness.book.routing = routing("jira:AUDIT", drill_tickets=drill_tickets)
    harness.opened("drill-1", environment="sim")
    harness.deliver()
    titles = [issue["fields"]["summary"] for issue in harness.fakes.effects("issue")]
    assert len(titles) == filed
    assert all(title.startswith("[DRILL] ") for title in titles)


@pytest.mark.parametrize("missing", [{"JIRA_API_TOKEN": None}, {"JIRA_URL": None}, {"AI_AUDIT_SEND": "0"}])
def test_without_settings_a_ticket_is_written_to_the_console(harness: Harness, missing: dict[str, Any]):
    settings = harness.settings
    harness.settings = settings_over(harness.fakes, **missing)
    harness.opened()
    harness.deliver()
    assert "→ jira:AUDIT ticket: AI Copilot Audit Spike: chat" in harness.console.export_text()
    harness.settings = settings
    harness.cleared()
    harness.deliver()
    assert harness.issues_and_comments() == (0, 0), "a ticket written to the console is not commented in Jira"


def test_a_silenced_ticket_waits_as_the_message_does(harness: Harness):
    asked = Silence(0, "volume_spike", None, None, harness.at, later(hours=2), "a move", "x")
    with harness.book.ledger.transaction() as connection:
        silences.silence(connection, asked, harness.at)
    harness.opened()
    assert harness.deliver().suppressed == 2
    harness.deliver(timedelta(hours=2))
    assert harness.issues_and_comments() == (1, 0)
