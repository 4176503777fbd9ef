"""Tests of the Slack client: the outcome of each error and each failure; no message is posted twice."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery.outcome import Outcome, OutcomeKind
from audit_assets_tests.alerting.conftest import TOKEN
from tools.fakes.answering import Faults, Reply
from tools.fakes.providers import FakeProviders
from tools.fakes.reading import read_log

CHANNEL = "C0ALERTS01"
MESSAGE = {
    "text": "chat: 412 calls, 3.1 x the usual",
    "attachments": [
        {"color": "#7C3AED", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*chat* 412 calls"}}]}
    ],
}
POST, UPDATE, HISTORY = "/api/chat.postMessage", "/api/chat.update", "/api/conversations.history"


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def no_message(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


@pytest.mark.parametrize("channel", ["#alerts", "alerts", CHANNEL])
def test_an_accepted_message_is_sent_and_refers_to_channel_and_time(
    fakes: FakeProviders, slack: SlackClient, channel: str
):
    outcome = slack.post(channel, MESSAGE, "delivery-1")
    (message,) = fakes.messages()
    assert outcome == Outcome("sent", "ok", reference=f"{CHANNEL}:{message.ts}")
    assert (message.text, message.delivery_id, message.is_reply) == (MESSAGE["text"], "delivery-1", False)
    assert message.metadata["event_type"] == "ai_audit_alert"
    assert message.content["attachments"] == MESSAGE["attachments"]


def test_a_reply_goes_below_its_message(fakes: FakeProviders, slack: SlackClient):
    reference = slack.post("#alerts", MESSAGE, "delivery-1").reference or ""
    ts = reference.partition(":")[2]
    assert slack.post("#alerts", {"text": "closed"}, "delivery-2", thread_ts=ts).kind == "sent"
    reading = fakes.received()
    assert [(one.text, one.thread_ts) for one in reading.replies] == [("closed", ts)]
    assert len(reading.posts) == 1


def test_a_reply_below_nothing_is_refused(slack: SlackClient):
    assert slack.post("#alerts", MESSAGE, "delivery-1", thread_ts="1.000001").kind == "refused"


def test_an_edit_leaves_nothing_of_the_message_before_but_its_metadata(fakes: FakeProviders, slack: SlackClient):
    reference = slack.post("#alerts", MESSAGE, "delivery-1").reference or ""
    assert slack.edit(reference, {"text": "resolved"}) == Outcome("sent", "ok", reference=reference)
    (message,) = fakes.messages()
    assert message.content == {"text": "resolved", "blocks": [], "attachments": []}
    assert (message.edits, message.delivery_id) == (1, "delivery-1")


@pytest.mark.parametrize("reference", ["", "C1", "C1:", ":1.0"])
def test_an_edit_with_an_invalid_reference_raises(slack: SlackClient, reference: str):
    with pytest.raises(ValueError, match="channel:ts"):
        slack.edit(reference, MESSAGE)


def test_an_edit_of_a_deleted_message_is_refused(slack: SlackClient):
    assert slack.edit(f"{CHANNEL}:1.000001", MESSAGE) == Outcome("refused", "message_not_found")


PARKED = (
    "invalid_auth not_authed account_inactive token_revoked token_expired no_permission missing_scope "
    "channel_not_found not_in_channel is_archived ekm_access_denied restricted_action"
)
REFUSED = (
    "invalid_blocks invalid_attachments msg_too_long no_text too_many_attachments msg_blocks_too_long "
    "invalid_metadata_format invalid_metadata_schema message_not_found cant_update_message"
)
RETRY = "ratelimited rate_limited service_unavailable request_timeout a_word_of_next_year"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((word, "parked") for word in PARKED.split()),
        *((word, "refused") for word in REFUSED.split()),
        *((word, "retry") for word in RETRY.split()),
    ],
)
def test_each_word_has_its_outcome_when_posting_and_when_editing(
    fakes: FakeProviders, slack: SlackClient, error: str, kind: OutcomeKind
):
    for path in (POST, UPDATE):
        fakes.next_replies[path].append(Reply(200, no_message(error)))
    assert slack.post("#alerts", MESSAGE, "delivery-1") == Outcome(kind, error)
    assert slack.edit(f"{CHANNEL}:1.000001", MESSAGE) == Outcome(kind, error)


@pytest.mark.parametrize("error", ["internal_error", "fatal_error"])
def test_a_post_that_failed_midway_may_be_there_and_an_edit_is_made_again(
    fakes: FakeProviders, slack: SlackClient, error: str
):
    for path in (POST, UPDATE):
        fakes.next_replies[path].append(Reply(200, no_message(error)))
    assert slack.post("#alerts", MESSAGE, "delivery-1") == Outcome("uncertain", error)
    assert slack.edit(f"{CHANNEL}:1.000001", MESSAGE) == Outcome("retry", error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "<html>please log in</html>", "retry"),
        (200, "", "retry"),
        (200, "ok", "retry"),
        (200, {"ok": False}, "retry"),
        (200, {"ok": "true"}, "retry"),
        (200, {"ts": "1.0", "channel": CHANNEL}, "retry"),
        (302, {"ok": True, "ts": "1.0", "channel": CHANNEL}, "retry"),
        (400, "bad request", "refused"),
        (400, no_message("invalid_auth"), "parked"),
        (401, "", "parked"),
        (403, no_message("invalid_auth"), "parked"),
        (404, "", "parked"),
        (413, "", "refused"),
        (429, "", "retry"),
        (429, no_message("invalid_auth"), "retry"),
        (500, no_message("invalid_auth"), "uncertain"),
        (500, no_message("internal_error"), "uncertain"),
        (502, "<html>", "uncertain"),
        (503, no_message("service_unavailable"), "uncertain"),
    ],
)
def test_each_answer_has_its_outcome(
    fakes: FakeProviders, slack: SlackClient, status: int, body: Any, kind: OutcomeKind
):
    fakes.next_replies[POST].append(Reply(status, body))
    outcome = slack.post("#alerts", MESSAGE, "delivery-1")
    assert (outcome.kind, outcome.reference) == (kind, None)
    assert outcome.detail
    assert len(fakes.bodies) == 1


@pytest.mark.parametrize(("status", "body"), [(429, ""), (200, no_message("ratelimited")), (503, "")])
@pytest.mark.parametrize(("header", "seconds"), [("30", 30), ("1.5", 1.5), ("86400", 900)])
def test_retry_after_is_returned(
    fakes: FakeProviders, slack: SlackClient, status: int, body: Any, header: str, seconds: float
):
    for path in (POST, HISTORY):
        fakes.next_replies[path].append(Reply(status, body, {"Retry-After": header}))
    of_post = "uncertain" if status >= 500 else "retry"
    for outcome, kind in (
        (slack.post("#alerts", MESSAGE, "delivery-1"), of_post),
        (slack.find(CHANNEL, "delivery-1"), "retry"),
    ):
        assert outcome is not None
        assert (outcome.kind, outcome.retry_after) == (kind, timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": [section("x" * 3001)]}, "invalid_blocks"),
        ({"blocks": [section("x")] * 51}, "invalid_blocks"),
        ({"blocks": [section("x" * 3000)] * 4}, "msg_blocks_too_long"),
        ({"text": "t", "attachments": [{"blocks": [section("x" * 3001)]}]}, "invalid_attachments"),
        ({"text": "t", "attachments": [{"text": "x"}] * 101}, "too_many_attachments"),
    ],
)
def test_a_message_beyond_slacks_limits_is_refused_with_the_reason(
    fakes: FakeProviders, slack: SlackClient, message: dict[str, Any], word: str
):
    outcome = slack.post("#alerts", message, "delivery-1")
    assert (outcome.kind, outcome.detail.split(":")[0]) == ("refused", word)
    assert fakes.messages() == []


def test_a_message_that_is_no_json_is_refused_and_not_sent(fakes: FakeProviders, slack: SlackClient):
    assert slack.post("#alerts", {"text": float("nan")}, "delivery-1").kind == "refused"
    assert fakes.bodies == []


def test_half_a_surrogate_in_a_name_from_outside_stops_no_message(fakes: FakeProviders, slack: SlackClient):
    assert slack.post("#alerts", {"text": "capability \ud83d"}, "delivery-1").kind == "sent"
    assert fakes.messages()[0].text == "capability \ud83d"


@pytest.mark.parametrize("token", ["xoxb-another", "", "xoxb-clé", "xoxb-\u2028", "xoxb-1\r\nX-Two: three"])
def test_a_wrong_token_parks_whatever_is_sent(fakes: FakeProviders, token: str):
    client = SlackClient(SecretStr(token), fakes.slack_url)
    assert client.post("#alerts", MESSAGE, "delivery-1").kind == "parked"
    assert client.edit(f"{CHANNEL}:1.0", MESSAGE).kind == "parked"
    found = client.find(CHANNEL, "delivery-1")
    assert found is not None
    assert found.kind == "parked"


def test_a_token_that_is_withdrawn_and_given_back_parks_and_sends(fakes: FakeProviders, slack: SlackClient):
    fakes.slack.bad_token = True
    assert slack.post("#alerts", MESSAGE, "delivery-1") == Outcome("parked", "invalid_auth")
    fakes.slack.bad_token = False
    assert slack.post("#alerts", MESSAGE, "delivery-1").kind == "sent"


@pytest.mark.parametrize("channel", ["#another", "C0ANOTHER1", ""])
def test_a_channel_that_is_not_there_is_parked(slack: SlackClient, channel: str):
    assert slack.post(channel, MESSAGE, "delivery-1") == Outcome("parked", "channel_not_found")


def test_a_channel_that_is_archived_is_parked(fakes: FakeProviders, slack: SlackClient):
    fakes.slack.archived.add(CHANNEL)
    assert slack.post("#alerts", MESSAGE, "delivery-1") == Outcome("parked", "is_archived")


def test_a_refused_connection_may_be_tried_again(fakes: FakeProviders, slack: SlackClient):
    fakes.close()
    assert slack.post("#alerts", MESSAGE, "delivery-1") == Outcome("retry", "no connection to 127.0.0.1")
    assert slack.find(CHANNEL, "delivery-1") == Outcome("retry", "no connection to 127.0.0.1")


def test_a_message_accepted_before_a_dropped_connection_is_found_by_its_delivery_and_was_posted_once(
    fakes: FakeProviders, slack: SlackClient
):
    fakes.faults = Faults(dropped_after_processing=1.0)
    outcome = slack.post("#alerts", MESSAGE, "delivery-1")
    assert outcome == Outcome("uncertain", "the connection to 127.0.0.1 dropped before the response")
    fakes.faults = Faults()
    (message,) = fakes.messages()
    assert slack.find(CHANNEL, "delivery-1") == Outcome("sent", "found", reference=message.reference)
    assert slack.find(CHANNEL, "delivery-2") is None
    assert [path for path, _ in fakes.bodies].count(POST) == 1


def test_a_message_accepted_before_a_timeout_is_found(fakes: FakeProviders, slack: SlackClient):
    fakes.reply_after = 30
    outcome = SlackClient(SecretStr(TOKEN), fakes.slack_url, timeout=0.3).post("#alerts", MESSAGE, "delivery-1")
    assert outcome == Outcome("uncertain", "no response from 127.0.0.1 within 0.3 s")
    fakes.reply_after = 0
    found = slack.find(CHANNEL, "delivery-1")
    assert found is not None
    assert found.reference == fakes.messages()[0].reference


def test_a_message_that_a_provider_never_accepted_is_not_found(fakes: FakeProviders, slack: SlackClient):
    fakes.down.add("slack")
    assert slack.post("#alerts", MESSAGE, "delivery-1").kind == "uncertain"
    looked = slack.find(CHANNEL, "delivery-1")
    assert looked is not None
    assert looked.kind == "retry"  # looking changes nothing and may be repeated
    fakes.down.clear()
    assert slack.find(CHANNEL, "delivery-1") is None


def test_a_found_message_can_be_edited(fakes: FakeProviders, slack: SlackClient):
    slack.post("#alerts", MESSAGE, "delivery-1")
    slack.edit(fakes.messages()[0].reference, {"text": "grown"})
    found = slack.find(CHANNEL, "delivery-1")
    assert found is not None
    assert slack.edit(found.reference or "", {"text": "resolved"}).kind == "sent"
    assert fakes.messages()[0].text == "resolved"


def test_a_reply_is_found_in_its_thread_and_nowhere_else(fakes: FakeProviders, slack: SlackClient):
    reference = slack.post("#alerts", MESSAGE, "delivery-1").reference or ""
    ts = reference.partition(":")[2]
    reply = slack.post("#alerts", {"text": "closed"}, "delivery-2", thread_ts=ts).reference
    assert slack.find(CHANNEL, "delivery-2", thread_ts=ts) == Outcome("sent", "found", reference=reply)
    assert slack.find(CHANNEL, "delivery-2") is None
    assert slack.find(CHANNEL, "delivery-3", thread_ts=ts) is None


def test_a_message_on_a_later_page_is_found(fakes: FakeProviders, slack: SlackClient):
    for number in range(3):
        slack.post("#alerts", MESSAGE, f"delivery-{number}")
    pages = [
        {
            "ok": True,
            "messages": [{"ts": "1.0", "text": "no metadata"}, "junk"],
            "response_metadata": {"next_cursor": c},
        }
        for c in ("0", "0")
    ]
    fakes.next_replies[HISTORY].extend(Reply(200, page) for page in pages)
    found = slack.find(CHANNEL, "delivery-2")
    assert found is not None
    assert found.reference == fakes.messages()[2].reference
    assert [body.get("cursor") for path, body in fakes.bodies if path == HISTORY] == [None, "0", "0"]


def test_an_endless_history_is_not_read_forever(fakes: FakeProviders, slack: SlackClient):
    page: dict[str, Any] = {"ok": True, "messages": [], "response_metadata": {"next_cursor": "again"}}
    fakes.next_replies[HISTORY].extend(Reply(200, page) for _ in range(50))
    assert slack.find(CHANNEL, "delivery-1") == Outcome("refused", "history_too_long")
    assert len(fakes.bodies) == 20


def test_the_search_goes_back_to_an_older_message_and_no_further(fakes: FakeProviders, slack: SlackClient):
    for number in range(120):
        slack.post("#alerts", MESSAGE, f"delivery-{number}")
    earlier = fakes.messages()[100].ts
    assert slack.find(CHANNEL, "delivery-119", earlier) is not None
    fakes.bodies.clear()
    assert slack.find(CHANNEL, "delivery-x", earlier) is None
    assert len(fakes.bodies) == 1
    assert slack.find(CHANNEL, "delivery-0") is not None
    assert len(fakes.bodies) == 4


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "junk",
        {"event_type": "another_app", "event_payload": {"delivery_id": "delivery-1"}},
        {"event_type": "ai_audit_alert", "event_payload": "delivery-1"},
        {"event_type": "ai_audit_alert"},
    ],
)
def test_another_apps_metadata_are_not_ours(fakes: FakeProviders, slack: SlackClient, metadata: Any):
    page = {"ok": True, "messages": [{"ts": "1.0", "metadata": metadata}]}
    fakes.next_replies[HISTORY].append(Reply(200, page))
    assert slack.find(CHANNEL, "delivery-1") is None


def test_without_the_scope_to_read_the_find_is_refused(fakes: FakeProviders, slack: SlackClient):
    fakes.slack.missing_history_scope = True
    slack.post("#alerts", MESSAGE, "delivery-1")
    assert slack.find(CHANNEL, "delivery-1") == Outcome("refused", "missing_scope")


@pytest.mark.parametrize("channel", ["alerts", "#general"])
def test_history_of_an_unknown_channel_proves_nothing_about_the_channel(slack: SlackClient, channel: str):
    slack.post("#alerts", MESSAGE, "delivery-1")
    assert slack.find(channel, "delivery-1") == Outcome("refused", "channel_not_found")


@pytest.mark.parametrize("missing", [set[str](), {"private_channel"}])
def test_a_message_is_found_by_the_name_of_its_channel(
    fakes: FakeProviders, slack: SlackClient, missing: set[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("audit_assets.alerting.channels.slack.CHANNELS_PAGE", 1)
    fakes.slack.missing_list_scopes = missing
    slack.post("#ai-copilot-compliance", MESSAGE, "delivery-1")
    found = slack.find("#ai-copilot-compliance", "delivery-1")
    assert found is not None
    assert (found.kind, str(found.reference).partition(":")[0]) == ("sent", "C0COPILOT2")
    assert slack.find("#ai-copilot-compliance", "delivery-2") is None


def test_without_the_scope_to_list_channels_the_find_by_name_is_refused(fakes: FakeProviders, slack: SlackClient):
    fakes.slack.missing_list_scopes = {"public_channel", "private_channel"}
    slack.post("#alerts", MESSAGE, "delivery-1")
    assert slack.find("#alerts", "delivery-1") == Outcome("refused", "missing_scope")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("channel_not_found", "refused"),
        ("not_in_channel", "refused"),
        ("invalid_auth", "parked"),
        ("fatal_error", "retry"),
    ],
)
def test_errors_of_a_read_are_classified(fakes: FakeProviders, slack: SlackClient, error: str, kind: OutcomeKind):
    fakes.next_replies[HISTORY].append(Reply(200, no_message(error)))
    assert slack.find(CHANNEL, "delivery-1") == Outcome(kind, error)


@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_the_token_is_in_no_repr_and_in_no_outcome_even_where_the_server_repeats_it(
    fakes: FakeProviders, slack: SlackClient, status: int
):
    bodies = [
        no_message(f"bad {TOKEN}"),
        f"{'x' * 180} {TOKEN}",
        {"ok": False, "error": "e", "response_metadata": TOKEN},
    ]
    bodies.append({**no_message("invalid_blocks"), "response_metadata": {"messages": [f"[ERROR] {TOKEN}"]}})
    texts = [repr(slack), str(slack)]
    for body in bodies:
        for path in (POST, UPDATE, HISTORY):
            fakes.next_replies[path].append(Reply(status, body))
        texts.append(repr(slack.post("#alerts", MESSAGE, "delivery-1")))
        texts.append(repr(slack.edit(f"{CHANNEL}:1.0", MESSAGE)))
        texts.append(repr(slack.find(CHANNEL, "delivery-1")))
    assert all("sesame" not in text and "xoxb" not in text for text in texts)


def test_a_netrc_of_the_machine_does_not_put_its_password_in_the_tokens_place(
    fakes: FakeProviders, slack: SlackClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert slack.post("#alerts", MESSAGE, "delivery-1").kind == "sent"


def test_the_log_shows_what_the_fakes_received_without_the_token(
    fakes: FakeProviders, slack: SlackClient, tmp_path: Path
):
    reference = slack.post("#alerts", MESSAGE, "delivery-1").reference or ""
    slack.edit(reference, {"text": "grown"})
    slack.post("#alerts", {"text": "closed"}, "delivery-2", thread_ts=reference.partition(":")[2])
    slack.post("#alerts", {"text": ""}, "delivery-3")
    log = tmp_path / "requests.jsonl"
    reading = read_log(log)
    assert reading == fakes.received()
    assert (len(reading.posts), reading.edits, len(reading.replies), reading.delivered_twice) == (1, 1, 1, [])
    assert TOKEN not in log.read_text()
