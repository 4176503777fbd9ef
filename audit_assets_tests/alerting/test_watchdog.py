"""The alerter's own silence, as the watchdog sees it."""

from datetime import timedelta

import pytest

from audit_assets.alerting.watchdog import PATIENCE, troubles
from audit_assets_tests.alerting.made_ledger import NOON, Book
from audit_assets_tests.alerting.test_deliverer import Post, post, silenced
from audit_assets_tests.fakes.answering import Reply
from audit_assets_tests.fakes.providers import PAGERDUTY_PATH

__all__ = ["post"]

pytestmark = pytest.mark.requirement("R46")


def about(book: Book, after: timedelta) -> list[str]:
    with book.ledger.transaction() as connection:
        return sorted(one.about for one in troubles(connection, NOON + after))


def test_an_alerter_at_work_is_no_trouble(post: Post):
    post.opened()
    post.deliver()
    assert about(post.book, PATIENCE) == []


def test_a_new_ledger_says_what_to_start(book: Book):
    assert about(book, timedelta()) == ["delivering", "judging"]


def test_a_dead_daemon_is_told_within_ten_minutes(post: Post):
    post.opened()
    post.deliver()
    assert timedelta(minutes=10) > PATIENCE
    assert about(post.book, PATIENCE + timedelta(seconds=1)) == ["delivering", "judging"]


def test_messages_that_do_not_go_out_are_told_by_target(post: Post):
    post.opened()
    post.fakes.down = {"slack"}
    post.deliver(PATIENCE)
    with post.book.ledger.transaction() as connection:
        said = [one.said for one in troubles(connection, post.at + timedelta(seconds=1)) if one.about != "judging"]
    assert len(said) == 1
    assert "1 messages to slack:#ai-copilot-ops wait" in said[0]


def test_a_token_that_is_not_taken_is_told(post: Post):
    post.fakes.slack.bad_token = True
    post.opened()
    post.deliver()
    assert about(post.book, timedelta(minutes=1)) == ["slack:#ai-copilot-ops"]


def test_what_is_silenced_is_no_trouble(post: Post):
    silenced(post, rule_id="volume_spike")
    post.opened()
    for _ in range(3):
        post.deliver(PATIENCE / 3)
    assert about(post.book, PATIENCE) == []


def test_what_was_given_up_is_told_for_a_day(post: Post):
    refused = Reply(400, {"status": "invalid event", "message": "no", "errors": ["'summary' is wrong"]})
    post.fakes.next_answers[PAGERDUTY_PATH].extend([refused] * 2)
    post.opened()
    post.deliver()
    assert about(post.book, timedelta(minutes=1)) == ["given up"]
    assert "given up" not in about(post.book, timedelta(hours=25))


def test_what_a_wrong_clock_dated_into_the_future_is_no_sign_of_life(post: Post):
    post.opened(at=NOON + timedelta(days=1))
    post.deliver()
    assert about(post.book, timedelta()) == ["delivering", "judging"]
