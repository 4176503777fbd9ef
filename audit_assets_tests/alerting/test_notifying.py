"""Notifications reach their readers: episodes that join a message, deleted messages whose episode still fires, and
messages that went to the console before a token was set."""

from datetime import timedelta

import pytest

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets_tests.alerting.ledger_factories import NOON, QUARTER, episode, later, rule_result
from audit_assets_tests.alerting.test_deliverer import POST, DeliveryHarness, harness
from tools.fakes.answering import Reply

__all__ = ["harness"]

pytestmark = pytest.mark.requirement("R40", "R41")

UPDATE = "/api/chat.update"
MINUTE = timedelta(minutes=1)
Clients = tuple[SlackClient | None, PagerDutyClient | None]


def no_message(word: str) -> Reply:
    return Reply(200, {"ok": False, "error": word})


def joined(harness: DeliveryHarness) -> None:
    """`search` fires a quarter of an hour after `chat`, and joins its message."""
    harness.at += QUARTER
    chat = episode("chat", at=harness.at, since=NOON - QUARTER)
    harness.book.record(rule_result(chat, episode("search", at=harness.at), at=harness.at), now=harness.at)


def test_a_second_episode_of_an_hour_notifies_the_channel_and_not_by_an_edit_alone(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    joined(harness)
    harness.deliver()
    reading = harness.fakes.received()
    (message,), (reply,) = reading.posts, reading.replies
    assert message.edits == 1
    assert (reply.thread_ts, reply.is_broadcast) == (message.ts, True)
    assert "search" in reply.text
    assert "chat" not in reply.text
    harness.deliver(MINUTE)
    assert len(harness.fakes.messages()) == 2, "once"


def test_a_resolved_episode_is_replied_to_only_in_the_thread(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    harness.cleared()
    harness.deliver()
    assert [one.is_broadcast for one in harness.fakes.received().replies] == [False]


def test_a_deleted_message_is_posted_again_when_another_episode_joins_it(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    first = harness.fakes.messages()[0]
    harness.fakes.slack.deleted.add(first.ts)
    joined(harness)
    harness.deliver()
    again = [one for one in harness.fakes.received().posts if one.ts != first.ts]
    assert len(again) == 1
    assert "and 1 more" in again[0].text
    assert harness.fakes.received().replies == [], "the new message includes the content of the reply"
    harness.deliver(MINUTE)
    assert len(harness.fakes.received().posts) == 2
    harness.cleared()
    harness.deliver()
    reading = harness.fakes.received()
    assert reading.posts[1].content["attachments"][0]["color"] == "#16A34A"
    assert {one.thread_ts for one in reading.replies} == {again[0].ts}, "what follows belongs to the new one"


@pytest.mark.parametrize(
    "word",
    [
        "message_not_found", "channel_not_found", "is_archived", "cant_update_message", "edit_window_closed",
        "thread_not_found",
    ],
)  # fmt: skip
def test_an_edit_that_finds_no_message_posts_again(harness: DeliveryHarness, word: str):
    harness.opened()
    harness.deliver()
    harness.fakes.next_replies[UPDATE].append(no_message(word))
    joined(harness)
    harness.deliver()
    assert len(harness.fakes.received().posts) == 2
    assert {status for _, status in harness.book.outbox()} == {"sent", "superseded"}


def test_a_new_message_that_is_not_accepted_at_once_is_retried_with_the_newest_state(harness: DeliveryHarness):
    harness.opened()
    harness.deliver()
    harness.fakes.slack.deleted.add(harness.fakes.messages()[0].ts)
    harness.fakes.next_replies[POST].append(Reply(503, "no"))
    joined(harness)
    harness.deliver()
    harness.at += QUARTER
    harness.book.record(rule_result(episode("search", at=harness.at, since=NOON), at=harness.at), now=harness.at)
    harness.deliver()
    _, again = harness.fakes.received().posts
    assert "search" in again.text


def test_an_episode_that_joins_a_refused_message_gets_its_own(harness: DeliveryHarness):
    harness.fakes.next_replies[POST].extend([no_message("invalid_blocks")] * 2)
    harness.opened()
    harness.deliver()
    joined(harness)
    harness.deliver()
    texts = [one.text for one in harness.fakes.received().posts]
    assert any("search" in text or "and 1 more" in text for text in texts if "given up" not in text)


def without_tokens(harness: DeliveryHarness) -> Clients:
    """Removes the clients; returns them for when the tokens are set."""
    clients = harness.slack, harness.pagerduty
    harness.slack = harness.pagerduty = None
    assert clients[0] is not None
    return clients


def set_tokens(harness: DeliveryHarness, clients: Clients) -> None:
    harness.slack, harness.pagerduty = clients


def test_console_messages_about_open_episodes_are_sent_once_when_a_token_is_set(harness: DeliveryHarness):
    clients = without_tokens(harness)
    harness.opened("over", "lasting")
    assert harness.deliver().sent == 3
    harness.at += QUARTER
    harness.book.record(
        rule_result(episode("lasting", at=harness.at, since=NOON - QUARTER), at=harness.at), now=harness.at
    )
    harness.deliver()
    set_tokens(harness, clients)
    for _ in range(3):
        harness.deliver(MINUTE)
    (message,) = harness.fakes.messages()
    (incident,) = harness.fakes.incidents().values()
    assert incident.event["payload"]["component"] == "lasting"
    assert (incident.opened, incident.triggers) == (1, 1)
    assert "lasting" in message.text
    harness.cleared()
    harness.deliver()
    reading = harness.fakes.received()
    assert [one.state for one in reading.incidents.values()] == ["resolved"]
    assert (len(reading.posts), len(reading.replies)) == (1, 1)


def test_an_episode_that_ended_before_a_token_was_set_is_neither_sent_nor_resolved(harness: DeliveryHarness):
    clients = without_tokens(harness)
    harness.opened()
    harness.deliver()
    harness.cleared()
    set_tokens(harness, clients)
    for _ in range(2):
        harness.deliver(MINUTE)
    assert not harness.fakes.received().requests


def test_two_deliverers_that_find_a_new_token_send_once(harness: DeliveryHarness):
    clients = without_tokens(harness)
    harness.opened()
    harness.deliver()
    set_tokens(harness, clients)
    other = DeliveryHarness(harness.book, harness.fakes, harness.slack, harness.pagerduty, harness.at)
    harness.deliver(MINUTE)
    other.deliver(MINUTE)
    assert (len(harness.fakes.messages()), [one.triggers for one in harness.fakes.incidents().values()]) == (1, [1])


def test_a_second_episode_of_an_hour_whose_first_went_to_the_console_is_posted_whole(harness: DeliveryHarness):
    clients = without_tokens(harness)
    harness.opened()
    harness.deliver()
    set_tokens(harness, clients)
    joined(harness)
    harness.deliver()
    harness.deliver(MINUTE)
    (message,) = harness.fakes.received().posts
    assert "and 1 more" in message.text
    assert sorted(harness.states()) == ["open", "open"]


def test_missing_evaluations_are_reported_even_if_the_token_was_set_later(harness: DeliveryHarness):
    clients = without_tokens(harness)
    harness.book.record(rule_result(at=NOON))
    for minutes in range(0, 15):
        harness.at = later(minutes=minutes)
        harness.deliver()
    set_tokens(harness, clients)
    harness.deliver(MINUTE)
    assert any("no rule was evaluated" in one.summary for one in harness.fakes.incidents().values())
