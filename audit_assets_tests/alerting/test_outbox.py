"""The outbox: in order, once, and never lost; on SQLite and on Postgres."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.engine import Connection

from audit_assets.alerting import outbox
from audit_assets.alerting.backoff import LONGEST, backoff
from audit_assets.alerting.outbox import GIVE_UP_AFTER, LEASE, Delivery, Entry
from audit_assets.alerting.outcome import Outcome
from audit_assets_tests.alerting.made_ledger import NOON, Book

pytestmark = pytest.mark.requirement("R40", "R41")

SENT = Outcome("sent", "accepted", "ref")
DOWN = Outcome("retry", "HTTP 503")
UNKNOWN = Outcome("uncertain", "timed out")
FIRST = Entry("stream a", "slack:#a", "post", "volume_spike", "1", {"text": "one"})
SECOND = replace(FIRST, action="edit", about="2")
ELSEWHERE = replace(FIRST, stream="stream b", target="pagerduty:b", action="trigger")


def put(book: Book, *entries: Entry) -> None:
    with book.ledger.transaction() as connection:
        for entry in entries:
            outbox.enqueue(connection, entry, NOON)


def taken(book: Book, after: timedelta = timedelta(), worker: str = "one") -> Delivery | None:
    with book.ledger.transaction() as connection:
        return outbox.claim(connection, NOON + after, worker)


def settled(
    book: Book, delivery: Delivery | None, outcome: Outcome, after: timedelta = timedelta(), worker: str = "one"
) -> str:
    assert delivery is not None
    with book.ledger.transaction() as connection:
        return outbox.settle(connection, delivery, outcome, NOON + after, worker)


def test_the_same_row_put_twice_is_one(book: Book):
    put(book, FIRST, FIRST)
    assert len(book.rows("deliveries")) == 1


def test_rows_of_a_stream_go_one_after_the_other(book: Book):
    put(book, FIRST, SECOND, ELSEWHERE)
    first, other = taken(book), taken(book)
    assert first is not None
    assert other is not None
    assert (first.action, other.target) == ("post", "pagerduty:b")
    assert taken(book) is None, "the second of the stream waits for the first"
    assert settled(book, first, SENT) == "sent"
    second = taken(book)
    assert second is not None
    assert second.action == "edit"


def test_a_row_is_leased_to_one_and_free_again_when_the_lease_is_over(book: Book):
    put(book, FIRST)
    first = taken(book, worker="killed")
    assert first is not None
    assert not first.maybe_taken
    assert taken(book, LEASE / 2, "other") is None
    again = taken(book, LEASE, "other")
    assert again is not None
    assert again.maybe_taken, "nobody knows whether it was sent: it is looked for first"
    assert settled(book, first, SENT, LEASE, "killed") == "lost"
    assert settled(book, again, SENT, LEASE, "other") == "sent"


def test_a_provider_that_is_down_rests_and_the_others_go_on(book: Book):
    put(book, FIRST, replace(FIRST, stream="stream c"), ELSEWHERE)
    settled(book, taken(book), DOWN)
    other = taken(book)
    assert other is not None
    assert other.target == "pagerduty:b"
    assert taken(book) is None
    assert taken(book, LONGEST) is not None


def test_retry_after_is_waited_for_at_least(book: Book):
    put(book, FIRST)
    settled(book, taken(book), Outcome("retry", "rate limited", retry_after=timedelta(seconds=90)))
    assert taken(book, timedelta(seconds=89)) is None
    assert taken(book, timedelta(seconds=91)) is not None


def test_what_nobody_knows_to_be_sent_stays_so_until_it_is_found_or_sent(book: Book):
    put(book, FIRST)
    settled(book, taken(book), UNKNOWN)
    second = taken(book, LONGEST)
    assert second is not None
    assert second.maybe_taken
    settled(book, second, DOWN, LONGEST)
    third = taken(book, 3 * LONGEST)
    assert third is not None
    assert third.maybe_taken, "an answer to a later attempt says nothing of the first"


def test_a_bad_token_parks_the_target_and_all_is_sent_once_it_is_mended(book: Book):
    put(book, *(replace(FIRST, stream=f"stream {number}") for number in range(3)))
    assert settled(book, taken(book), Outcome("parked", "invalid_auth")) == "parked"
    assert taken(book) is None
    assert settled(book, taken(book, timedelta(minutes=1)), SENT, timedelta(minutes=1)) == "sent"
    for _ in range(2):
        assert settled(book, taken(book, timedelta(minutes=1)), SENT, timedelta(minutes=1)) == "sent"
    assert {row.status for row in book.rows("deliveries")} == {"sent"}
    assert book.rows("targets")[0].parked_since is None


@pytest.mark.parametrize("outcome", [None, DOWN, Outcome("parked", "invalid_auth")])
def test_what_was_put_off_while_the_clock_was_ahead_is_not_put_off_until_then(book: Book, outcome: Outcome | None):
    put(book, FIRST)
    ahead = timedelta(days=1)
    first = taken(book, ahead, "killed")
    if outcome is not None:
        settled(book, first, outcome, ahead, "killed")
    assert taken(book) is not None
    assert taken(book) is None, "once"


def test_a_bad_token_does_not_answer_whether_an_earlier_attempt_was_taken(book: Book):
    put(book, FIRST)
    settled(book, taken(book), UNKNOWN)
    assert settled(book, taken(book, LONGEST), Outcome("parked", "token_revoked"), LONGEST) == "parked"
    again = taken(book, LONGEST + timedelta(minutes=1))
    assert again is not None
    assert again.maybe_taken, "it is looked for before it is sent again"


def test_after_a_day_a_row_is_given_up_and_the_next_goes(book: Book):
    put(book, FIRST, SECOND)
    settled(book, taken(book), DOWN)
    late = GIVE_UP_AFTER + timedelta(minutes=1)
    assert settled(book, taken(book, late), DOWN, late) == "dead"
    following = taken(book, late + LONGEST)
    assert following is not None
    assert following.action == "edit"


def test_a_row_that_fails_by_itself_lets_others_of_its_target_pass(book: Book):
    put(book, FIRST, replace(FIRST, stream="stream c"))
    at = timedelta()
    for _ in range(5):
        one = taken(book, at)
        assert one is not None
        assert one.stream == "stream a"
        settled(book, one, DOWN, at)
        at += timedelta(seconds=40)
    with book.ledger.transaction() as connection:
        due(connection, "stream a", at + LONGEST)
    other = taken(book, at)
    assert other is not None
    assert other.stream == "stream c"


def due(connection: Connection, stream: str, after: timedelta) -> None:
    row = outbox.first_of(connection, stream, "post")
    assert row is not None
    connection.execute(
        outbox.deliveries.update().where(outbox.deliveries.c.seq == row.seq).values(not_before=NOON + after)
    )


def test_waiting_doubles_up_to_five_minutes_and_differs_by_row():
    waits = [backoff(number, "a") for number in range(1, 30)]
    assert timedelta(milliseconds=500) <= waits[0] <= timedelta(seconds=1)
    assert all(LONGEST / 2 <= wait <= LONGEST for wait in waits[10:])
    assert backoff(4, "a") != backoff(4, "b")
