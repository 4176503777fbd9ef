"""The part of Slack's Web API that the project uses: post, edit, and the paginated history."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from audit_assets.config.json_values import is_object
from tools.fakes.answering import Reply
from tools.fakes.reading import Message, Messages
from tools.fakes.slack_limits import refusal

CONTENT = ("text", "blocks", "attachments")
LARGEST_PAGE = 999


@dataclass
class FakeSlack:
    """Accepts any `xoxb-` token, or only `token` if given.

    Has the channels in `channels` (name → id); if that is None, any channel whose name starts with `#`.
    """

    token: str | None = None
    channels: dict[str, str] | None = None
    bad_token: bool = False
    missing_history_scope: bool = False
    missing_list_scopes: set[str] = field(default_factory=set[str])  # types of channels that the token may not list
    archived: set[str] = field(default_factory=set[str])  # ids
    forget_messages: bool = False  # all messages count as deleted
    deleted: set[str] = field(default_factory=set[str])  # ts of deleted messages
    clock_is_ahead: float = 0.0  # seconds by which Slack's clock is ahead of ours
    _created: dict[str, str] = field(default_factory=dict[str, str])
    _last: int = 0

    def remember(self, messages: Messages) -> None:
        """Continues from the messages of an earlier process, so that its channels and timestamps stay in use."""
        for message in messages.values():
            self._created.setdefault(message.channel, message.channel)
            self._last = max(self._last, int(message.ts.replace(".", "")))

    def answer(self, method: str, body: Any, bearer: str | None, messages: Messages) -> Reply:
        """The reply to one call; `messages` are the messages in Slack. The effects are in the reply."""
        if bearer is None:
            return _error("not_authed")
        if self.bad_token or (bearer != self.token if self.token else not bearer.startswith("xoxb-")):
            return _error("invalid_auth")
        if not is_object(body):
            return _error("invalid_json")
        if method in {"conversations.history", "conversations.replies"}:
            return self._history(method, body, messages)
        if method == "conversations.list":
            return self._list(body)
        channel = self._channel_id(str(body.get("channel", "")), by_name=method == "chat.postMessage")
        if channel is None:
            return _error("channel_not_found")
        if channel in self.archived:
            return _error("is_archived")
        refused = refusal(body)
        if refused is not None:
            error, details = refused
            return _error(error, details)
        return self._edit(channel, body, messages) if method == "chat.update" else self._post(channel, body, messages)

    def _post(self, channel: str, body: dict[str, Any], messages: Messages) -> Reply:
        metadata: dict[str, Any] = body.get("metadata") or {}
        thread = body.get("thread_ts")
        if metadata and not (metadata.get("event_type") and isinstance(metadata.get("event_payload"), dict)):
            return _error("invalid_metadata_format")
        if thread is not None and not self._exists(channel, thread, messages):
            return _error("thread_not_found")
        self._last = max(self._last + 1, time.time_ns() // 1000 + round(self.clock_is_ahead * 1_000_000))
        ts = f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"
        content = {name: body[name] for name in CONTENT if name in body}
        broadcast = thread is not None and bool(body.get("reply_broadcast"))
        effect = {
            "kind": "post", "at": time.time(), "channel": channel, "ts": ts, "thread_ts": thread,
            "content": content, "metadata": metadata, "broadcast": broadcast,
        }  # fmt: skip
        return Reply(200, {"ok": True, "channel": channel, "ts": ts, "message": content}, effects=(effect,))

    def _edit(self, channel: str, body: dict[str, Any], messages: Messages) -> Reply:
        ts = body.get("ts")
        if not self._exists(channel, ts, messages):
            return _error("message_not_found")
        content = {name: body[name] for name in CONTENT if name in body}
        effect = {"kind": "edit", "at": time.time(), "channel": channel, "ts": ts, "content": content}
        return Reply(200, {"ok": True, "channel": channel, "ts": ts, "text": body.get("text", "")}, effects=(effect,))

    def _exists(self, channel: str, ts: Any, messages: Messages) -> bool:
        return not self.forget_messages and ts not in self.deleted and (channel, ts) in messages

    def _history(self, method: str, body: dict[str, Any], messages: Messages) -> Reply:
        """A page of the history, newest first. Like in Slack, the first page has the newest messages, or if only
        `oldest` is given, those closest to it; a thread is read from its beginning."""
        if self.missing_history_scope:
            return Reply(200, {"ok": False, "error": "missing_scope", "needed": "channels:history"})
        channel = self._channel_id(str(body.get("channel", "")), by_name=False)
        if channel is None:
            return _error("channel_not_found")
        thread, oldest = body.get("ts"), float(body.get("oldest") or 0)
        existing = [one for one in messages.values() if one.channel == channel and one.ts not in self.deleted]
        matching = [message for message in existing if float(message.ts) >= oldest]
        if method == "conversations.replies":
            if (channel, thread) not in messages:
                return _error("thread_not_found")
            matching = [message for message in matching if thread in (message.ts, message.thread_ts)]
        else:
            matching = [message for message in matching if not message.is_reply or message.is_broadcast]
            if "oldest" not in body:
                matching.reverse()
        first, limit = int(body.get("cursor") or 0), min(int(body.get("limit") or 100), LARGEST_PAGE)
        page, more = matching[first : first + limit], len(matching) > first + limit
        with_metadata = str(body.get("include_all_metadata", "")).lower() in {"true", "1"}
        ordered = sorted(page, key=lambda message: float(message.ts), reverse=method == "conversations.history")
        listed = [_listed(message, with_metadata) for message in ordered]
        cursor = {"next_cursor": str(first + limit) if more else ""}
        return Reply(200, {"ok": True, "messages": listed, "has_more": more, "response_metadata": cursor})

    def _list(self, body: dict[str, Any]) -> Reply:
        """A page of the channels, all of them public."""
        if self.missing_list_scopes & set(str(body.get("types", "public_channel")).split(",")):
            return Reply(200, {"ok": False, "error": "missing_scope", "needed": "channels:read,groups:read"})
        known = self._created if self.channels is None else self.channels
        first, limit = int(body.get("cursor") or 0), int(body.get("limit") or 100)
        page = list(known.items())[first : first + limit]
        channels = [{"id": channel, "name": name.removeprefix("#"), "is_channel": True} for name, channel in page]
        cursor = {"next_cursor": str(first + limit) if len(known) > first + limit else ""}
        return Reply(200, {"ok": True, "channels": channels, "response_metadata": cursor})

    def _channel_id(self, channel: str, by_name: bool) -> str | None:
        """Posting accepts names, with and without `#`; everything else accepts ids only."""
        known = self._created if self.channels is None else self.channels
        if channel in known.values():
            return channel
        if not by_name:
            return None
        if self.channels is None and channel.startswith("#"):
            return self._created.setdefault(channel, f"C{zlib.crc32(channel.encode()):010X}")
        return known.get(channel) or known.get(f"#{channel}")


def _listed(message: Message, with_metadata: bool) -> dict[str, Any]:
    thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
    metadata = {"metadata": message.metadata} if with_metadata and message.metadata else {}
    return {"type": "message", "ts": message.ts, **message.content, **thread, **metadata}


def _error(error: str, messages: Sequence[str] = ()) -> Reply:
    details = {"response_metadata": {"messages": list(messages)}} if messages else {}
    return Reply(200, {"ok": False, "error": error, **details})
