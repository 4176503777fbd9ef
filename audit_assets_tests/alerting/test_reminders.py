"""A message that stays open gets reminders in its thread, at the interval of its route."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from audit_assets.alerting.delivery.silences import Silence, silence
from audit_assets.alerting.ledger.store import acknowledge
from audit_assets.rules.routing import Routing
from audit_assets_tests.alerting.ledger_factories import NOON, ON_CALL, OPS, Book
from audit_assets_tests.alerting.test_deliverer import DeliveryHarness, harness

__all__ = ["harness"]

pytestmark = pytest.mark.requirement("R41")

HOUR = timedelta(hours=1)
REMINDING = Routing.model_validate({"routes": {"on_call": {**ON_CALL, "remind_after": "4h"}, "ops": OPS}})


@pytest.fixture
def harness_with_reminders(harness: DeliveryHarness) -> DeliveryHarness:
    harness.book = replace(harness.book, routing=REMINDING)
    harness.opened("chat", "search")
    harness.deliver()
    return harness


def replies_after(harness: DeliveryHarness, number: int) -> list[str]:
    """The replies in the thread after `number` hours in which the deliverer runs twice per hour."""
    for _ in range(2 * number):
        harness.deliver(HOUR / 2)
    return [one.text for one in harness.fakes.received().replies]


def test_each_reminder_is_sent_once(harness_with_reminders: DeliveryHarness):
    assert replies_after(harness_with_reminders, 3) == []
    (first,) = replies_after(harness_with_reminders, 2)
    assert first.startswith("Still open after 4 h")
    assert "`chat`, `search`" in first
    assert len(replies_after(harness_with_reminders, 4)) == 2


def test_after_a_pause_of_a_day_there_is_one_reminder(harness_with_reminders: DeliveryHarness):
    harness_with_reminders.at += 24 * HOUR
    assert len(replies_after(harness_with_reminders, 1)) == 1


def _acknowledged(book: Book) -> None:
    keys = book.open()
    with book.ledger.transaction() as connection:
        for key in keys:
            acknowledge(connection, key, NOON, "Ada")


def _silenced(book: Book) -> None:
    asked = Silence(0, "volume_spike", None, None, NOON, NOON + 48 * HOUR, "a move", "Ada")
    with book.ledger.transaction() as connection:
        silence(connection, asked, NOON)


@pytest.mark.parametrize("quieted", [_acknowledged, _silenced])
def test_acknowledged_and_silenced_episodes_get_no_reminders(
    harness_with_reminders: DeliveryHarness, quieted: Callable[[Book], None]
):
    quieted(harness_with_reminders.book)
    assert replies_after(harness_with_reminders, 9) == []


def test_no_shipped_route_reminds(harness: DeliveryHarness):
    harness.opened("chat", "search")
    harness.deliver()
    assert replies_after(harness, 9) == []
