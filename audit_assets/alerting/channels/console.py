"""Renders a Slack message on a terminal: colored bar, bold text and code spans, buttons as links."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from audit_assets.alerting.findings_report import BarRow

# The part of Slack's markup that the messages use: code blocks, code spans, bold.
_MARKS = re.compile(r"```\n?(?P<block>.*?)\n?```|`(?P<code>[^`\n]*)`|\*(?P<bold>[^*\n]+)\*", re.DOTALL)


def render(message: Mapping[str, Any]) -> RenderableType:
    """A payload of `chat.postMessage`: its attachment, or its text if it has no attachment."""
    attachments: Sequence[Mapping[str, Any]] = message.get("attachments") or ()
    if not attachments:
        return render_mrkdwn(message["text"])
    (attachment,) = attachments
    return BarRow(tuple(part for block in attachment["blocks"] for part in _block(block)), attachment["color"])


def render_mrkdwn(text: str) -> Text:
    """Slack's markup as styles, and its entities as characters."""
    parts, end = Text(), 0
    for mark in _MARKS.finditer(text):
        parts.append(html.unescape(text[end : mark.start()]))
        kind = mark.lastgroup or ""
        parts.append(html.unescape(mark[kind]), {"bold": "bold", "code": "cyan"}.get(kind, ""))
        end = mark.end()
    return parts.append(html.unescape(text[end:]))


def _block(block: Mapping[str, Any]) -> Iterator[Text]:
    kind = block["type"]
    if kind == "header":
        yield Text(block["text"]["text"], "bold")
    elif kind == "actions":
        for button in block["elements"]:
            yield Text.assemble((f"{button['text']['text']:<16}", "bold"), button["url"], no_wrap=True)
    elif kind == "context":
        for element in block["elements"]:
            line = render_mrkdwn(element["text"])
            line.stylize("dim")
            yield line
    else:
        if "text" in block:
            yield render_mrkdwn(block["text"]["text"])
        for field in block.get("fields", ()):
            label, _, value = field["text"].partition("\n")
            yield Text.assemble((f"{label.strip('*'):<16}", "dim"), render_mrkdwn(value))
