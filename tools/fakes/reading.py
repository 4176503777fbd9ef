"""What the fakes received, computed from their effects: the same from running fakes and from their log."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

# One effect at a provider, as in the log: `kind`, `at` (seconds since 1970) and the fields of the kind.
Effect = Mapping[str, Any]
IncidentState = Literal["open", "acknowledged", "resolved"]


@dataclass(frozen=True)
class Incident:
    """All events with one dedup key. `opened` counts incidents: a trigger after a resolve opens another."""

    dedup_key: str
    state: IncidentState
    opened: int
    triggers: int
    resolves: int
    opened_at: float
    resolved_at: float | None
    event: dict[str, Any]  # the last trigger, without the routing key

    @property
    def severity(self) -> str:
        return self.event["payload"]["severity"]

    @property
    def summary(self) -> str:
        return self.event["payload"]["summary"]


@dataclass(frozen=True)
class Message:
    """One Slack message in its current state, after edits. `content` has text, blocks and attachments."""

    channel: str
    ts: str
    thread_ts: str | None
    content: dict[str, Any]
    metadata: dict[str, Any]
    posted_at: float
    edits: int = 0
    edited_at: float | None = None
    is_broadcast: bool = False  # a reply that the channel shows as well

    @property
    def reference(self) -> str:
        return f"{self.channel}:{self.ts}"

    @property
    def text(self) -> str:
        return self.content.get("text", "")

    @property
    def delivery_id(self) -> str | None:
        return self.metadata.get("event_payload", {}).get("delivery_id")

    @property
    def is_reply(self) -> bool:
        return self.thread_ts is not None


Messages = dict[tuple[str, str], Message]  # by channel id and ts


@dataclass(frozen=True)
class Received:
    """Everything that the fakes received. `requests` counts by path and status; a dropped request has status 0."""

    incidents: dict[str, Incident] = field(default_factory=dict[str, Incident])
    messages: list[Message] = field(default_factory=list[Message])
    requests: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])

    @property
    def posts(self) -> list[Message]:
        """Messages that are not replies."""
        return [message for message in self.messages if not message.is_reply]

    @property
    def replies(self) -> list[Message]:
        return [message for message in self.messages if message.is_reply]

    @property
    def edits(self) -> int:
        return sum(message.edits for message in self.messages)

    @property
    def delivered_twice(self) -> list[str]:
        """Delivery ids of more than one message."""
        counted = Counter(message.delivery_id for message in self.messages)
        return sorted(str(name) for name, times in counted.items() if name is not None and times > 1)


def incidents_of(effects: Iterable[Effect]) -> dict[str, Incident]:
    """Dedup key → incident, in the order in which they first opened."""
    found: dict[str, Incident] = {}
    for effect in effects:
        key = effect.get("dedup_key", "")
        if effect["kind"] == "trigger":
            found[key] = _triggered(found.get(key), effect)
        elif effect["kind"] == "resolve" and key in found:
            known = found[key]
            resolved_at = known.resolved_at if known.state == "resolved" else effect["at"]
            found[key] = replace(known, state="resolved", resolves=known.resolves + 1, resolved_at=resolved_at)
        elif effect["kind"] == "acknowledge" and key in found and found[key].state == "open":
            found[key] = replace(found[key], state="acknowledged")
    return found


def _triggered(known: Incident | None, effect: Effect) -> Incident:
    if known is None:
        return Incident(effect["dedup_key"], "open", 1, 1, 0, effect["at"], None, effect["event"])
    again = replace(known, triggers=known.triggers + 1, event=effect["event"])
    if known.state != "resolved":
        return again
    return replace(again, state="open", opened=known.opened + 1, opened_at=effect["at"], resolved_at=None)


def messages_of(effects: Iterable[Effect]) -> list[Message]:
    """Slack messages in the order in which they were posted."""
    found: Messages = {}
    for effect in effects:
        apply_effect(found, effect)
    return list(found.values())


def apply_effect(messages: Messages, effect: Effect) -> None:
    """Applies one effect to `messages`."""
    message_id = (effect.get("channel", ""), effect.get("ts", ""))
    if effect["kind"] == "post":
        thread, metadata = effect["thread_ts"], effect["metadata"]
        broadcast = effect.get("broadcast", False)
        posted = Message(*message_id, thread, effect["content"], metadata, effect["at"], is_broadcast=broadcast)
        messages[message_id] = posted
    elif effect["kind"] == "edit":
        known = messages[message_id]
        # Like Slack, keeps the fields that an edit omits.
        content = {**known.content, **effect["content"]}
        messages[message_id] = replace(known, content=content, edits=known.edits + 1, edited_at=effect["at"])


def log_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The requests in a log, oldest first: `at`, `path`, `body`, `effects`, `answered`. Skips incomplete lines."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the fakes were killed while writing it
            continue


def read_log(path: Path) -> Received:
    """What the fakes received, from their log; also after the fakes or a client were killed."""
    lines = list(log_lines(path))
    effects = [effect for line in lines for effect in line["effects"]]
    requests = Counter((line["path"], line["answered"]["status"]) for line in lines)
    return Received(incidents_of(effects), messages_of(effects), requests)
