"""Slack's limits on a message: https://docs.slack.dev/reference/block-kit/blocks and chat.postMessage's errors."""

from collections.abc import Iterator
from typing import Any

from audit_assets.config.json_values import is_list, is_object

LONGEST_TEXT = 40_000  # Slack cuts longer text of a message without blocks; the fake refuses it
BLOCKS, ATTACHMENTS = 50, 100
# The sum is undocumented: 9,597 characters were accepted and 11,341 were not (slackapi/bolt-js#2867).
LONGEST_BLOCKS = 10_000
_TYPES = {"section", "header", "context", "actions", "divider", "image", "rich_text", "table", "markdown"}


def refusal(content: dict[str, Any]) -> tuple[str, list[str]] | None:
    """Slack's error and its messages, or None if Slack accepts the content."""
    text, blocks, attachments = content.get("text"), content.get("blocks"), content.get("attachments")
    if not text and not blocks and not attachments:
        return "no_text", []
    if text is not None and len(str(text)) > LONGEST_TEXT:
        return "msg_too_long", []
    errors = list(_block_errors(blocks, "/blocks"))
    if errors:
        return "invalid_blocks", errors
    if attachments is not None and not is_list(attachments):
        return "invalid_attachments", []
    if len(attachments or []) > ATTACHMENTS:
        return "too_many_attachments", []
    for place, attachment in enumerate(attachments or []):
        errors = list(_block_errors(attachment.get("blocks"), f"/attachments/{place}/blocks"))
        if errors:
            return "invalid_attachments", errors
    everything = [blocks or (), *(attachment.get("blocks") or () for attachment in attachments or [])]
    if any(sum(len(text) for text in _texts(group)) > LONGEST_BLOCKS for group in everything):
        return "msg_blocks_too_long", []
    return None


def _block_errors(blocks: Any, at: str) -> Iterator[str]:
    if blocks is None:
        return
    if not is_list(blocks):
        yield f"[ERROR] must be an array [json-pointer:{at}]"
        return
    if len(blocks) > BLOCKS:
        yield f"[ERROR] no more than {BLOCKS} items allowed [json-pointer:{at}]"
    for place, block in enumerate(blocks):
        yield from _single_block_errors(block, f"{at}/{place}")


def _single_block_errors(block: Any, at: str) -> Iterator[str]:
    if not is_object(block) or block.get("type") not in _TYPES:
        yield f"[ERROR] unsupported type [json-pointer:{at}/type]"
        return
    kind = block["type"]
    if kind == "section":
        if not block.get("text") and not block.get("fields"):
            yield f"[ERROR] missing required field: text [json-pointer:{at}]"
        yield from _text_errors(block.get("text"), 3000, f"{at}/text")
        yield from _count_errors(block.get("fields"), 10, f"{at}/fields")
        for place, text in enumerate(block.get("fields") or ()):
            yield from _text_errors(text, 2000, f"{at}/fields/{place}")
    elif kind == "header":
        yield from _text_errors(block.get("text") or {}, 150, f"{at}/text")
    elif kind == "context":
        yield from _count_errors(block.get("elements"), 10, f"{at}/elements")
    elif kind == "actions":
        yield from _count_errors(block.get("elements"), 25, f"{at}/elements")
        for place, button in enumerate(block.get("elements") or ()):
            yield from _text_errors(button.get("text") or {}, 75, f"{at}/elements/{place}/text")
            if len(button.get("url", "")) > 3000:
                yield f"[ERROR] must be less than 3001 characters [json-pointer:{at}/elements/{place}/url]"


def _text_errors(text: Any, longest: int, at: str) -> Iterator[str]:
    if text is None:
        return
    if not is_object(text) or text.get("type") not in {"mrkdwn", "plain_text"} or not text.get("text"):
        yield f"[ERROR] must be a text object that is not empty [json-pointer:{at}]"
    elif len(text["text"]) > longest:
        yield f"[ERROR] must be less than {longest + 1} characters [json-pointer:{at}/text]"


def _count_errors(items: Any, most: int, at: str) -> Iterator[str]:
    if len(items or []) > most:
        yield f"[ERROR] no more than {most} items allowed [json-pointer:{at}]"


def _texts(node: Any) -> Iterator[str]:
    """Every `text` below `node` that is a string."""
    if is_list(node):
        for item in node:
            yield from _texts(item)
    elif is_object(node):
        for name, value in node.items():
            if name == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
