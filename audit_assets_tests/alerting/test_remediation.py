"""Remediation: planned by one person, approved by another, sent once; each step is stored before the next."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from audit_assets.alerting.channels.webhook import WebhookClient, display_address
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.alerting.remediation import store
from audit_assets.alerting.remediation.lifecycle import (
    LEASE,
    VALID_FOR,
    Remediation,
    RemediationError,
    next_step,
    request_body,
)
from audit_assets_tests.alerting.ledger_factories import NOON, QUARTER, Book, episode, rule_result
from tools.fakes.answering import Faults, Reply
from tools.fakes.providers import HOOKS, FakeProviders
from tools.fakes.webhook import FakeWebhook

pytestmark = pytest.mark.requirement("R47")

TOKEN, SECRET_PATH = "remedy-open-sesame", "remediation/s3cr3t-path"


@dataclass
class Harness:
    """A ledger with one open alert, and a fake API that disables capabilities; tests set its clock."""

    book: Book
    fakes: FakeProviders
    at: datetime = NOON
    timeout: float = 5.0

    @property
    def client(self) -> WebhookClient:
        return WebhookClient(SecretStr(self.fakes.hook_url(SECRET_PATH)), SecretStr(TOKEN), self.timeout)

    def plan(self, alert: str | None = None, by: str = "alice", reason: str = "a loop") -> Remediation:
        key = self.book.open()[0] if alert is None else alert
        with self.book.ledger.transaction() as connection:
            return store.plan(connection, key, "p1", by, reason, self.at)

    def approve(self, by: str = "bob") -> Remediation:
        with self.book.ledger.transaction() as connection:
            return store.approve(connection, "p1", by, self.at)

    def apply(self, by: str = "carol") -> Remediation:
        return store.apply(self.book.ledger, "p1", by, self.client, lambda: self.at)

    def kinds(self) -> list[str]:
        return [kind.removeprefix("remediation_") for kind in self.book.kinds() if kind.startswith("remediation_")]

    def requests(self) -> list[Any]:
        return [body for path, body in self.fakes.bodies if path.startswith(HOOKS)]


@pytest.fixture
def providers() -> Iterator[FakeProviders]:
    with FakeProviders(webhook=FakeWebhook(TOKEN)) as fakes:
        yield fakes


@pytest.fixture
def harness(book: Book, providers: FakeProviders) -> Harness:
    """On SQLite and on Postgres."""
    book.record(rule_result(episode("chat")))
    return Harness(book, providers)


@pytest.fixture
def sqlite_harness(sqlite_book: Book, providers: FakeProviders) -> Harness:
    sqlite_book.record(rule_result(episode("chat")))
    return Harness(sqlite_book, providers)


def test_a_plan_approved_by_another_is_sent_once_and_each_step_is_on_record(harness: Harness):
    made = harness.plan()
    assert (made.state(NOON), made.capability, made.action) == ("planned", "chat", "disable_capability")
    assert "another person than alice must approve it before 13:00:00 UTC" in next_step(made, NOON)
    harness.approve()
    done = harness.apply()
    assert (done.state(NOON), done.applied_at, done.outcome) == ("applied", NOON, "sent")
    (received,) = harness.fakes.effects("hook")
    assert received["body"] == request_body(made), "what was planned and approved is what is sent"
    assert received["key"] == made.key
    assert harness.kinds() == ["planned", "approved", "applying", "applied"]
    with pytest.raises(RemediationError, match="already applied by carol; there is nothing left to do"):
        harness.apply()
    assert len(harness.requests()) == 1


def test_nothing_is_sent_before_another_person_has_approved_it(sqlite_harness: Harness):
    sqlite_harness.plan()
    with pytest.raises(RemediationError, match="not approved yet; another person than alice must run `audit"):
        sqlite_harness.apply()
    with pytest.raises(RemediationError, match="planned by Alice; another person must approve it"):
        sqlite_harness.approve(" Alice ")
    sqlite_harness.approve()
    with pytest.raises(RemediationError, match="already approved by bob"):
        sqlite_harness.approve("dora")
    assert sqlite_harness.requests() == []


@pytest.mark.parametrize("approved", [False, True])
def test_a_plan_is_good_for_an_hour(sqlite_harness: Harness, approved: bool):
    sqlite_harness.plan()
    if approved:
        sqlite_harness.approve()
    sqlite_harness.at += VALID_FOR
    with pytest.raises(RemediationError, match=r"expired at 2026-11-24 13:00 UTC, 1 h after .*; make a new plan"):
        _ = sqlite_harness.apply() if approved else sqlite_harness.approve()
    assert sqlite_harness.requests() == []


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(sqlite_harness: Harness):
    sqlite_harness.plan()
    sqlite_harness.approve()
    sqlite_harness.fakes.faults = Faults(dropped_after_processing=1.0)
    lost = sqlite_harness.apply()
    assert (lost.state(NOON), lost.applied_at) == ("unknown", None)
    assert "it may have been accepted; `audit remediate apply p1` sends it again with the same key" in next_step(
        lost, NOON
    )
    sqlite_harness.fakes.faults = Faults()
    sqlite_harness.book.record(
        rule_result(at=NOON + QUARTER), now=NOON + QUARTER
    )  # resolved meanwhile, since the remediation was accepted
    sqlite_harness.at += QUARTER
    assert sqlite_harness.apply().state(sqlite_harness.at) == "applied"
    assert (len(sqlite_harness.requests()), len(sqlite_harness.fakes.effects("hook"))) == (2, 1)
    assert sqlite_harness.kinds() == ["planned", "approved", "applying", "not_applied", "applying", "applied"]


def test_a_timeout_is_an_unknown_outcome(sqlite_harness: Harness):
    sqlite_harness.plan()
    sqlite_harness.approve()
    sqlite_harness.timeout, sqlite_harness.fakes.reply_after = 0.2, 1.0
    assert sqlite_harness.apply().state(NOON) == "unknown"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(Reply(401, "no"), "parked"), (Reply(422, "no"), "refused"), (Reply(429, "later"), "retry")],
)
def test_a_refused_remediation_may_be_sent_again_once_the_cause_is_fixed(
    sqlite_harness: Harness, reply: Reply, outcome: str
):
    sqlite_harness.plan()
    sqlite_harness.approve()
    sqlite_harness.fakes.next_replies[f"{HOOKS}{SECRET_PATH}"].append(reply)
    failed = sqlite_harness.apply()
    assert (failed.state(NOON), failed.outcome) == ("failed", outcome)
    assert sqlite_harness.apply().state(NOON) == "applied"


def test_two_that_apply_at_once_send_once(harness: Harness):
    harness.plan()
    harness.approve()
    harness.fakes.reply_after = 0.5
    ended: list[str] = []

    def one() -> None:
        try:
            ended.append(harness.apply().state(NOON))
        except RemediationError as error:
            ended.append(str(error))

    both = [threading.Thread(target=one) for _ in range(4)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert ended.count("applied") == 1
    assert sum("is being sent by carol" in said for said in ended) == 3
    assert len(harness.requests()) == 1


def test_an_attempt_whose_process_died_may_be_repeated_after_a_minute(sqlite_harness: Harness):
    class Killed:
        def send(self, document: Any, key: str) -> Outcome:
            assert "applying" in sqlite_harness.kinds(), "on record before it is sent"
            raise KeyboardInterrupt

    sqlite_harness.plan()
    sqlite_harness.approve()
    with pytest.raises(KeyboardInterrupt):
        store.apply(sqlite_harness.book.ledger, "p1", "carol", Killed(), lambda: sqlite_harness.at)
    with pytest.raises(RemediationError, match="is being sent by carol; try again in a minute"):
        sqlite_harness.apply()
    sqlite_harness.at += LEASE
    assert sqlite_harness.apply().state(sqlite_harness.at) == "applied"


def test_a_late_response_counts_only_if_it_is_sent(sqlite_harness: Harness):
    """The lease ends while the response is pending; another process sends it again and receives a refusal."""

    class Late:
        def __init__(self, outcome: Outcome) -> None:
            self.outcome = outcome

        def send(self, document: Any, key: str) -> Outcome:
            sqlite_harness.at += LEASE
            sqlite_harness.fakes.next_replies[f"{HOOKS}{SECRET_PATH}"].append(Reply(422, "no"))
            sqlite_harness.apply("dora")
            return self.outcome

    sqlite_harness.plan()
    sqlite_harness.approve()
    late = store.apply(
        sqlite_harness.book.ledger, "p1", "carol", Late(Outcome("retry", "x")), lambda: sqlite_harness.at
    )
    assert late.outcome == "refused"
    late = store.apply(sqlite_harness.book.ledger, "p1", "carol", Late(Outcome("sent", "x")), lambda: sqlite_harness.at)
    assert late.outcome == "sent"


def test_a_drill_can_be_planned_and_is_never_sent(sqlite_harness: Harness):
    sqlite_harness.book.record(rule_result(episode("chat"), episode("drill-1", environment="sim")), now=NOON + QUARTER)
    (drill,) = [key for key in sqlite_harness.book.open() if "/sim/" in key]
    made = sqlite_harness.plan(drill)
    sqlite_harness.approve()
    with pytest.raises(RemediationError, match=r"belongs to a drill, .*: use --dry-run"):
        sqlite_harness.apply()
    assert (made.is_drill, sqlite_harness.requests()) == (True, [])


def test_a_remediation_of_a_resolved_alert_is_neither_planned_nor_approved_nor_sent(sqlite_harness: Harness):
    key = sqlite_harness.book.open()[0]
    sqlite_harness.plan()
    sqlite_harness.book.record(rule_result(at=NOON + QUARTER), now=NOON + QUARTER)
    sqlite_harness.at += QUARTER
    with pytest.raises(RemediationError, match="resolved since 2026-11-24 12:15 UTC; `audit alerts list` shows open"):
        sqlite_harness.approve()
    with pytest.raises(RemediationError, match="resolved since"):
        sqlite_harness.plan(key)


def test_an_approved_plan_whose_alert_is_over_is_not_sent(sqlite_harness: Harness):
    sqlite_harness.plan()
    sqlite_harness.approve()
    sqlite_harness.book.record(rule_result(at=NOON + QUARTER), now=NOON + QUARTER)
    sqlite_harness.at += QUARTER
    with pytest.raises(RemediationError, match="resolved since"):
        sqlite_harness.apply()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"reason": " "}, "reason is required"),
        ({"by": " "}, "your name is required"),
        ({"alert": "x"}, "x: no such alert"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(sqlite_harness: Harness, change: dict[str, str], error: str):
    with pytest.raises(RemediationError, match=error):
        sqlite_harness.plan(**change)
    assert (sqlite_harness.kinds(), sqlite_harness.book.rows("remediations")) == ([], [])


def test_a_total_has_no_capability_to_disable(sqlite_harness: Harness):
    total = episode("", rule="volume_spike")
    sqlite_harness.book.record(rule_result(episode("chat"), total), now=NOON + QUARTER)
    (about_all,) = [row.key for row in sqlite_harness.book.rows("alerts") if '"capability": ""' in row.dimensions]
    with pytest.raises(RemediationError, match="this alert covers all capabilities; plan the remediation"):
        sqlite_harness.plan(about_all)


def test_a_ledger_that_is_read_again_holds_the_plan_as_it_was(harness: Harness, ledger_url: str):
    harness.plan()
    approved = harness.approve()
    with open_ledger(ledger_url) as again, again.transaction() as connection:
        assert store.newest(connection, 5) == [approved]


def test_neither_token_nor_path_is_shown(sqlite_harness: Harness):
    said = repr(sqlite_harness.client)
    sqlite_harness.plan()
    sqlite_harness.approve()
    sqlite_harness.fakes.next_replies[f"{HOOKS}{SECRET_PATH}"].append(Reply(401, f"{TOKEN} at /{HOOKS}{SECRET_PATH}"))
    said += sqlite_harness.apply().said or ""
    assert TOKEN not in said
    assert "s3cr3t-path" not in said
    address = SecretStr("https://user:pass@host.example:8443/a/b?token=x#y")
    assert display_address(address) == "https://host.example:8443/a/b"
