"""Escapes untrusted text (capabilities, statuses) for display: it cannot move the cursor or hide anything."""

import unicodedata

LONGEST = 80  # characters displayed of a value
NAME_LONGEST = 32  # of each name, if there are several in a line
CAUSE_LONGEST = 500  # of an error message

# Control, format (bidirectional overrides, zero width), surrogates, private use, line and paragraph ends.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def escape(text: str, longest: int = LONGEST) -> str:
    """`text` truncated to `longest` characters, with invisible characters escaped (`\\x1b`); never empty."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    visible = "".join(_escaped(char) if unicodedata.category(char) in _INVISIBLE else char for char in cut)
    return visible if visible.strip() else f"'{visible}'"


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
