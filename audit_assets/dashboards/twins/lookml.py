"""LookML as text: blocks of fields, and what a value looks like in each kind of field."""

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = "# Made from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; change those, not this file.\n"


@dataclass(frozen=True)
class Word:
    """A value without quotation marks: yes, number, a field's name."""

    text: str


@dataclass(frozen=True)
class Sql:
    """An expression, ended by two semicolons."""

    text: str


@dataclass(frozen=True)
class Block:
    """`kind: name { … }`; without a name `kind: { … }`."""

    kind: str
    name: str
    fields: "Sequence[tuple[str, Value] | Block]"

    def lines(self, indent: int = 0) -> list[str]:
        """The block, its fields below each other."""
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
    """A file of them."""
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
