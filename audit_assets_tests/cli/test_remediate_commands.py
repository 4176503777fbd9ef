"""`audit remediate`: what it prints, what it refuses, and that nothing goes out before it is approved."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from audit_assets.alerting.ledger import open_ledger
from audit_assets_tests.alerting.made_ledger import Book, episode, judged
from audit_assets_tests.cli.running import PASSWORD, Audit, one_line
from audit_assets_tests.fakes.answering import Reply
from audit_assets_tests.fakes.providers import HOOKS, FakeProviders
from audit_assets_tests.fakes.webhook import FakeWebhook
from audit_assets_tests.homes import Home

pytestmark = pytest.mark.requirement("R47")

NAME = "chat [red]\u202e"


@pytest.fixture
def book(empty_home: Home) -> Iterator[Book]:
    """The ledger of an otherwise empty home, with one episode in it, of a name made to mislead."""
    ledger = open_ledger(empty_home.settings().ledger_url)
    book, now = Book(ledger), datetime.now(UTC)
    book.record(judged(episode(NAME, at=now), at=now), now=now)
    yield book
    ledger.close()


@pytest.fixture
def fakes(book: Book, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders(webhook=FakeWebhook(PASSWORD)) as playing:
        monkeypatch.setenv("AI_AUDIT_REMEDIATION_URL", f"{playing.hook_url('disable')}?token={PASSWORD}")
        monkeypatch.setenv("AI_AUDIT_REMEDIATION_TOKEN", PASSWORD)
        yield playing


def plan(audit: Audit, book: Book, *more: str) -> dict[str, Any]:
    alert = book.open()[0]
    return audit("remediate", "plan", alert, "--by", "alice", "--reason", "a loop", "--json", *more).figures


def test_planned_shown_approved_and_sent(audit: Audit, book: Book, fakes: FakeProviders):
    made = plan(audit, book)
    assert made["request"]["url"] == fakes.hook_url("disable")
    assert made["request"]["body"]["capability"] == NAME
    shown = audit("remediate", "apply", made["id"], "--dry-run")
    assert f"POST {fakes.hook_url('disable')}\nIdempotency-Key: ai-audit-remediation-{made['id']}\n" in shown.out
    assert "\u202e" not in shown.out
    assert "nothing was sent, and would not be:" in shown.err
    assert "nobody has approved it" in one_line(audit("remediate", "apply", made["id"]), 2)
    assert "alice planned it; somebody else" in one_line(audit("remediate", "approve", made["id"], "--by", "alice"), 2)
    approved = audit("remediate", "approve", made["id"], "--by", "bob")
    assert "planned by alice: a loop, approved by bob" in approved.out
    assert f"`audit remediate apply {made['id']}` sends it until" in approved.err
    assert "refused" not in audit("remediate", "apply", made["id"], "--dry-run", "--json").figures
    assert fakes.bodies == []
    done = audit("remediate", "apply", made["id"])
    assert (done.code, done.out[:9]) == (0, "applied: ")
    (taken,) = fakes.effects("hook")
    assert taken["body"] == made["request"]["body"]
    assert "there is nothing left to do" in one_line(audit("remediate", "apply", made["id"]), 2)
    events = [one["kind"] for one in audit("alerts", "show", book.open()[0], "--json").figures["events"]]
    steps = ["planned", "approved", "applying", "applied"]
    assert events == ["opened", *(f"remediation_{step}" for step in steps)]


def test_plans_are_listed_with_what_came_of_them(audit: Audit, book: Book, fakes: FakeProviders):
    assert audit("remediate", "list").out.startswith("Nothing has been planned yet")
    made = plan(audit, book)
    assert made["id"] in audit("remediate", "list").out
    audit("remediate", "approve", made["id"], "--by", "bob")
    fakes.next_answers[f"{HOOKS}disable"].append(Reply(401, f"no such token: {PASSWORD}"))
    failed = audit("remediate", "apply", made["id"], "--by", "carol")
    assert failed.code == 1
    assert "failed: disable_capability" in failed.out
    assert "sends it again" in failed.err
    (listed,) = audit("remediate", "list", "--json").figures["remediations"]
    assert (listed["state"], listed["approved_by"], listed["applied_by"]) == ("failed", "bob", "carol")


def test_without_an_address_or_with_sending_off_nothing_is_sent_and_the_mend_is_named(
    audit: Audit, book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    made = plan(audit, book)
    audit("remediate", "approve", made["id"], "--by", "bob")
    monkeypatch.setenv("AI_AUDIT_SEND", "0")
    assert "AI_AUDIT_SEND=0: nothing is sent" in one_line(audit("remediate", "apply", made["id"]), 2)
    monkeypatch.delenv("AI_AUDIT_SEND")
    monkeypatch.delenv("AI_AUDIT_REMEDIATION_URL")
    assert "AI_AUDIT_REMEDIATION_URL: is not set" in one_line(audit("remediate", "apply", made["id"]), 2)
    assert "which is not set" in audit("remediate", "apply", made["id"], "--dry-run").out
    assert audit("remediate", "list", "--json").figures["remediations"][0]["attempts"] == 0


def test_an_address_that_is_none_is_refused_without_being_told(
    audit: Audit, book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_REMEDIATION_URL", f"ftp://{PASSWORD}@host")
    assert "AI_AUDIT_REMEDIATION_URL" in one_line(audit("remediate", "list"), 2)


def test_plans_and_alerts_that_are_not_there_are_named(audit: Audit, book: Book):
    assert "x: no such plan; `audit remediate list` names them" in one_line(audit("remediate", "apply", "x"), 2)
    asked = ["remediate", "plan", "nonsense", "--by", "alice", "--reason", "x"]
    assert "nonsense: no such alert" in one_line(audit(*asked), 2)
