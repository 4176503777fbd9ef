"""The Slack client: posts, edits and finds messages; and what each of Slack's errors means for a retry.

Slack responds with status 200 to failed calls too; the `error` field decides. From the reference pages of the methods:
https://docs.slack.dev/reference/methods/chat.postMessage, chat.update and conversations.history.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr

from audit_assets.alerting.channels.http_client import (
    TOO_LONG,
    Body,
    HttpResponse,
    classify_status,
    http_post,
    is_success,
    json_object,
    one_line,
)
from audit_assets.alerting.delivery.outcome import Outcome, OutcomeKind
from audit_assets.config.json_values import is_list, is_object, objects_of
from audit_assets.settings import Settings

# A person has to fix the token, its scopes or the channel.
_PARKED = frozenset(
    {
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission"),
        *("missing_scope", "not_allowed_token_type", "access_denied", "ekm_access_denied", "org_login_required"),
        *("two_factor_setup_required", "team_access_not_granted", "enterprise_is_restricted"),
        *("channel_not_found", "not_in_channel", "is_archived", "restricted_action"),
        *("restricted_action_read_only_channel", "restricted_action_non_threadable_channel"),
        *("restricted_action_thread_only_channel", "restricted_action_thread_locked"),
    }
)
# The message was deleted, or may not be changed or replied to; the content itself is valid.
MESSAGE_IS_MISSING = frozenset(
    {
        *("message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"),
        *("cannot_reply_to_message", "restricted_action_thread_locked", "restricted_action_non_threadable_channel"),
    }
)
# An edit uses the channel id. A channel that is not found or archived may differ from the one that has the name now.
EDIT_IS_MISSING = MESSAGE_IS_MISSING | {"channel_not_found", "is_archived"}
# This content is refused; other content may be accepted. A deleted message or thread belongs here.
_REFUSED = frozenset(
    {
        *("invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_too_long", "no_text"),
        *("too_many_attachments", "msg_blocks_too_long", "metadata_too_large", "metadata_must_be_sent_from_app"),
        *MESSAGE_IS_MISSING,
        *("invalid_arguments", "invalid_json", "json_not_object"),
    }
)
# According to Slack's reference, part of the call may have been executed before one of these errors.
FAILED_MIDWAY = frozenset({"internal_error", "fatal_error"})
# The token may be allowed to post to the channel, but not to read it.
_CANNOT_READ = frozenset(
    {
        *("missing_scope", "not_in_channel", "no_permission", "not_allowed_token_type", "access_denied"),
        *("thread_not_found", "channel_not_found"),
    }
)


def classify_error(error: str) -> OutcomeKind:
    """The outcome that `error` means for a write. An unknown error may be temporary: `retry`."""
    if error in _PARKED:
        return "parked"
    if error in _REFUSED or error.startswith("invalid_metadata_"):
        return "refused"
    return "retry"


def classify_read_error(error: str) -> OutcomeKind:
    """The outcome that `error` means for a read of the history: `refused` if it cannot be read, though a post may work.

    conversations.history accepts channel ids only: for a name, `channel_not_found` says nothing about the channel, and
    an id may belong to a channel that was deleted and created again under its name.
    """
    return "refused" if error in _CANNOT_READ else classify_error(error)


BASE_URL = "https://slack.com/api/"
EVENT_TYPE = "ai_audit_alert"
POST = "chat.postMessage"
HISTORY_TOO_LONG = "history_too_long"
PAGE, PAGES_AT_MOST = 50, 20  # a page of long messages stays below LARGEST_RESPONSE
CHANNELS_PAGE = 200  # as Slack recommends; 4,000 channels are looked through


@dataclass(frozen=True, slots=True)
class SlackClient:
    """A client with one bot token and `timeout` seconds per call. The token never appears in a repr or an outcome.

    It does not use slack_sdk's WebClient: its default retry handler posts again after a dropped connection, which may
    create a second message, and it raises the same error for "not sent" and "may have been sent".
    """

    token: SecretStr
    base_url: str = BASE_URL
    timeout: float = 10.0

    def post(self, channel: str, message: Mapping[str, Any], delivery_id: str, thread_ts: str | None = None) -> Outcome:
        """Posts `message` (text, blocks, attachments) to `channel` (an id, or `#name`), or to the thread `thread_ts`.

        The reference of `sent` is `{channel id}:{ts}`. The message has `delivery_id` as metadata, by which `find`
        recognizes it.
        """
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"delivery_id": delivery_id}}
        thread = {} if thread_ts is None else {"thread_ts": thread_ts}
        return self._write(POST, {**message, "channel": channel, "metadata": metadata, **thread})

    def edit(self, reference: str, message: Mapping[str, Any]) -> Outcome:
        """Replaces the content of the message `reference` (`{channel id}:{ts}`) by `message`.

        May be repeated after `uncertain`. Raises ValueError if `reference` has another form.
        """
        channel, colon, ts = reference.rpartition(":")
        if not (channel and colon and ts):
            raise ValueError(f"{reference!r}: a message reference has the form channel:ts")
        # Slack keeps blocks and attachments that an edit omits, so both are set. Metadata is omitted, to be kept.
        return self._write("chat.update", {"blocks": [], "attachments": [], **message, "channel": channel, "ts": ts})

    def find(
        self, channel: str, delivery_id: str, after: str | None = None, thread_ts: str | None = None
    ) -> Outcome | None:
        """The message that `post` created for `delivery_id`, as `sent`; None if there is none.

        The history is read from the newest message back to `after`, the `ts` of an older message: a time of Slack's own
        clock, which may differ from ours. Without `after`, the newest 1,000 messages are read. A reply is found only
        with its `thread_ts`: Slack's channel history has no replies. Slack reads history by channel id, the part of an
        earlier reference before the colon; the id of a `#name` is looked up first.

        `refused` means that the history cannot be read, and the caller decides whether to post again: the token lacks
        the scope (`missing_scope`) or is not in the channel, the channel is unknown by this name or id
        (`channel_not_found`), or there are too many newer messages (`history_too_long`). The outcome is never
        `uncertain`: a read can be repeated.
        """
        if channel.startswith("#"):
            known = self._channel_id(channel)
            if isinstance(known, Outcome):
                return known
            channel = known
        query = {
            "channel": channel,
            "include_all_metadata": "true",
            "limit": str(PAGE),
            **({} if thread_ts is None else {"ts": thread_ts}),
        }
        method = "conversations.history" if thread_ts is None else "conversations.replies"
        for _ in range(PAGES_AT_MOST):
            page = self._read(method, query)
            if isinstance(page, Outcome):
                return page
            messages = objects_of(page.get("messages"))
            for message in messages:
                if _delivery_id(message) == delivery_id:
                    return Outcome("sent", "found", reference=f"{channel}:{message.get('ts')}")
            # A thread is read from its beginning.
            if thread_ts is None and after is not None and any(_is_before(message, after) for message in messages):
                return None
            cursor = _next_cursor(page)
            if not cursor:
                return None
            query["cursor"] = cursor
        return Outcome("refused", HISTORY_TOO_LONG)

    def _channel_id(self, name: str) -> str | Outcome:
        """The id of the channel `#name`, by conversations.list; `refused` if it cannot be found out. A token without
        the scope for private channels is asked for the public ones."""
        for types in ("public_channel,private_channel", "public_channel"):
            found = self._listed_channel_id(name, types)
            if not isinstance(found, Outcome) or found.detail != "missing_scope":
                return found
        return Outcome("refused", "missing_scope")

    def _listed_channel_id(self, name: str, types: str) -> str | Outcome:
        query = {"types": types, "exclude_archived": "true", "limit": str(CHANNELS_PAGE)}
        for _ in range(PAGES_AT_MOST):
            page = self._read("conversations.list", query)
            if isinstance(page, Outcome):
                return page
            for channel in objects_of(page.get("channels")):
                if channel.get("name") == name.removeprefix("#") and isinstance(channel.get("id"), str):
                    return channel["id"]
            cursor = _next_cursor(page)
            if not cursor:
                break
            query["cursor"] = cursor
        return Outcome("refused", "channel_not_found")

    def _write(self, method: str, arguments: Mapping[str, Any]) -> Outcome:
        try:
            content = json.dumps(arguments, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            return Outcome("refused", one_line(f"not JSON: {error}", [self._secret]))
        response = self._call(method, Body(content, "application/json; charset=utf-8"))
        if isinstance(response, Outcome):
            return response
        document = json_object(response.text)
        if document is None or document.get("ok") is not True or not is_success(response.status):
            failure = self._failure(response, document, is_read=False)
            if method == POST and failure.kind == "retry" and _may_have_taken(response.status, document):
                return replace(failure, kind="uncertain")
            return failure
        channel, ts = document.get("channel"), document.get("ts")
        return Outcome("sent", "ok", reference=f"{channel}:{ts}" if channel and ts else None)

    def _read(self, method: str, query: Mapping[str, str]) -> dict[str, Any] | Outcome:
        response = self._call(method, Body(urlencode(query).encode(), "application/x-www-form-urlencoded"))
        if isinstance(response, Outcome):
            if response.detail.endswith(TOO_LONG):
                return Outcome("refused", HISTORY_TOO_LONG)
            return Outcome("retry", response.detail) if response.kind == "uncertain" else response
        document = json_object(response.text)
        if document is None or document.get("ok") is not True or not is_success(response.status):
            return self._failure(response, document, is_read=True)
        return document

    def _call(self, method: str, body: Body) -> HttpResponse | Outcome:
        address = f"{self.base_url.rstrip('/')}/{method}"
        return http_post(address, body, {"Authorization": f"Bearer {self._secret}"}, self.timeout)

    def _failure(self, response: HttpResponse, document: dict[str, Any] | None, is_read: bool) -> Outcome:
        """The outcome of a failed call."""
        error = (document or {}).get("error")
        if response.status == 429 or response.status >= 500:
            kind = classify_status(response.status)
        elif isinstance(error, str) and error:
            kind = classify_read_error(error) if is_read else classify_error(error)
        else:
            kind = classify_status(response.status)
        wait = response.wait if kind == "retry" else None
        # For a read only the error itself is returned: the caller compares it, for example with `missing_scope`.
        text = error if isinstance(error, str) and is_read else _error_text(response, document)
        return Outcome(kind, one_line(text, [self._secret]), retry_after=wait)

    @property
    def _secret(self) -> str:
        return self.token.get_secret_value().strip()


def _may_have_taken(status: int, document: Mapping[str, Any] | None) -> bool:
    """Whether part of the call may have been executed before it failed, according to Slack's reference."""
    return status >= 500 or (document or {}).get("error") in FAILED_MIDWAY


