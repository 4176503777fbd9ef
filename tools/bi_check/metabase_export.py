"""Reads and checks a Metabase export: structure, ids, columns, and Metabase's schema if its validator is installed."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_assets.config.json_values import is_list, is_object
from audit_assets.config.validation import Problem, did_you_mean
from audit_assets.config.yaml_files import DocumentError, is_yaml_file, read_values
from audit_assets.settings import PROJECT_ROOT

INSTALL = "npm install --global @metabase/representations@1.2.0"
_SECONDS = 60
_FILE = re.compile(r"FAIL\s+(\S+)")


def validator() -> str | None:
    """The path of the validator, from this project or the system; None if it is not installed."""
    return shutil.which("representations", path=str(PROJECT_ROOT / "node_modules" / ".bin")) or shutil.which(
        "representations"
    )


def schema_problems(folder: Path) -> list[Problem]:
    """The problems the validator finds in the export in `folder`; empty if it is not installed."""
    command = validator()
    if command is None:
        return []
    arguments = [command, "validate-schema", "--folder", str(folder.resolve())]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    problems: list[Problem] = []
    file = ""
    for line in done.stderr.splitlines():
        found = _FILE.match(line)
        if found:
            file = found[1]
        elif line.strip() and file:
            place, _, detail = line.strip().partition(" ")
            problems.append(Problem(file, 1, place, f"{detail} (Metabase's schema)"))
    if done.returncode and not problems:
        detail = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        problems.append(Problem(".", 1, "", f"Metabase's validator exited with {done.returncode}: {detail[-1]}"))
    return problems


_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Collection": ("name", "entity_id"),
    "Database": ("name", "engine"),
    "Card": ("name", "entity_id", "display", "creator_id", "dataset_query", "visualization_settings", "collection_id"),
    "Dashboard": ("name", "entity_id", "creator_id", "collection_id", "parameters", "dashcards"),
}
_DASHCARD = ("entity_id", "card_id", "row", "col", "size_x", "size_y", "parameter_mappings", "serdes/meta")
_ENTITY_ID = re.compile(r"[A-Za-z0-9_-]{21}")
_TAG = re.compile(r"\{\{(\w+)\}\}")
_OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_COLUMNS = 24
# Settings that name columns of the card's query.
_NAMING = (
    "graph.dimensions",
    "graph.metrics",
    "scalar.field",
    "pie.dimension",
    "pie.metric",
    "funnel.dimension",
    "funnel.metric",
    "table.pivot_column",
    "table.cell_column",
)

Entity = Mapping[str, Any]


class SubstitutionError(Exception):
    """A query cannot be filled. The message gives the reason."""


@dataclass(frozen=True)
class Export:
    """The loaded entities of an export by file, and the problems of the other files."""

    texts: Mapping[str, str]
    entities: Mapping[str, Entity]
    unread: tuple[Problem, ...] = ()

    def of(self, model: str) -> Iterator[tuple[str, Entity]]:
        return ((file, entity) for file, entity in self.entities.items() if _model(entity) == model)

    def problem(self, file: str, place: str, message: str) -> Problem:
        """A problem at the first line on which `place` is written."""
        lines = self.texts.get(file, "").split("\n")
        key = place.split(".")[-1]
        line = next((number for number, text in enumerate(lines, 1) if key in text), 1)
        return Problem(file, line, place, message)


@dataclass
class _Known:
    """The ids of each model, with the file that defines them."""

    ids: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def of(self, model: str) -> dict[str, str]:
        return self.ids.setdefault(model, {})


def read_export(folder: Path) -> Export:
    """Reads the export in `folder`."""
    texts = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if is_yaml_file(path)
    }
    entities: dict[str, Entity] = {}
    problems: list[Problem] = []
    for file, text in texts.items():
        try:
            entity = read_values(text)
        except DocumentError as error:
            problems.append(Problem(file, error.line, error.field, error.message))
            continue
        if not isinstance(entity, dict) or _model(entity) not in _REQUIRED:
            problems.append(Problem(file, 1, "serdes/meta", f"does not name one of the models {', '.join(_REQUIRED)}"))
            continue
        entities[file] = entity
    return Export(texts, entities, tuple(problems))


def card_query(entity: Entity) -> str:
    """The SQL of a card, with tags."""
    return str(entity["dataset_query"]["stages"][0]["native"])


def substitute(sql: str, values: Mapping[str, str]) -> str:
    """`sql` with its tags filled as in Metabase: a tag becomes a quoted text, and text in [[ ]] is kept only if its
    tags have values. Raises SubstitutionError."""

    def optional(found: re.Match[str]) -> str:
        return found[1] if all(name in values for name in _TAG.findall(found[1])) else ""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise SubstitutionError(f"{{{{{found[1]}}}}} has no value and is not in [[ ]]")
        return "'" + values[found[1]].replace("\\", "\\\\").replace("'", "\\'") + "'"

    filled = _TAG.sub(value, _OPTIONAL.sub(optional, sql))
    left = re.search(r"\[\[|\]\]|\{\{|\}\}", filled)
    if left:
        raise SubstitutionError(f"{left[0]} has no matching bracket")
    return filled


def structure_problems(export: Export) -> list[Problem]:
    """Missing keys, invalid or duplicate ids, dangling references, and tags and positions that do not match."""
    problems = [*export.unread]
    known = _Known()
    for file, entity in export.entities.items():
        problems += _of_entity(export, file, entity, known)
    for file, entity in export.entities.items():
        for key, model in (("collection_id", "Collection"), ("dashboard_id", "Dashboard"), ("parent_id", "Collection")):
            if entity.get(key) is not None and entity[key] not in known.of(model):
                problems.append(export.problem(file, key, f"{entity[key]}: no such {model.lower()}"))
    cards = {str(entity["entity_id"]): entity for _, entity in export.of("Card") if "entity_id" in entity}
    for file, entity in export.of("Card"):
        if all(key in entity for key in _REQUIRED["Card"]):
            problems += _of_card(export, file, entity, known)
    for file, entity in export.of("Dashboard"):
        if all(key in entity for key in _REQUIRED["Dashboard"]):
            problems += _of_dashboard(export, file, entity, cards, known)
    return problems


def misnamed_columns(export: Export, file: str, entity: Entity, columns: Sequence[str]) -> list[Problem]:
    """Settings of a card that name a column its query does not return."""
    settings = entity["visualization_settings"]
    named = [(key, name) for key in _NAMING for name in _listed(settings.get(key))]
    named += [("table.columns", str(each.get("name"))) for each in settings.get("table.columns", ())]
    return [
        export.problem(
            file, f"visualization_settings.{key}", f"{name}: not a column of its query{did_you_mean(name, columns)}"
        )
        for key, name in named
        if name not in columns
    ]


def _model(entity: Any) -> str:
    meta = entity.get("serdes/meta") if is_object(entity) else None
    return str(meta[-1].get("model")) if is_list(meta) and meta and is_object(meta[-1]) else ""


def _listed(value: object) -> list[str]:
    return [str(each) for each in value] if is_list(value) else [] if value is None else [str(value)]


def _of_entity(export: Export, file: str, entity: Entity, known: _Known) -> Iterator[Problem]:
    model = _model(entity)
    for key in _REQUIRED[model]:
        if key not in entity:
            yield export.problem(file, key, f"is missing; a {model.lower()} needs one")
    key = str(entity.get("name" if model == "Database" else "entity_id"))
    if entity["serdes/meta"][-1].get("id") != key:
        yield export.problem(file, "serdes/meta", f"its id differs from the file's, {key}")
    if model != "Database":
        yield from _of_id(export, file, model, key, known)
    else:
        known.of(model)[key] = file
    for dashcard in entity.get("dashcards", ()):
        yield from _of_id(export, file, "DashboardCard", str(dashcard.get("entity_id")), known)


def _of_id(export: Export, file: str, model: str, key: str, known: _Known) -> Iterator[Problem]:
    if not _ENTITY_ID.fullmatch(key):
        yield export.problem(file, "entity_id", f"{key}: not 21 letters, digits, _ or -")
    owner = next((ids[key] for ids in known.ids.values() if key in ids), None)
    if owner is not None:
        yield export.problem(file, "entity_id", f"{key}: is already the id of {owner}; ids must be unique")
    known.of(model)[key] = file


def _of_card(export: Export, file: str, entity: Entity, known: _Known) -> Iterator[Problem]:
    query = entity["dataset_query"]
    if query.get("database") not in known.of("Database"):
        yield export.problem(file, "database", f"{query.get('database')}: no such database")
    stages: list[Any] = query.get("stages") or [{}]
    if "native" not in stages[0]:
        yield export.problem(file, "dataset_query", "has no native query")
        return
    used, declared = (
        set(_TAG.findall(card_query(entity))),
        [str(tag.get("name")) for tag in stages[0].get("template-tags", ())],
    )
    for name in sorted(used - set(declared)):
        yield export.problem(file, "template-tags", f"{name}: is used in the SQL but not declared")
    for name in sorted(set(declared) - used):
        yield export.problem(file, "template-tags", f"{name}: is declared but not used in the SQL")
    for parameter in entity.get("parameters", ()):
        if parameter["target"][1][1] not in declared:
            yield export.problem(file, "parameters", f"{parameter['target'][1][1]}: no such tag")


def _of_dashboard(
    export: Export, file: str, entity: Entity, cards: Mapping[str, Entity], known: _Known
) -> Iterator[Problem]:
    parameters = {str(parameter.get("id")) for parameter in entity["parameters"]}
    for parameter in entity["parameters"]:
        values = parameter.get("values_source_config", {}).get("card_id")
        if values is not None and values not in cards:
            yield export.problem(file, "values_source_config", f"{values}: no such card")
    taken: dict[tuple[int, int], str] = {}
    for dashcard in entity["dashcards"]:
        missing = [key for key in _DASHCARD if key not in dashcard]
        if missing:
            yield export.problem(file, "dashcards", f"{dashcard.get('entity_id')}: {missing[0]} is missing")
            continue
        card = cards.get(str(dashcard["card_id"]))
        if card is None:
            yield export.problem(file, "card_id", f"{dashcard['card_id']}: no such card")
            continue
        tags = {str(tag.get("name")) for tag in card["dataset_query"]["stages"][0].get("template-tags", ())}
        for mapping in dashcard["parameter_mappings"]:
            if str(mapping.get("parameter_id")) not in parameters:
                yield export.problem(file, "parameter_mappings", f"{mapping.get('parameter_id')}: no such parameter")
            if mapping["target"][1][1] not in tags:
                yield export.problem(file, "parameter_mappings", f"{card['name']} has no tag {mapping['target'][1][1]}")
        if dashcard["col"] + dashcard["size_x"] > _COLUMNS:
            yield export.problem(file, "size_x", f"{card['name']} exceeds the {_COLUMNS} columns of the grid")
        for row in range(dashcard["row"], dashcard["row"] + dashcard["size_y"]):
            for column in range(dashcard["col"], dashcard["col"] + dashcard["size_x"]):
                other = taken.setdefault((row, column), card["name"])
                if other != card["name"]:
                    yield export.problem(file, "dashcards", f"{card['name']} overlaps {other}")
                    return
