"""Reads YAML as plain values. In this project's own files each field has its line, and what YAML accepts silently is
rejected."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

ENDINGS = (".yaml", ".yml")

LARGEST = 64 * 1024  # bytes; split or shorten it

FieldPath = tuple[str | int, ...]

_NAMES = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"}  # YAML 1.1 reads the name `on:` as a boolean
_PLAIN = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class DocumentError(Exception):
    """A file cannot be read. Has the line (from 1), the field, if any, and a message with the fix."""

    def __init__(self, line: int, field: str, message: str):
        super().__init__(message)
        self.line, self.field, self.message = line, field, message


@dataclass(frozen=True, slots=True)
class Document:
    values: Mapping[str, Any]
    lines: Mapping[FieldPath, int]

    def line(self, field_path: FieldPath) -> int:
        """The line of that field, else of its nearest parent."""
        while field_path and field_path not in self.lines:
            field_path = field_path[:-1]
        return self.lines.get(field_path, 1)


def is_yaml_file(path: Path) -> bool:
    """Whether the name has a YAML extension, in any case. Hidden files, such as those of editors, do not count."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def unread_files(folder: Path, read: Collection[str]) -> list[str]:
    """A message with the fix for each YAML file directly in `folder` that is not among the files that are `read`."""
    names = sorted(path.name for path in folder.iterdir() if is_yaml_file(path) and path.name not in read)
    return [f"{name}: is not read; the folder may contain {', '.join(read)}: rename or remove it" for name in names]


def read_values(text: str) -> Any:
    """The values of YAML in the format of another tool, such as dbt or Looker: aliases are allowed, lines are not kept.
    Raises DocumentError."""
    try:
        return yaml.load(text, yaml.CSafeLoader)  # five times as fast as the loader in Python
    except yaml.YAMLError as error:
        raise _not_yaml(text, error) from None


def read_document(content: bytes) -> Document:
    """Parses `content` (UTF-8) as one mapping. Raises DocumentError."""
    if len(content) > LARGEST:
        raise DocumentError(1, "", f"is larger than {LARGEST // 1024} KiB; split or shorten it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DocumentError(line, "", "is not UTF-8; save it as UTF-8") from None
    try:
        return _document(yaml.SafeLoader(text).get_single_node())
    except yaml.YAMLError as error:
        raise _not_yaml(text, error) from None
    except RecursionError:
        raise DocumentError(1, "", "is nested too deeply; flatten it") from None


def _not_yaml(text: str, error: yaml.YAMLError) -> DocumentError:
    if isinstance(error, yaml.reader.ReaderError):
        return DocumentError(text[: error.position].count("\n") + 1, "", "contains a control character; remove it")
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    reason = (error.problem or error.context) if isinstance(error, yaml.MarkedYAMLError) else error
    return DocumentError(mark.line + 1 if mark else 1, "", f"is not YAML: {reason}")


def _document(root: yaml.Node | None) -> Document:
    if not isinstance(root, yaml.MappingNode):
        raise DocumentError(1, "", "has no fields; write `field: value` lines")
    reader = _Reader()
    return Document(reader.value(root, ()), reader.lines)


class _Reader:
    """Walks the node tree once and records the line of each field."""

    def __init__(self) -> None:
        self.lines: dict[FieldPath, int] = {(): 1}
        self._scalars = SafeConstructor()
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, field_path: FieldPath) -> Any:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            raise DocumentError(self.lines[field_path], _name(field_path), "uses an alias (&, *); write the value out")
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            kind = node.tag.rsplit(":", 1)[-1]
            try:
                return self._scalars.construct_object(node)  # pyright: ignore
            except (ConstructorError, ValueError, OverflowError):
                raise DocumentError(
                    line, _name(field_path), f"cannot read {node.value[:40]!r} as {kind}; put text in quotes"
                ) from None
        if node.tag not in _PLAIN:
            raise DocumentError(line, _name(field_path), f"has the tag {node.tag}; remove it")
        if isinstance(node, yaml.SequenceNode):
            return [self._item(child, (*field_path, number)) for number, child in enumerate(node.value)]
        return self._mapping(node, field_path)

    def _item(self, node: yaml.Node, field_path: FieldPath) -> Any:
        self.lines[field_path] = node.start_mark.line + 1
        return self.value(node, field_path)

    def _mapping(self, node: yaml.Node, field_path: FieldPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or key_node.tag not in _NAMES:
                raise DocumentError(line, _name(field_path), f"{key}: is not a field name; use plain text")
            child = (*field_path, key)
            if key in values:
                raise DocumentError(
                    line, _name(child), f"is defined twice, first on line {self.lines[child]}; remove one"
                )
            self.lines[child] = line
            values[key] = self.value(value_node, child)
        return values


def _name(field_path: FieldPath) -> str:
    return ".".join(str(part) for part in field_path)
