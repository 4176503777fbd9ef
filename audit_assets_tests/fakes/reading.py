"""What the fakes were told, folded from their effects: the same whether they still run or only their log is left."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

# One thing that happened at a provider, as it stands in the log: `kind`, `at` (seconds since 1970) and its own fields.
Effect = Mapping[str, Any]
IncidentState = Literal["open", "acknowledged", "resolved"]


@dataclass(frozen=True)
class Incident:
    """All that came under one dedup key. `opened` counts incidents: a trigger after a resolve opens another."""

    dedup_key: str
    state: IncidentState
    opened: int
    triggers: int
    resolves: int
    opened_at: float
    resolved_at: float | None
    event: dict[str, Any]  # the last trigger, without its key

    @property
    def severity(self) -> str:
        return self.event["payload"]["severity"]

    @property
    def summary(self) -> str:
        return self.event["payload"]["summary"]


@dataclass(frozen=True)
class Message:
    """One Slack message as it stands, edits made. `content` holds text, blocks and attachments."""

    channel: str
    ts: str
    thread_ts: str | None
    content: dict[str, Any]
    metadata: dict[str, Any]
    posted_at: float
    edits: int = 0
    edited_at: float | None = None

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
class Reading:
    """All the fakes were told. `requests` counts by path and status; a dropped one counts as status 0."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def posts(self) -> list[Message]:
        """Messages that are no replies."""
        return [message for message in self.messages if not message.is_reply]

    @property
    def replies(self) -> list[Message]:
        return [message for message in self.messages if message.is_reply]

    @property
    def edits(self) -> int:
        return sum(message.edits for message in self.messages)

    @property
    def delivered_twice(self) -> list[str]:
        """Delivery ids that more than one message carries."""
        counted = Counter(message.delivery_id for message in self.messages)
        return sorted(str(name) for name, times in counted.items() if name is not None and times > 1)


def incidents_of(effects: Iterable[Effect]) -> dict[str, Incident]:
    """Dedup key → incident, in the order they first opened."""
    found: dict[str, Incident] = {}
    for effect in effects:
        key = effect.get("dedup_key")
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
    """Slack's messages in the order they were posted."""
    found: Messages = {}
    for effect in effects:
        tell(found, effect)
    return list(found.values())


def tell(messages: Messages, effect: Effect) -> None:
    """Put one more effect into `messages`."""
    place = (effect.get("channel", ""), effect.get("ts", ""))
    if effect["kind"] == "post":
        thread, metadata = effect["thread_ts"], effect["metadata"]
        messages[place] = Message(*place, thread, effect["content"], metadata, effect["at"])
    elif effect["kind"] == "edit":
        known = messages[place]
        # As Slack does: what an edit does not name stays.
        content = {**known.content, **effect["content"]}
        messages[place] = replace(known, content=content, edits=known.edits + 1, edited_at=effect["at"])


def log_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The requests in a log, oldest first: `at`, `path`, `body`, `effects`, `answered`. A torn line is left out."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the fakes were killed in the middle of it
            continue


def read_log(path: Path) -> Reading:
    """What a log tells, also that of fakes or of a client that were killed."""
    lines = list(log_lines(path))
    effects = [effect for line in lines for effect in line["effects"]]
    requests = Counter((line["path"], line["answered"]["status"]) for line in lines)
    return Reading(incidents_of(effects), messages_of(effects), requests)
