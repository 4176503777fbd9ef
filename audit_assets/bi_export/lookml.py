"""Renders LookML: blocks, fields, and the syntax of each kind of value."""

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = "# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.\n"


@dataclass(frozen=True)
class Word:
    """A value without quotation marks: yes, number, or the name of a field."""

    text: str


@dataclass(frozen=True)
class Sql:
    """A SQL expression, which ends with two semicolons."""

    text: str


@dataclass(frozen=True)
class Block:
    """`kind: name { … }`; without a name `kind: { … }`."""

    kind: str
    name: str
    fields: "Sequence[tuple[str, Value] | Block]"

    def lines(self, indent: int = 0) -> list[str]:
        """The lines of the block, one field per line."""
        pad = "  " * indent
        opened = f"{pad}{self.kind}: {self.name} {{" if self.name else f"{pad}{self.kind}: {{"
        inside: list[str] = []
        for field in self.fields:
            if isinstance(field, Block):
                inside += ["", *field.lines(indent + 1)] if inside and field.name else field.lines(indent + 1)
            else:
                inside += _field(*field, indent + 1)
        return [opened, *inside, f"{pad}}}"]


Value = str | Word | Sql | Sequence[str]


def document(blocks: Sequence[Block | tuple[str, Value]]) -> str:
    """The text of a file with these blocks and fields."""
    parts = ["\n".join(block.lines() if isinstance(block, Block) else _field(*block, 0)) for block in blocks]
    return HEADER + "\n" + "\n\n".join(parts) + "\n"


def _field(key: str, value: Value, indent: int) -> list[str]:
    pad = "  " * indent
    match value:
        case Word(text):
            return [f"{pad}{key}: {text}"]
        case Sql(text) if "\n" in text:
            return [f"{pad}{key}:", *(f"{pad}  {line}".rstrip() for line in text.split("\n")), f"{pad};;"]
        case Sql(text):
            return [f"{pad}{key}: {text} ;;"]
        case str(text):
            return [f"{pad}{key}: {quoted(text)}"]
        case names:
            return [f"{pad}{key}: [{', '.join(names)}]"]


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
