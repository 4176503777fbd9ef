"""The outbox: rows are sent in order, once, and are never lost; on SQLite and on Postgres."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.engine import Connection

from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import GIVE_UP_AFTER, LEASE, MAX_BACKOFF, Delivery, Entry, backoff
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets_tests.alerting.ledger_factories import NOON, Book

pytestmark = pytest.mark.requirement("R40", "R41")

SENT = Outcome("sent", "accepted", "ref")
DOWN = Outcome("retry", "HTTP 503")
UNKNOWN = Outcome("uncertain", "timed out")
FIRST = Entry("stream a", "slack:#a", "post", "volume_spike", "1", {"text": "one"})
SECOND = replace(FIRST, action="edit", about="2")
ELSEWHERE = replace(FIRST, stream="stream b", target="pagerduty:b", action="trigger")


def enqueue(book: Book, *entries: Entry) -> None:
    with book.ledger.transaction() as connection:
        for entry in entries:
            outbox.enqueue(connection, entry, NOON)


def claimed(book: Book, after: timedelta = timedelta(), worker: str = "one") -> Delivery | None:
    with book.ledger.transaction() as connection:
        return outbox.claim(connection, NOON + after, worker)


def settle(
    book: Book, delivery: Delivery | None, outcome: Outcome, after: timedelta = timedelta(), worker: str = "one"
) -> str:
    assert delivery is not None
    with book.ledger.transaction() as connection:
        return outbox.settle(connection, delivery, outcome, NOON + after, worker)


def test_two_deliverers_that_claim_at_once_never_have_two_rows_of_a_target(book: Book):
    enqueue(book, FIRST, replace(FIRST, stream="stream c"), ELSEWHERE)
    found: list[Delivery | None] = []
    second = threading.Thread(target=lambda: found.extend([claimed(book, worker="two"), claimed(book, worker="two")]))
    with book.ledger.transaction() as connection:
        first = outbox.claim(connection, NOON, "one")
        second.start()
        second.join(0.5)
    second.join(20)
    assert first is not None
    assert [row and row.target for row in (first, *found)] == ["slack:#a", "pagerduty:b", None]


def test_the_same_row_enqueued_twice_is_one(book: Book):
    enqueue(book, FIRST, FIRST)
    assert len(book.rows("deliveries")) == 1


def test_rows_of_a_stream_go_one_after_the_other(book: Book):
    enqueue(book, FIRST, SECOND, ELSEWHERE)
    first, other = claimed(book), claimed(book)
    assert first is not None
    assert other is not None
    assert (first.action, other.target) == ("post", "pagerduty:b")
    assert claimed(book) is None, "the second of the stream waits for the first"
    assert settle(book, first, SENT) == "sent"
    second = claimed(book)
    assert second is not None
    assert second.action == "edit"


def test_a_row_is_leased_to_one_and_free_again_when_the_lease_is_over(book: Book):
    enqueue(book, FIRST)
    first = claimed(book, worker="killed")
    assert first is not None
    assert not first.maybe_taken
    assert claimed(book, LEASE / 2, "other") is None
    again = claimed(book, LEASE, "other")
    assert again is not None
    assert again.maybe_taken, "the outcome is unknown: it is looked for first"
    assert settle(book, first, SENT, LEASE, "killed") == "lost"
    assert settle(book, again, SENT, LEASE, "other") == "sent"


def test_a_provider_that_is_down_rests_and_the_others_go_on(book: Book):
    enqueue(book, FIRST, replace(FIRST, stream="stream c"), ELSEWHERE)
    settle(book, claimed(book), DOWN)
    other = claimed(book)
    assert other is not None
    assert other.target == "pagerduty:b"
    assert claimed(book) is None
    assert claimed(book, MAX_BACKOFF) is not None


def test_retry_after_is_waited_for_at_least(book: Book):
    enqueue(book, FIRST)
    settle(book, claimed(book), Outcome("retry", "rate limited", retry_after=timedelta(seconds=90)))
    assert claimed(book, timedelta(seconds=89)) is None
    assert claimed(book, timedelta(seconds=91)) is not None


def test_an_uncertain_row_stays_uncertain_until_it_is_found_or_sent(book: Book):
    enqueue(book, FIRST)
    settle(book, claimed(book), UNKNOWN)
    second = claimed(book, MAX_BACKOFF)
    assert second is not None
    assert second.maybe_taken
    settle(book, second, DOWN, MAX_BACKOFF)
    third = claimed(book, 3 * MAX_BACKOFF)
    assert third is not None
    assert third.maybe_taken, "the response to a later attempt says nothing about the first"


def test_a_bad_token_parks_the_target_and_all_rows_are_sent_once_it_is_fixed(book: Book):
    enqueue(book, *(replace(FIRST, stream=f"stream {number}") for number in range(3)))
    assert settle(book, claimed(book), Outcome("parked", "invalid_auth")) == "parked"
    assert claimed(book) is None
    assert settle(book, claimed(book, timedelta(minutes=1)), SENT, timedelta(minutes=1)) == "sent"
    for _ in range(2):
        assert settle(book, claimed(book, timedelta(minutes=1)), SENT, timedelta(minutes=1)) == "sent"
    assert {row.status for row in book.rows("deliveries")} == {"sent"}
    assert book.rows("targets")[0].parked_since is None


@pytest.mark.parametrize("outcome", [None, DOWN, Outcome("parked", "invalid_auth")])
def test_a_backoff_set_while_the_clock_was_ahead_is_ignored(book: Book, outcome: Outcome | None):
    enqueue(book, FIRST)
    ahead = timedelta(days=1)
    first = claimed(book, ahead, "killed")
    if outcome is not None:
        settle(book, first, outcome, ahead, "killed")
    assert claimed(book) is not None
    assert claimed(book) is None, "once"


def test_a_bad_token_does_not_settle_whether_an_earlier_attempt_was_accepted(book: Book):
    enqueue(book, FIRST)
    settle(book, claimed(book), UNKNOWN)
    assert settle(book, claimed(book, MAX_BACKOFF), Outcome("parked", "token_revoked"), MAX_BACKOFF) == "parked"
    again = claimed(book, MAX_BACKOFF + timedelta(minutes=1))
    assert again is not None
    assert again.maybe_taken, "it is looked for before it is sent again"


def test_after_a_day_a_row_is_given_up_and_the_next_goes(book: Book):
    enqueue(book, FIRST, SECOND)
    settle(book, claimed(book), DOWN)
    late = GIVE_UP_AFTER + timedelta(minutes=1)
    assert settle(book, claimed(book, late), DOWN, late) == "dead"
    following = claimed(book, late + MAX_BACKOFF)
    assert following is not None
    assert following.action == "edit"


def test_a_row_that_fails_by_itself_lets_others_of_its_target_pass(book: Book):
    enqueue(book, FIRST, replace(FIRST, stream="stream c"))
    at = timedelta()
    for _ in range(5):
        delivery = claimed(book, at)
        assert delivery is not None
        assert delivery.stream == "stream a"
        settle(book, delivery, DOWN, at)
        at += timedelta(seconds=40)
    with book.ledger.transaction() as connection:
        due(connection, "stream a", at + MAX_BACKOFF)
    other = claimed(book, at)
    assert other is not None
    assert other.stream == "stream c"


def due(connection: Connection, stream: str, after: timedelta) -> None:
    row = outbox.first_row(connection, stream, "post")
    assert row is not None
    connection.execute(
        outbox.deliveries.update().where(outbox.deliveries.c.seq == row.seq).values(not_before=NOON + after)
    )


def test_waiting_doubles_up_to_five_minutes_and_differs_by_row():
    waits = [backoff(number, "a") for number in range(1, 30)]
    assert timedelta(milliseconds=500) <= waits[0] <= timedelta(seconds=1)
    assert all(MAX_BACKOFF / 2 <= wait <= MAX_BACKOFF for wait in waits[10:])
    assert backoff(4, "a") != backoff(4, "b")
