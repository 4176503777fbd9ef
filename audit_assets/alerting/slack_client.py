"""Slack's Web API as three calls: post a message, edit it, and look whether it is there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from pydantic import SecretStr

from audit_assets.alerting.http_answer import Answer, is_success, json_object, kind_of_status, retry_after, short_line
from audit_assets.alerting.http_request import Body, posted
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.slack_words import FAILED_MIDWAY, kind_of_word, kind_of_word_when_looking

BASE_URL = "https://slack.com/api/"
EVENT_TYPE = "ai_audit_alert"
POST = "chat.postMessage"
CLOCKS_MAY_DIFFER = timedelta(minutes=2)
PAGE, PAGES_AT_MOST = 200, 10  # messages a page, as Slack recommends; more than 2,000 since the delivery: no looking


@dataclass(frozen=True, slots=True)
class SlackClient:
    """Speaks with one bot token, within `timeout` seconds a call. Neither shown nor told: the token.

    Not on slack_sdk's WebClient: its default handler posts again where a connection dropped, which may be a second
    message, and it raises one error for what was not sent and for what may have been.
    """

    token: SecretStr
    base_url: str = BASE_URL
    timeout: float = 10.0

    def post(self, channel: str, message: Mapping[str, Any], delivery_id: str, thread_ts: str | None = None) -> Outcome:
        """Post `message` (text, blocks, attachments) to `channel` (an id, or `#name`), or below `thread_ts`.

        `sent` refers to `{channel id}:{ts}`. The message carries `delivery_id` as metadata, by which `find` knows it.
        """
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"delivery_id": delivery_id}}
        thread = {} if thread_ts is None else {"thread_ts": thread_ts}
        return self._write(POST, {**message, "channel": channel, "metadata": metadata, **thread})

    def edit(self, reference: str, message: Mapping[str, Any]) -> Outcome:
        """Put `message` in the place of the whole of what `reference` (`{channel id}:{ts}`) names.

        May be repeated after `uncertain`. Raises ValueError where `reference` is not of that form.
        """
        channel, colon, ts = reference.rpartition(":")
        if not (channel and colon and ts):
            raise ValueError(f"{reference!r}: a message is named as channel:ts")
        # Slack keeps the blocks and attachments that an edit does not name; metadata it is to keep.
        return self._write("chat.update", {"blocks": [], "attachments": [], **message, "channel": channel, "ts": ts})

    def find(self, channel: str, delivery_id: str, since: datetime, thread_ts: str | None = None) -> Outcome | None:
        """The message `post` wrote for `delivery_id` at `since` (aware) or later, as `sent`; None where there is none.

        A reply is found only with its `thread_ts`: Slack's channel history holds no replies. Slack reads history by
        channel id, the part of any earlier reference before the colon; a `#name` is tried as well.

        `refused` means that it cannot be known, and the caller decides whether to post again: the token lacks the
        scope (`missing_scope`) or is not in the channel, the channel was given by a name (`channel_not_found`), or
        more was written since than is read (`history_too_long`). Nothing is `uncertain`: looking may be repeated.
        """
        question = {
            "channel": channel,
            "oldest": f"{(since - CLOCKS_MAY_DIFFER).timestamp():.6f}",
            "inclusive": "true",
            "include_all_metadata": "true",
            "limit": str(PAGE),
            **({} if thread_ts is None else {"ts": thread_ts}),
        }
        method = "conversations.history" if thread_ts is None else "conversations.replies"
        for _ in range(PAGES_AT_MOST):
            page = self._read(method, question, channel)
            if isinstance(page, Outcome):
                return page
            for message in _objects(page.get("messages")):
                if _delivery_id(message) == delivery_id:
                    return Outcome("sent", "found", reference=f"{channel}:{message.get('ts')}")
            metadata = page.get("response_metadata")
            cursor = cast("dict[str, Any]", metadata).get("next_cursor") if isinstance(metadata, dict) else None
            if not cursor:
                return None
            question["cursor"] = str(cursor)
        return Outcome("refused", "history_too_long")

    def _write(self, method: str, arguments: Mapping[str, Any]) -> Outcome:
        try:
            content = json.dumps(arguments, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            return Outcome("refused", short_line(f"not JSON: {error}", [self._secret]))
        answer = self._answer(method, Body(content, "application/json; charset=utf-8"))
        if isinstance(answer, Outcome):
            return answer
        document = json_object(answer.text)
        if document is None or document.get("ok") is not True or not is_success(answer.status):
            failure = self._failure(answer, document, None)
            if method == POST and failure.kind == "retry" and _may_have_taken(answer.status, document):
                return replace(failure, kind="uncertain")
            return failure
        channel, ts = document.get("channel"), document.get("ts")
        return Outcome("sent", "ok", reference=f"{channel}:{ts}" if channel and ts else None)

    def _read(self, method: str, question: Mapping[str, str], channel: str) -> dict[str, Any] | Outcome:
        answer = self._answer(method, Body(urlencode(question).encode(), "application/x-www-form-urlencoded"))
        if isinstance(answer, Outcome):
            return Outcome("retry", answer.said) if answer.kind == "uncertain" else answer
        document = json_object(answer.text)
        if document is None or document.get("ok") is not True or not is_success(answer.status):
            return self._failure(answer, document, channel)
        return document

    def _answer(self, method: str, body: Body) -> Answer | Outcome:
        address = f"{self.base_url.rstrip('/')}/{method}"
        return posted(address, body, {"Authorization": f"Bearer {self._secret}"}, self.timeout)

    def _failure(self, answer: Answer, document: dict[str, Any] | None, looking_in: str | None) -> Outcome:
        """What an answer means that is no success; `looking_in` is the channel whose history was to be read."""
        error = (document or {}).get("error")
        if answer.status == 429 or answer.status >= 500:
            kind = kind_of_status(answer.status)
        elif isinstance(error, str) and error:
            kind = kind_of_word(error) if looking_in is None else kind_of_word_when_looking(error, looking_in)
        else:
            kind = kind_of_status(answer.status)
        wait = retry_after(answer.retry_after, datetime.now(UTC)) if kind == "retry" else None
        # While looking the word stays alone: `missing_scope` is for the caller to compare.
        words = error if isinstance(error, str) and looking_in is not None else _words(answer, document)
        return Outcome(kind, short_line(words, [self._secret]), retry_after=wait)

    @property
    def _secret(self) -> str:
        return self.token.get_secret_value().strip()


def _may_have_taken(status: int, document: Mapping[str, Any] | None) -> bool:
    """Whether Slack failed in a way in which some of a call may have been done, by its own reference."""
    return status >= 500 or (document or {}).get("error") in FAILED_MIDWAY


def _words(answer: Answer, document: dict[str, Any] | None) -> str:
    """Slack's own word and what it adds to it, or status and text where there is none."""
    error = (document or {}).get("error")
    if not isinstance(error, str) or not error:
        return f"{answer.status} {answer.text}"
    metadata = (document or {}).get("response_metadata")
    messages = cast("dict[str, Any]", metadata).get("messages") if isinstance(metadata, dict) else None
    added = [str(one) for one in cast("list[Any]", messages)] if isinstance(messages, list) else []
    return f"{error}: {'; '.join(added)}" if added else error


def _objects(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _delivery_id(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata")
    if not isinstance(metadata, dict):
        return None
    known = cast("dict[str, Any]", metadata)
    payload = known.get("event_payload")
    if known.get("event_type") != EVENT_TYPE or not isinstance(payload, dict):
        return None
    return cast("dict[str, Any]", payload).get("delivery_id")
