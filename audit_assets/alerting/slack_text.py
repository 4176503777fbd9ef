"""Slack's text objects, and text from outside made fit for them: it formats nothing, mentions nobody, leads nowhere.

A name stands in a code span, where Slack reads neither `*` nor `_` nor `:smile:`; the three characters that begin
mentions and links there as well are written as entities.
"""

import re
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from audit_assets.alerting.outside_text import LONGEST, shown

Block = dict[str, Any]

SECTION_LONGEST = 3000
FIELD_LONGEST = 2000
HEADER_LONGEST = 150
BUTTON_LONGEST = 75
URL_LONGEST = 3000

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "ˋ"})  # no backtick ends a code span
_MARKS = str.maketrans({"*": "∗", "~": "∼"})
_UNDERSCORES = re.compile(r"(?<!\w)_|_(?!\w)")  # within a word, as in on_call, Slack leaves them alone


def entities(text: str) -> str:
    """`text` without anything that begins a mention, a link or a code span."""
    return text.translate(_ENTITIES)


def code(text: str, longest: int = LONGEST) -> str:
    """`text` as it is, in a code span."""
    return f"`{entities(shown(text, longest))}`"


def quoted(text: str, longest: int = 1000) -> str:
    """Words of a rule file or of the ledger among our own, without formatting."""
    return _UNDERSCORES.sub("ˍ", entities(shown(text, longest)).translate(_MARKS))


def markdown(text: str, longest: int = SECTION_LONGEST) -> Block:
    """Slack's markup; channel names and addresses in it stay text."""
    return {"type": "mrkdwn", "text": _within(text, longest), "verbatim": True}


def plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": _within(text, longest), "emoji": False}


def section(text: str) -> Block:
    return {"type": "section", "text": markdown(text)}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], total: int, widest: int = 24) -> str:
    """A monospace table: the first column to the left, figures to the right, the last one as it comes.

    Rows that would not fit a section are left out; what is missing to `total` is counted below.
    """
    cut = [[_cut(shown(row[0]), widest), *row[1:]] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *cut, strict=True)]
    lines: list[str] = []
    for row in [list(header), *cut]:
        first, *middle, last = row
        cells = [set_cell_size(first, widths[0])]
        cells += [" " * (width - cell_len(cell)) + cell for cell, width in zip(middle, widths[1:-1], strict=True)]
        line = entities("  ".join([*cells, last]).rstrip())
        if sum(map(units, lines)) + len(lines) + units(line) > SECTION_LONGEST - 200:
            break
        lines.append(line)
    more = total - (len(lines) - 1)
    return "\n".join(["```", *lines, *([f"and {more:,} more"] if more > 0 else []), "```"])


def _cut(text: str, widest: int) -> str:
    return text if cell_len(text) <= widest else set_cell_size(text, widest - 1).rstrip() + "…"


def units(text: str) -> int:
    """Its length as Slack may count it: a character outside the basic plane is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _within(text: str, longest: int) -> str:
    while units(text) > longest:
        text = text[: longest // 2 if units(text) > 2 * longest else len(text) - 20].rstrip("…") + "…"
    return text
