"""Text from outside (capabilities, statuses), made fit to be shown: it moves no cursor and hides nothing."""

import unicodedata

LONGEST = 80  # characters shown of one value

# Control, format (bidirectional overrides, zero width), surrogates, private use, line and paragraph ends.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def shown(text: str, longest: int = LONGEST) -> str:
    """`text` with what cannot be seen written out (`\\x1b`), cut at `longest` characters; never empty."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    visible = "".join(_escaped(char) if unicodedata.category(char) in _UNSHOWN else char for char in cut)
    return visible if visible.strip() else f"'{visible}'"


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
