"""A message that stays open is answered in its thread, as often as its route says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from audit_assets.alerting.record import acknowledge
from audit_assets.alerting.silences import Silence, silence
from audit_assets.rules.routing import Routing
from audit_assets_tests.alerting.made_ledger import NOON, ON_CALL, OPS, Book
from audit_assets_tests.alerting.test_deliverer import Post, post

__all__ = ["post"]

pytestmark = pytest.mark.requirement("R41")

HOUR = timedelta(hours=1)
REMINDING = Routing.model_validate({"routes": {"on_call": {**ON_CALL, "remind_after": "4h"}, "ops": OPS}})


@pytest.fixture
def reminding(post: Post) -> Post:
    post.book = replace(post.book, routing=REMINDING)
    post.opened("chat", "search")
    post.deliver()
    return post


def hours(post: Post, number: int) -> list[str]:
    """What the thread holds after so many hours in which the deliverer looks twice each."""
    for _ in range(2 * number):
        post.deliver(HOUR / 2)
    return [one.text for one in post.fakes.reading().replies]


def test_it_is_told_each_time_and_once(reminding: Post):
    assert hours(reminding, 3) == []
    (first,) = hours(reminding, 2)
    assert first.startswith("Still open, for 4 h")
    assert "`chat`, `search`" in first
    assert len(hours(reminding, 4)) == 2


def test_a_pause_of_a_day_is_made_good_by_one(reminding: Post):
    reminding.at += 24 * HOUR
    assert len(hours(reminding, 1)) == 1


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
def test_nobody_is_reminded_of_what_somebody_took_or_silenced(reminding: Post, quieted: Callable[[Book], None]):
    quieted(reminding.book)
    assert hours(reminding, 9) == []


def test_no_shipped_route_reminds(post: Post):
    post.opened("chat", "search")
    post.deliver()
    assert hours(post, 9) == []
