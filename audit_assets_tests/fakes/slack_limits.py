"""Slack's limits on a message: https://docs.slack.dev/reference/block-kit/blocks and chat.postMessage's errors."""

from collections.abc import Iterator
from typing import Any

LONGEST_TEXT = 40_000  # the real one cuts longer text of no blocks; refusing it shows that nobody counts on that
BLOCKS, ATTACHMENTS = 50, 100
# Undocumented as a sum; 9,597 characters were seen to be taken and 11,341 not (slackapi/bolt-js#2867).
LONGEST_BLOCKS = 10_000
_TYPES = {"section", "header", "context", "actions", "divider", "image", "rich_text", "table", "markdown"}


def refusal(content: dict[str, Any]) -> tuple[str, list[str]] | None:
    """The error word and what is said with it, or None for a message Slack takes."""
    text, blocks, attachments = content.get("text"), content.get("blocks"), content.get("attachments")
    if not text and not blocks and not attachments:
        return "no_text", []
    if text is not None and len(str(text)) > LONGEST_TEXT:
        return "msg_too_long", []
    wrong = list(_wrong_blocks(blocks, "/blocks"))
    if wrong:
        return "invalid_blocks", wrong
    if attachments is not None and not isinstance(attachments, list):
        return "invalid_attachments", []
    if len(attachments or []) > ATTACHMENTS:
        return "too_many_attachments", []
    for place, attachment in enumerate(attachments or []):
        wrong = list(_wrong_blocks(attachment.get("blocks"), f"/attachments/{place}/blocks"))
        if wrong:
            return "invalid_attachments", wrong
    everything = [blocks or [], *(attachment.get("blocks") or [] for attachment in attachments or [])]
    if any(sum(len(text) for text in _texts(some)) > LONGEST_BLOCKS for some in everything):
        return "msg_blocks_too_long", []
    return None


def _wrong_blocks(blocks: Any, at: str) -> Iterator[str]:
    if blocks is None:
        return
    if not isinstance(blocks, list):
        yield f"[ERROR] must be an array [json-pointer:{at}]"
        return
    if len(blocks) > BLOCKS:
        yield f"[ERROR] no more than {BLOCKS} items allowed [json-pointer:{at}]"
    for place, block in enumerate(blocks):
        yield from _wrong_block(block, f"{at}/{place}")


def _wrong_block(block: Any, at: str) -> Iterator[str]:
    if not isinstance(block, dict) or block.get("type") not in _TYPES:
        yield f"[ERROR] unsupported type [json-pointer:{at}/type]"
        return
    kind = block["type"]
    if kind == "section":
        if not block.get("text") and not block.get("fields"):
            yield f"[ERROR] missing required field: text [json-pointer:{at}]"
        yield from _wrong_text(block.get("text"), 3000, f"{at}/text")
        yield from _too_many(block.get("fields"), 10, f"{at}/fields")
        for place, one in enumerate(block.get("fields") or []):
            yield from _wrong_text(one, 2000, f"{at}/fields/{place}")
    elif kind == "header":
        yield from _wrong_text(block.get("text") or {}, 150, f"{at}/text")
    elif kind == "context":
        yield from _too_many(block.get("elements"), 10, f"{at}/elements")
    elif kind == "actions":
        yield from _too_many(block.get("elements"), 25, f"{at}/elements")
        for place, button in enumerate(block.get("elements") or []):
            yield from _wrong_text(button.get("text") or {}, 75, f"{at}/elements/{place}/text")
            if len(button.get("url", "")) > 3000:
                yield f"[ERROR] must be less than 3001 characters [json-pointer:{at}/elements/{place}/url]"


def _wrong_text(text: Any, longest: int, at: str) -> Iterator[str]:
    if text is None:
        return
    if not isinstance(text, dict) or text.get("type") not in {"mrkdwn", "plain_text"} or not text.get("text"):
        yield f"[ERROR] must be a text object that is not empty [json-pointer:{at}]"
    elif len(text["text"]) > longest:
        yield f"[ERROR] must be less than {longest + 1} characters [json-pointer:{at}/text]"


def _too_many(items: Any, most: int, at: str) -> Iterator[str]:
    if len(items or []) > most:
        yield f"[ERROR] no more than {most} items allowed [json-pointer:{at}]"


def _texts(node: Any) -> Iterator[str]:
    """Every `text` below `node` that is a string."""
    if isinstance(node, list):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
