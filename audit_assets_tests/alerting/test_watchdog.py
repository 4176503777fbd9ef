"""Problems of the alerting system, as the watchdog reports them."""

from datetime import timedelta

import pytest

from audit_assets.alerting.delivery.watchdog import GRACE_PERIOD, find_problems
from audit_assets_tests.alerting.ledger_factories import NOON, Book, rule_result
from audit_assets_tests.alerting.test_deliverer import DeliveryHarness, harness, silenced
from tools.fakes.answering import Reply
from tools.fakes.providers import PAGERDUTY_PATH

__all__ = ["harness"]

pytestmark = pytest.mark.requirement("R46")


def about(book: Book, after: timedelta) -> list[str]:
    with book.ledger.transaction() as connection:
        return sorted(one.about for one in find_problems(connection, NOON + after))


def test_a_working_alerter_has_no_problems(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    assert about(harness.book, GRACE_PERIOD) == []


def test_a_new_ledger_reports_what_to_start(book: Book):
    assert about(book, timedelta()) == ["delivering", "judging"]


def test_a_dead_daemon_is_reported_within_ten_minutes(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    assert timedelta(minutes=10) > GRACE_PERIOD
    assert about(harness.book, GRACE_PERIOD + timedelta(seconds=1)) == ["delivering", "judging"]


def test_undelivered_messages_are_reported_by_target(harness: DeliveryHarness):
    harness.opened()
    harness.fakes.down = {"slack"}
    harness.deliver(GRACE_PERIOD)
    with harness.book.ledger.transaction() as connection:
        detail = [
            one.detail for one in find_problems(connection, harness.at + timedelta(seconds=1)) if one.about != "judging"
        ]
    assert len(detail) == 1
    assert "1 message to slack:#ai-copilot-ops waiting" in detail[0]


def test_a_token_that_is_not_accepted_is_reported(harness: DeliveryHarness):
    harness.fakes.slack.bad_token = True
    harness.opened()
    harness.deliver()
    assert about(harness.book, timedelta(minutes=1)) == ["slack:#ai-copilot-ops"]


def test_silenced_messages_are_no_problem(harness: DeliveryHarness):
    silenced(harness, rule_id="volume_spike")
    harness.opened()
    for _ in range(3):
        harness.deliver(GRACE_PERIOD / 3)
    assert about(harness.book, GRACE_PERIOD) == []


def test_dead_messages_are_reported_for_a_day(harness: DeliveryHarness):
    refused = Reply(400, {"status": "invalid event", "message": "no", "errors": ["'summary' is wrong"]})
    harness.fakes.next_replies[PAGERDUTY_PATH].extend([refused] * 2)
    harness.opened()
    harness.deliver()
    assert about(harness.book, timedelta(minutes=1)) == ["given up"]
    assert "given up" not in about(harness.book, timedelta(hours=25))


def test_what_a_wrong_clock_dated_into_the_future_is_no_sign_of_life(harness: DeliveryHarness):
    harness.opened(at=NOON + timedelta(days=1))
    harness.deliver()
    assert about(harness.book, timedelta()) == ["delivering", "judging"]


def test_rules_that_are_evaluated_on_facts_of_an_hour_ago_are_reported(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    book, later = harness.book, timedelta(hours=1)
    book.record(rule_result(at=NOON, rule="new_capability"), now=NOON + later, as_of=NOON)
    with book.ledger.transaction() as connection:
        (detail,) = [one.detail for one in find_problems(connection, NOON + later) if one.about == "facts"]
    assert detail == "rules are evaluated on facts of 2026-11-24 12:00 UTC, 1 h old: check the runs of audit_sync"
    book.record(rule_result(at=NOON, rule="new_capability"), now=NOON + later, as_of=NOON + later)
    assert "facts" not in about(book, later)
