"""Remediation: planned by one, approved by another, sent once, and each step on record before the next."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from audit_assets.alerting import remediations
from audit_assets.alerting.ledger import open_ledger
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.remediation import LEASE, VALID_FOR, Remediation, RemediationError, next_step, request_of
from audit_assets.alerting.webhook_client import WebhookClient, shown_address
from audit_assets_tests.alerting.made_ledger import NOON, QUARTER, Book, episode, judged
from audit_assets_tests.fakes.answering import Faults, Reply
from audit_assets_tests.fakes.providers import HOOKS, FakeProviders
from audit_assets_tests.fakes.webhook import FakeWebhook

pytestmark = pytest.mark.requirement("R47")

TOKEN, SECRET_PATH = "remedy-open-sesame", "remediation/s3cr3t-path"


@dataclass
class Office:
    """A ledger with one open alert, and what can disable a capability, played; its clock goes where tests put it."""

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
            return remediations.plan(connection, key, "p1", by, reason, self.at)

    def approve(self, by: str = "bob") -> Remediation:
        with self.book.ledger.transaction() as connection:
            return remediations.approve(connection, "p1", by, self.at)

    def apply(self, by: str = "carol") -> Remediation:
        return remediations.apply(self.book.ledger, "p1", by, self.client, lambda: self.at)

    def kinds(self) -> list[str]:
        return [kind.removeprefix("remediation_") for kind in self.book.kinds() if kind.startswith("remediation_")]

    def requests(self) -> list[Any]:
        return [body for path, body in self.fakes.bodies if path.startswith(HOOKS)]


@pytest.fixture
def playing() -> Iterator[FakeProviders]:
    with FakeProviders(webhook=FakeWebhook(TOKEN)) as fakes:
        yield fakes


@pytest.fixture
def office(book: Book, playing: FakeProviders) -> Office:
    """On SQLite and on Postgres."""
    book.record(judged(episode("chat")))
    return Office(book, playing)


@pytest.fixture
def desk(sqlite_book: Book, playing: FakeProviders) -> Office:
    sqlite_book.record(judged(episode("chat")))
    return Office(sqlite_book, playing)


def test_a_plan_approved_by_another_is_sent_once_and_each_step_is_on_record(office: Office):
    made = office.plan()
    assert (made.state(NOON), made.capability, made.action) == ("planned", "chat", "disable_capability")
    assert "somebody else than alice approves it until 13:00:00 UTC" in next_step(made, NOON)
    office.approve()
    done = office.apply()
    assert (done.state(NOON), done.applied_at, done.outcome) == ("applied", NOON, "sent")
    (taken,) = office.fakes.effects("hook")
    assert taken["body"] == request_of(made), "what was planned and approved is what is sent"
    assert taken["key"] == made.key
    assert office.kinds() == ["planned", "approved", "applying", "applied"]
    with pytest.raises(RemediationError, match="was applied by carol; there is nothing left to do"):
        office.apply()
    assert len(office.requests()) == 1


def test_nothing_is_sent_before_somebody_else_has_approved_it(desk: Office):
    desk.plan()
    with pytest.raises(RemediationError, match="nobody has approved it; somebody else than alice does so with `audit"):
        desk.apply()
    with pytest.raises(RemediationError, match="Alice planned it; somebody else is to approve it"):
        desk.approve(" Alice ")
    desk.approve()
    with pytest.raises(RemediationError, match="bob has approved it"):
        desk.approve("dora")
    assert desk.requests() == []


@pytest.mark.parametrize("approved", [False, True])
def test_a_plan_is_good_for_an_hour(desk: Office, approved: bool):
    desk.plan()
    if approved:
        desk.approve()
    desk.at += VALID_FOR
    with pytest.raises(RemediationError, match=r"expired at 2026-11-24 13:00 UTC, 1 h after .*; plan it anew"):
        _ = desk.apply() if approved else desk.approve()
    assert desk.requests() == []


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(desk: Office):
    desk.plan()
    desk.approve()
    desk.fakes.faults = Faults(dropped_after_processing=1.0)
    lost = desk.apply()
    assert (lost.state(NOON), lost.applied_at) == ("unknown", None)
    assert "it may have been taken; `audit remediate apply p1` sends it again with the same key" in next_step(
        lost, NOON
    )
    desk.fakes.faults = Faults()
    desk.book.record(judged(at=NOON + QUARTER), now=NOON + QUARTER)  # over meanwhile, since it was taken
    desk.at += QUARTER
    assert desk.apply().state(desk.at) == "applied"
    assert (len(desk.requests()), len(desk.fakes.effects("hook"))) == (2, 1)
    assert desk.kinds() == ["planned", "approved", "applying", "not_applied", "applying", "applied"]


def test_a_timeout_is_an_unknown_outcome(desk: Office):
    desk.plan()
    desk.approve()
    desk.timeout, desk.fakes.answer_after = 0.2, 1.0
    assert desk.apply().state(NOON) == "unknown"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(Reply(401, "no"), "parked"), (Reply(422, "no"), "refused"), (Reply(429, "later"), "retry")],
)
def test_what_was_not_taken_may_be_sent_again_once_that_is_mended(desk: Office, reply: Reply, outcome: str):
    desk.plan()
    desk.approve()
    desk.fakes.next_answers[f"{HOOKS}{SECRET_PATH}"].append(reply)
    failed = desk.apply()
    assert (failed.state(NOON), failed.outcome) == ("failed", outcome)
    assert desk.apply().state(NOON) == "applied"


def test_two_that_apply_at_once_send_once(office: Office):
    office.plan()
    office.approve()
    office.fakes.answer_after = 0.5
    ended: list[str] = []

    def one() -> None:
        try:
            ended.append(office.apply().state(NOON))
        except RemediationError as error:
            ended.append(str(error))

    both = [threading.Thread(target=one) for _ in range(4)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert ended.count("applied") == 1
    assert sum("is being sent by carol" in said for said in ended) == 3
    assert len(office.requests()) == 1


def test_whoever_dies_while_sending_leaves_it_to_others_after_a_minute(desk: Office):
    class Killed:
        def send(self, document: Any, key: str) -> Outcome:
            assert "applying" in desk.kinds(), "on record before it is sent"
            raise KeyboardInterrupt

    desk.plan()
    desk.approve()
    with pytest.raises(KeyboardInterrupt):
        remediations.apply(desk.book.ledger, "p1", "carol", Killed(), lambda: desk.at)
    with pytest.raises(RemediationError, match="is being sent by carol; look again in a minute"):
        desk.apply()
    desk.at += LEASE
    assert desk.apply().state(desk.at) == "applied"


def test_one_that_answers_late_is_believed_only_that_it_was_taken(desk: Office):
    """The lease ends while it waits; another sends it again meanwhile, and is told that it was not taken."""

    class Late:
        def __init__(self, outcome: Outcome) -> None:
            self.outcome = outcome

        def send(self, document: Any, key: str) -> Outcome:
            desk.at += LEASE
            desk.fakes.next_answers[f"{HOOKS}{SECRET_PATH}"].append(Reply(422, "no"))
            desk.apply("dora")
            return self.outcome

    desk.plan()
    desk.approve()
    late = remediations.apply(desk.book.ledger, "p1", "carol", Late(Outcome("retry", "x")), lambda: desk.at)
    assert late.outcome == "refused"
    late = remediations.apply(desk.book.ledger, "p1", "carol", Late(Outcome("sent", "x")), lambda: desk.at)
    assert late.outcome == "sent"


def test_a_drill_can_be_planned_and_is_never_sent(desk: Office):
    desk.book.record(judged(episode("chat"), episode("drill-1", environment="sim")), now=NOON + QUARTER)
    (drill,) = [key for key in desk.book.open() if "/sim/" in key]
    made = desk.plan(drill)
    desk.approve()
    with pytest.raises(RemediationError, match=r"is of a drill, .*: apply it with --dry-run"):
        desk.apply()
    assert (made.is_drill, desk.requests()) == (True, [])


def test_what_is_over_is_neither_planned_nor_approved_nor_sent(desk: Office):
    key = desk.book.open()[0]
    desk.plan()
    desk.book.record(judged(at=NOON + QUARTER), now=NOON + QUARTER)
    desk.at += QUARTER
    with pytest.raises(RemediationError, match="is over since 2026-11-24 12:15 UTC; `audit alerts list` names what"):
        desk.approve()
    with pytest.raises(RemediationError, match="is over since"):
        desk.plan(key)


def test_an_approved_plan_whose_alert_is_over_is_not_sent(desk: Office):
    desk.plan()
    desk.approve()
    desk.book.record(judged(at=NOON + QUARTER), now=NOON + QUARTER)
    desk.at += QUARTER
    with pytest.raises(RemediationError, match="is over since"):
        desk.apply()


@pytest.mark.parametrize(
    ("change", "said"), [({"reason": " "}, "say why"), ({"by": " "}, "say who"), ({"alert": "x"}, "x: no such alert")]
)
def test_a_plan_that_makes_no_sense_is_refused(desk: Office, change: dict[str, str], said: str):
    with pytest.raises(RemediationError, match=said):
        desk.plan(**change)
    assert (desk.kinds(), desk.book.rows("remediations")) == ([], [])


def test_a_total_has_no_capability_to_disable(desk: Office):
    total = episode("", rule="volume_spike")
    desk.book.record(judged(episode("chat"), total), now=NOON + QUARTER)
    (about_all,) = [row.key for row in desk.book.rows("alerts") if '"capability": ""' in row.dimensions]
    with pytest.raises(RemediationError, match="is about all capabilities, and one is to be disabled"):
        desk.plan(about_all)


def test_a_ledger_that_is_read_again_holds_the_plan_as_it_was(office: Office, ledger_url: str):
    office.plan()
    approved = office.approve()
    with open_ledger(ledger_url) as again, again.transaction() as connection:
        assert remediations.newest(connection, 5) == [approved]


def test_neither_token_nor_path_is_told(desk: Office):
    said = repr(desk.client)
    desk.plan()
    desk.approve()
    desk.fakes.next_answers[f"{HOOKS}{SECRET_PATH}"].append(Reply(401, f"{TOKEN} at /{HOOKS}{SECRET_PATH}"))
    said += desk.apply().said or ""
    assert TOKEN not in said
    assert "s3cr3t-path" not in said
    address = SecretStr("https://user:pass@host.example:8443/a/b?token=x#y")
    assert shown_address(address) == "https://host.example:8443/a/b"
