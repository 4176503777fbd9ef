"""`audit remediate`: output, rejected requests, and that nothing is sent before approval."""

from collections.abc import Iterator
from typing import Any

import pytest

from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets_tests.alerting.ledger_factories import Book, episode, rule_result
from audit_assets_tests.cli.running import PASSWORD, Audit, error_line
from audit_assets_tests.environments import NOW, Home
from tools.fakes.answering import Reply
from tools.fakes.providers import HOOKS, FakeProviders
from tools.fakes.webhook import FakeWebhook

pytestmark = pytest.mark.requirement("R47")

NAME = "chat [red]\u202e"


@pytest.fixture
def book(empty_home: Home) -> Iterator[Book]:
    """The ledger of an empty home, with one episode whose name contains markup and control characters."""
    ledger = open_ledger(empty_home.settings().ledger_url)
    book, now = Book(ledger), NOW
    book.record(rule_result(episode(NAME, at=now), at=now), now=now)
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
    assert "nothing was sent; `apply` would be refused:" in shown.err
    assert "not approved yet" in error_line(audit("remediate", "apply", made["id"]), 2)
    assert "planned by alice; another person" in error_line(
        audit("remediate", "approve", made["id"], "--by", "alice"), 2
    )
    approved = audit("remediate", "approve", made["id"], "--by", "bob")
    assert "planned by alice: a loop, approved by bob" in approved.out
    assert f"`audit remediate apply {made['id']}` sends it until" in approved.err
    assert "refused" not in audit("remediate", "apply", made["id"], "--dry-run", "--json").figures
    assert fakes.bodies == []
    done = audit("remediate", "apply", made["id"])
    assert (done.code, done.out[:9]) == (0, "applied: ")
    (taken,) = fakes.effects("hook")
    assert taken["body"] == made["request"]["body"]
    assert "there is nothing left to do" in error_line(audit("remediate", "apply", made["id"]), 2)
    events = [one["kind"] for one in audit("alerts", "show", book.open()[0], "--json").figures["events"]]
    steps = ["planned", "approved", "applying", "applied"]
    assert events == ["opened", *(f"remediation_{step}" for step in steps)]


def test_plans_are_listed_with_what_came_of_them(audit: Audit, book: Book, fakes: FakeProviders):
    assert audit("remediate", "list").out.startswith("No remediation has been planned yet")
    made = plan(audit, book)
    assert made["id"] in audit("remediate", "list").out
    audit("remediate", "approve", made["id"], "--by", "bob")
    fakes.next_replies[f"{HOOKS}disable"].append(Reply(401, f"no such token: {PASSWORD}"))
    failed = audit("remediate", "apply", made["id"], "--by", "carol")
    assert failed.code == 1
    assert "failed: disable_capability" in failed.out
    assert "sends it again" in failed.err
    (listed,) = audit("remediate", "list", "--json").figures["remediations"]
    assert (listed["state"], listed["approved_by"], listed["applied_by"]) == ("failed", "bob", "carol")


def test_without_an_address_or_with_sending_off_nothing_is_sent_and_the_fix_is_named(
    audit: Audit, book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    made = plan(audit, book)
    audit("remediate", "approve", made["id"], "--by", "bob")
    monkeypatch.setenv("AI_AUDIT_SEND", "0")
    assert "AI_AUDIT_SEND=0: sending is off" in error_line(audit("remediate", "apply", made["id"]), 2)
    monkeypatch.delenv("AI_AUDIT_SEND")
    monkeypatch.delenv("AI_AUDIT_REMEDIATION_URL")
    assert "AI_AUDIT_REMEDIATION_URL: is not set" in error_line(audit("remediate", "apply", made["id"]), 2)
    assert "which is not set" in audit("remediate", "apply", made["id"], "--dry-run").out
    assert audit("remediate", "list", "--json").figures["remediations"][0]["attempts"] == 0


def test_an_invalid_address_is_rejected_without_being_printed(
    audit: Audit, book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_REMEDIATION_URL", f"ftp://{PASSWORD}@host")
    assert "AI_AUDIT_REMEDIATION_URL" in error_line(audit("remediate", "list"), 2)


def test_plans_and_alerts_that_are_not_there_are_named(audit: Audit, book: Book):
    assert "x: no such plan; `audit remediate list` shows all plans" in error_line(audit("remediate", "apply", "x"), 2)
    asked = ["remediate", "plan", "nonsense", "--by", "alice", "--reason", "x"]
    assert "nonsense: no such alert" in error_line(audit(*asked), 2)
