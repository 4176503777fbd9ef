"""Messages about drills: each drill has its own message, whatever other drills do at the same time."""

from datetime import timedelta

import pytest

from audit_assets.alerting.delivery.outbox import CLOSING_ACTIONS, OPENING_ACTIONS, drill_deliveries
from audit_assets_tests.alerting.ledger_factories import (
    NOON,
    OPS_CHANNEL,
    PAGER,
    QUARTER,
    Book,
    episode,
    later,
    rule_result,
)
from audit_assets_tests.alerting.test_deliverer import DeliveryHarness, harness

__all__ = ["harness"]

pytestmark = pytest.mark.requirement("R39")


def fire(book: Book, *capabilities: str, minutes: float, since: float = 0) -> None:
    """Evaluates the rule after `minutes`: the given capabilities of drills fire, all others do not."""
    at = later(minutes=minutes)
    firing = [episode(name, at=at, since=NOON - QUARTER, environment="sim") for name in capabilities]
    book.record(rule_result(*firing, at=at), now=at)


@pytest.mark.parametrize("minutes", [0, 15], ids=["evaluated together", "a quarter of an hour later"])
def test_two_drills_of_a_rule_have_a_message_each_which_the_other_does_not_change(
    harness: DeliveryHarness, minutes: float
):
    fire(harness.book, "drill-a", *(["drill-b"] if minutes == 0 else []), minutes=0)
    harness.deliver()
    if minutes:
        harness.at += timedelta(minutes=minutes)
        at = harness.at
        first = episode("drill-a", at=at, since=NOON - QUARTER, environment="sim")
        harness.book.record(rule_result(first, episode("drill-b", at=at, environment="sim"), at=at), now=at)
        harness.deliver()
    messages = harness.fakes.received().posts
    assert [("drill-a" in one.text, "drill-b" in one.text, one.edits) for one in messages] == [
        (True, False, 0), (False, True, 0),
    ]  # fmt: skip
    assert len(harness.fakes.incidents()) == 2

    fire(harness.book, "drill-b", minutes=minutes + 15)
    harness.deliver(QUARTER)
    assert [one.edits for one in harness.fakes.received().posts] == [1, 0]


def test_a_drill_counts_what_was_sent_about_itself_and_not_what_another_drill_sent(harness: DeliveryHarness):
    fire(harness.book, "drill-a", "drill-b", minutes=0)
    harness.deliver()
    fire(harness.book, "drill-a", minutes=15)
    harness.deliver(QUARTER)

    def sent(capability: str, actions: tuple[str, ...], since: timedelta = timedelta()) -> list[str]:
        with harness.book.ledger.transaction() as connection:
            rows = drill_deliveries(connection, "volume_spike", capability, NOON + since)
        return sorted(row.target for row in rows if row.action in actions and row.status == "sent")

    assert sent("drill-a", OPENING_ACTIONS) == sent("drill-b", OPENING_ACTIONS) == [PAGER, OPS_CHANNEL]
    assert (sent("drill-a", CLOSING_ACTIONS), sent("drill-b", CLOSING_ACTIONS)) == ([], [PAGER, OPS_CHANNEL])
    assert sent("drill-b", OPENING_ACTIONS, since=timedelta(minutes=1)) == [], "of an earlier drill of that name"
    assert sent("drill-c", OPENING_ACTIONS) == []