def _error_text(response: HttpResponse, document: dict[str, Any] | None) -> str:
    """Slack's error and its additional messages, or status and text if there is no error field."""
    error = (document or {}).get("error")
    if not isinstance(error, str) or not error:
        return f"{response.status} {response.text}"
    metadata = (document or {}).get("response_metadata")
    messages = metadata.get("messages") if is_object(metadata) else None
    added = [str(message) for message in messages] if is_list(messages) else []
    return f"{error}: {'; '.join(added)}" if added else error


def _next_cursor(page: Mapping[str, Any]) -> str:
    metadata = page.get("response_metadata")
    return str(metadata.get("next_cursor") or "") if is_object(metadata) else ""


def _is_before(message: Mapping[str, Any], ts: str) -> bool:
    try:
        return float(message["ts"]) < float(ts)
    except (KeyError, TypeError, ValueError):
        return False


def _delivery_id(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata")
    if not is_object(metadata) or metadata.get("event_type") != EVENT_TYPE:
        return None
    payload = metadata.get("event_payload")
    return payload.get("delivery_id") if is_object(payload) else None


def slack_client(settings: Settings) -> SlackClient | None:
    """The client from the settings; None without a token or if sending is disabled."""
    if settings.slack_token is None or not settings.send:
        return None
    return SlackClient(settings.slack_token, settings.slack_base_url)
