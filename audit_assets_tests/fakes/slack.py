"""Slack's Web API as far as we use it: post, edit, and a history to be read in pages."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from audit_assets_tests.fakes.answering import Reply
from audit_assets_tests.fakes.reading import Message, Messages
from audit_assets_tests.fakes.slack_limits import refusal

CONTENT = ("text", "blocks", "attachments")
LARGEST_PAGE = 999


@dataclass
class FakeSlack:
    """Takes any `xoxb-` token, or only `token` where one is given.

    Knows the channels in `channels` (name → id), and where that is None any name that starts with `#`.
    """

    token: str | None = None
    channels: dict[str, str] | None = None
    bad_token: bool = False
    missing_history_scope: bool = False
    archived: set[str] = field(default_factory=set)  # ids
    forget_messages: bool = False  # somebody deleted them
    _made: dict[str, str] = field(default_factory=dict)
    _last: int = 0

    def remember(self, messages: Messages) -> None:
        """Go on from what an earlier process was told, so that its channels and times stay taken."""
        for message in messages.values():
            self._made.setdefault(message.channel, message.channel)
            self._last = max(self._last, int(message.ts.replace(".", "")))

    def answer(self, method: str, body: Any, bearer: str | None, messages: Messages) -> Reply:
        """The answer to one call, `messages` being what stands in Slack; the effects say what happened."""
        if bearer is None:
            return _error("not_authed")
        if self.bad_token or (bearer != self.token if self.token else not bearer.startswith("xoxb-")):
            return _error("invalid_auth")
        if not isinstance(body, dict):
            return _error("invalid_json")
        if method in {"conversations.history", "conversations.replies"}:
            return self._history(method, body, messages)
        channel = self._channel_id(str(body.get("channel", "")), by_name=method == "chat.postMessage")
        if channel is None:
            return _error("channel_not_found")
        if channel in self.archived:
            return _error("is_archived")
        refused = refusal(body)
        if refused is not None:
            word, messages_said = refused
            return _error(word, messages_said)
        return self._edit(channel, body, messages) if method == "chat.update" else self._post(channel, body, messages)

    def _post(self, channel: str, body: dict[str, Any], messages: Messages) -> Reply:
        metadata, thread = body.get("metadata") or {}, body.get("thread_ts")
        if metadata and not (metadata.get("event_type") and isinstance(metadata.get("event_payload"), dict)):
            return _error("invalid_metadata_format")
        if thread is not None and (self.forget_messages or (channel, thread) not in messages):
            return _error("thread_not_found")
        self._last = max(self._last + 1, time.time_ns() // 1000)
        ts = f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"
        content = {name: body[name] for name in CONTENT if name in body}
        effect = {"kind": "post", "at": time.time(), "channel": channel, "ts": ts, "thread_ts": thread}
        done = {**effect, "content": content, "metadata": metadata}
        return Reply(200, {"ok": True, "channel": channel, "ts": ts, "message": content}, effects=(done,))

    def _edit(self, channel: str, body: dict[str, Any], messages: Messages) -> Reply:
        ts = body.get("ts")
        if self.forget_messages or (channel, ts) not in messages:
            return _error("message_not_found")
        content = {name: body[name] for name in CONTENT if name in body}
        done = {"kind": "edit", "at": time.time(), "channel": channel, "ts": ts, "content": content}
        return Reply(200, {"ok": True, "channel": channel, "ts": ts, "text": body.get("text", "")}, effects=(done,))

    def _history(self, method: str, body: dict[str, Any], messages: Messages) -> Reply:
        """Closest to `oldest` first, the newest first within a page, as Slack does where only `oldest` is given."""
        if self.missing_history_scope:
            return Reply(200, {"ok": False, "error": "missing_scope", "needed": "channels:history"})
        channel = self._channel_id(str(body.get("channel", "")), by_name=False)
        if channel is None:
            return _error("channel_not_found")
        thread, oldest = body.get("ts"), float(body.get("oldest") or 0)
        here = [one for one in messages.values() if one.channel == channel and float(one.ts) >= oldest]
        if method == "conversations.replies":
            if (channel, thread) not in messages:
                return _error("thread_not_found")
            here = [one for one in here if thread in (one.ts, one.thread_ts)]
        else:
            here = [one for one in here if not one.is_reply]
        first, limit = int(body.get("cursor") or 0), min(int(body.get("limit") or 100), LARGEST_PAGE)
        page, more = here[first : first + limit], len(here) > first + limit
        with_metadata = str(body.get("include_all_metadata", "")).lower() in {"true", "1"}
        listed = [_listed(one, with_metadata) for one in reversed(page)]
        cursor = {"next_cursor": str(first + limit) if more else ""}
        return Reply(200, {"ok": True, "messages": listed, "has_more": more, "response_metadata": cursor})

    def _channel_id(self, channel: str, by_name: bool) -> str | None:
        """Posting knows names, with and without `#`; everything else knows ids alone."""
        known = self._made if self.channels is None else self.channels
        if channel in known.values():
            return channel
        if not by_name:
            return None
        if self.channels is None and channel.startswith("#"):
            return self._made.setdefault(channel, f"C{zlib.crc32(channel.encode()):010X}")
        return known.get(channel) or known.get(f"#{channel}")


def _listed(message: Message, with_metadata: bool) -> dict[str, Any]:
    thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
    metadata = {"metadata": message.metadata} if with_metadata and message.metadata else {}
    return {"type": "message", "ts": message.ts, **message.content, **thread, **metadata}


def _error(word: str, messages: Sequence[str] = ()) -> Reply:
    said = {"response_metadata": {"messages": list(messages)}} if messages else {}
    return Reply(200, {"ok": False, "error": word, **said})
