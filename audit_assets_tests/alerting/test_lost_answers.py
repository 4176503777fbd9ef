"""A message whose response was lost is looked for before it is sent again, whatever happened to its row meanwhile and
whatever time our clock or Slack's clock shows."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import GIVE_UP_AFTER
from audit_assets_tests.alerting.test_deliverer import POST, DeliveryHarness, harness
from tools.fakes.answering import Faults, Reply
from tools.fakes.providers import PAGERDUTY_PATH

__all__ = ["harness"]

pytestmark = pytest.mark.requirement("R40", "R41")

HISTORY = "/api/conversations.history"
DROPPED = Faults(dropped_after_processing=1.0)
TWO_HOURS, TWO_MINUTES = timedelta(hours=2), timedelta(minutes=2)


def lose_response(harness: DeliveryHarness, ahead: timedelta = timedelta()) -> None:
    """The channel id is known from an earlier message; Slack accepts the next one, and its response is lost."""
    harness.opened("earlier")
    harness.deliver()
    harness.cleared()
    harness.deliver()
    harness.opened(at=harness.at + TWO_HOURS + ahead)
    harness.fakes.faults = DROPPED
    harness.deliver()
    harness.fakes.faults = Faults()
    assert len(harness.fakes.received().posts) == 2


def retried(harness: DeliveryHarness) -> tuple[int, int]:
    with harness.book.ledger.transaction() as connection:
        return outbox.retry_dead(connection)


def parked(harness: DeliveryHarness) -> None:
    harness.fakes.slack.bad_token = True
    harness.deliver(TWO_MINUTES)
    assert ("post", "parked") in harness.book.outbox()
    harness.fakes.slack.bad_token = False


def given_up(harness: DeliveryHarness) -> None:
    harness.fakes.down = {"slack"}
    harness.deliver(GIVE_UP_AFTER + TWO_MINUTES)
    assert ("post", "dead") in harness.book.outbox()
    harness.fakes.down = set()


def refused(harness: DeliveryHarness) -> None:
    """The search finds nothing yet, and the second attempt is refused: its fallback is looked for too."""
    harness.fakes.next_replies[HISTORY].append(Reply(200, {"ok": True, "messages": []}))
    harness.fakes.next_replies[POST].append(Reply(200, {"ok": False, "error": "invalid_blocks"}))
    harness.deliver(TWO_MINUTES)


def to_the_console(harness: DeliveryHarness) -> None:
    client, harness.slack = harness.slack, None
    harness.deliver(TWO_MINUTES)
    harness.slack = client


def no_history(harness: DeliveryHarness) -> None:
    """Slack revokes the token during the search and restores it before the post."""
    harness.fakes.next_replies[HISTORY].append(Reply(200, {"ok": False, "error": "token_revoked"}))
    harness.deliver(TWO_MINUTES)


@pytest.mark.parametrize("path", [parked, given_up, refused, to_the_console, no_history])
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_message_whose_answer_was_lost_is_sent_once_whatever_became_of_its_row(
    harness: DeliveryHarness, path: Callable[[DeliveryHarness], None], by_hand: bool
):
    lose_response(harness)
    path(harness)
    if by_hand or path is given_up:
        retried(harness)
    for _ in range(3):
        harness.deliver(TWO_MINUTES)
    assert len(harness.fakes.received().posts) == 2
    assert harness.fakes.received().delivered_twice == []
    assert ("post", "dead") not in harness.book.outbox()


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
def test_a_lost_answer_is_one_message_however_far_slacks_clock_is_from_ours(harness: DeliveryHarness, hours: float):
    harness.fakes.slack.clock_is_ahead = hours * 3600
    lose_response(harness)
    harness.deliver(TWO_MINUTES)
    assert len(harness.fakes.received().posts) == 2
    assert {status for action, status in harness.book.outbox() if action == "post"} == {"sent"}


@pytest.mark.parametrize("missing", [set[str](), {"private_channel"}])
def test_the_first_message_of_a_channel_is_found_by_the_name_of_the_channel(
    harness: DeliveryHarness, missing: set[str]
):
    """The channel's id is not known from an earlier message, and Slack reads a history by id only."""
    harness.fakes.slack.missing_list_scopes = missing
    harness.opened()
    harness.fakes.faults = DROPPED
    harness.deliver()
    harness.fakes.faults = Faults()
    harness.deliver(TWO_MINUTES)
    assert len(harness.fakes.received().posts) == 1
    assert {status for action, status in harness.book.outbox() if action == "post"} == {"sent"}


def test_setting_our_clock_back_sends_no_duplicates(harness: DeliveryHarness):
    lose_response(harness, ahead=timedelta(days=3))
    harness.deliver(-timedelta(days=3) + TWO_MINUTES)
    assert len(harness.fakes.received().posts) == 2


def test_the_search_ends_at_the_message_before_the_first_attempt(harness: DeliveryHarness):
    lose_response(harness)
    harness.fakes.next_replies[HISTORY].append(
        Reply(200, {"ok": True, "messages": [{"ts": "1.0"}], "response_metadata": {"next_cursor": "1"}})
    )
    before = len([path for path, _ in harness.fakes.bodies if path == HISTORY])
    harness.deliver(TWO_MINUTES)
    assert len([path for path, _ in harness.fakes.bodies if path == HISTORY]) == before + 1


def test_a_manual_retry_does_not_page_for_resolved_episodes_and_overwrites_nothing_newer(harness: DeliveryHarness):
    invalid = Reply(400, {"status": "invalid event", "message": "no", "errors": ["'summary' is wrong"]})
    harness.fakes.next_replies[PAGERDUTY_PATH].extend([invalid] * 2)
    harness.opened()
    harness.deliver()
    harness.cleared()
    harness.deliver()
    assert retried(harness) == (0, 1)
    harness.deliver(TWO_MINUTES)
    assert harness.fakes.incidents() == {}


def test_a_manual_retry_sends_dead_messages_that_still_fire(harness: DeliveryHarness):
    invalid = Reply(400, {"status": "invalid event", "message": "no", "errors": ["'summary' is wrong"]})
    harness.fakes.next_replies[PAGERDUTY_PATH].extend([invalid] * 2)
    harness.opened()
    harness.deliver()
    assert retried(harness) == (1, 0)
    harness.deliver(TWO_MINUTES)
    assert harness.states() == ["open"]


def test_a_page_given_up_in_doubt_is_closed_when_its_episode_is(harness: DeliveryHarness):
    harness.opened()
    harness.fakes.faults = DROPPED
    harness.deliver()
    harness.fakes.faults = Faults()
    harness.fakes.down = {"pagerduty"}
    harness.deliver(GIVE_UP_AFTER + TWO_MINUTES)
    harness.fakes.down = set()
    assert harness.states() == ["open"], "PagerDuty has it, and we do not know"
    harness.cleared()
    harness.deliver(timedelta(minutes=10))
    assert harness.states() == ["resolved"]
