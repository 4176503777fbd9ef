"""A YAML file as plain values, with the line of every field; what YAML lets through in silence is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

LARGEST = 64 * 1024  # bytes; a rule is a page long

Place = tuple[str | int, ...]

_NAMES = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"}  # `on:` is a name, whatever YAML 1.1 thinks
_PLAIN = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class DocumentError(Exception):
    """A file that cannot be read. Says the line (from 1), the field where there is one, and the mend."""

    def __init__(self, line: int, field: str, message: str):
        super().__init__(message)
        self.line, self.field, self.message = line, field, message


@dataclass(frozen=True, slots=True)
class Document:
    values: Mapping[str, Any]
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of that field, else of the nearest field around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_document(content: bytes) -> Document:
    """The one mapping that `content` (UTF-8) holds. Raises DocumentError."""
    if len(content) > LARGEST:
        raise DocumentError(1, "", f"is larger than {LARGEST // 1024} KiB; a rule is a page long")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DocumentError(line, "", "is not UTF-8; save it as UTF-8") from None
    try:
        return _document(yaml.SafeLoader(text).get_single_node())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DocumentError(line, "", f"is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise DocumentError(line, "", "holds a control character; remove it") from None
    except RecursionError:
        raise DocumentError(1, "", "is nested too deep to be a rule") from None


def _document(root: yaml.Node | None) -> Document:
    if not isinstance(root, yaml.MappingNode):
        raise DocumentError(1, "", "holds no fields; a rule is `field: value`, line by line")
    reader = _Reader()
    return Document(reader.value(root, ()), reader.lines)


class _Reader:
    """Walks the node tree once, noting the line of each field."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {(): 1}
        self._scalars = SafeConstructor()
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            raise DocumentError(self.lines[place], _name(place), "repeats another part (&, *); write it out")
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            kind = node.tag.rsplit(":", 1)[-1]
            try:
                return self._scalars.construct_object(node)  # pyright: ignore
            except (ConstructorError, ValueError, OverflowError):
                raise DocumentError(
                    line, _name(place), f"cannot read {node.value[:40]!r} as {kind}; put text in quotes"
                ) from None
        if node.tag not in _PLAIN:
            raise DocumentError(line, _name(place), f"has the tag {node.tag}; a rule uses no tags")
        if isinstance(node, yaml.SequenceNode):
            return [self._item(child, (*place, number)) for number, child in enumerate(node.value)]
        return self._mapping(node, place)

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self.lines[place] = node.start_mark.line + 1
        return self.value(node, place)

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or key_node.tag not in _NAMES:
                raise DocumentError(line, _name(place), f"{key}: a field's name is plain text")
            here = (*place, key)
            if key in values:
                raise DocumentError(line, _name(here), f"stands twice, first on line {self.lines[here]}")
            self.lines[here] = line
            values[key] = self.value(value_node, here)
        return values


def _name(place: Place) -> str:
    return ".".join(str(part) for part in place)
