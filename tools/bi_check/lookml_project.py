"""Reads a Looker project from its files: constants, views, explores, dashboards, and the problems found."""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lkml

from audit_assets.config.validation import Problem, did_you_mean
from audit_assets.config.yaml_files import DocumentError, read_values

KINDS = {"dimensions": "dimension", "measures": "measure", "filters": "filter", "parameters": "parameter"}

# The generated subset of LookML. Anything else is rejected, because it would not be checked.
_KEYS: Mapping[str, frozenset[str]] = {
    "view": frozenset({"name", "label", "sql_table_name", "derived_table", *KINDS}),
    "explore": frozenset({"name", "label", "description", "group_label", "sql_always_where", "always_filter"}),
    "dimension": frozenset(
        {"name", "label", "description", "type", "sql", "datatype", "convert_tz", "value_format", "links", "hidden"}
    ),
    "measure": frozenset({"name", "label", "description", "type", "sql", "value_format"}),
    "filter": frozenset({"name", "label", "type", "convert_tz", "suggest_explore", "suggest_dimension"}),
    "parameter": frozenset({"name", "label", "description", "type", "default_value", "allowed_values"}),
}
_TYPES: Mapping[str, frozenset[str]] = {
    "dimension": frozenset({"date", "date_time", "string", "number", "yesno"}),
    "measure": frozenset({"number", "string", "max"}),
    "filter": frozenset({"date", "string"}),
    "parameter": frozenset({"unquoted"}),
}


ELEMENT_KEYS = frozenset(
    [
        "name",
        "title",
        "model",
        "explore",
        "type",
        "fields",
        "pivots",
        "hidden_fields",
        "filters",
        "sorts",
        "limit",
        "column_limit",
        "listen",
        "row",
        "col",
        "width",
        "height",
        "note_state",
        "note_display",
        "note_text",
        "show_comparison",
        "comparison_type",
        "show_comparison_label",
        "stacking",
        "value_labels",
        "inner_radius",
        "conditional_formatting",
        "y_axes",
        "reference_lines",
    ]
)
VISUALIZATIONS = frozenset(
    [
        "single_value",
        "looker_area",
        "looker_line",
        "looker_pie",
        "looker_boxplot",
        "looker_bar",
        "looker_grid",
        "looker_scatter",
        "looker_funnel",
    ]
)


@dataclass(frozen=True)
class Field:
    """A field of a view."""

    view: str
    name: str
    kind: str
    written: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.written.get("type", ""))

    @property
    def sql(self) -> str:
        return str(self.written.get("sql", ""))

    @property
    def alias(self) -> str:
        """The field's name in Looker's results."""
        return f"{self.view}_{self.name}"


@dataclass(frozen=True)
class View:
    name: str
    file: str
    base: str  # a table, or a query in parentheses
    fields: Mapping[str, Field]


@dataclass(frozen=True)
class Explore:
    name: str
    file: str
    where: str
    default_filters: Mapping[str, str]


@dataclass(frozen=True)
class Dashboard:
    file: str
    written: Mapping[str, Any]

    @property
    def elements(self) -> list[Mapping[str, Any]]:
        return list(self.written.get("elements", ()))

    @property
    def filters(self) -> Mapping[str, Mapping[str, Any]]:
        return {str(each.get("name")): each for each in self.written.get("filters", ())}


@dataclass(frozen=True)
class Project:
    """The loaded parts of a project, and the problems of the others."""

    texts: Mapping[str, str]
    model: str = ""
    constants: Mapping[str, str] = field(default_factory=dict[str, str])
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    explores: Mapping[str, Explore] = field(default_factory=dict[str, Explore])
    dashboards: tuple[Dashboard, ...] = ()
    problems: tuple[Problem, ...] = ()

    def problem(self, file: str, place: str, message: str) -> Problem:
        """A problem at the line on which `place` is written, such as `measure: error_rate` or `name: T05`."""
        lines = self.texts.get(file, "").split("\n")
        line = next((number for number, text in enumerate(lines, 1) if re.search(rf"{re.escape(place)}\b", text)), 1)
        return Problem(file, line, place, message)


def read_project(folder: Path) -> Project:
    """Reads the project in `folder`."""
    texts = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".lkml", ".lookml")
    }
    problems: list[Problem] = []
    parsed: dict[str, Mapping[str, Any]] = {}
    for file, text in texts.items():
        if file.endswith(".lkml"):
            try:
                parsed[file] = lkml.load(text)
            except (SyntaxError, IndexError, ValueError, KeyError) as error:  # the parser raises any of these
                problems.append(Problem(file, 1, "", f"is not valid LookML: {str(error).splitlines()[0]}"))
    blank = Project(texts)
    models = [file for file in parsed if file.endswith(".model.lkml")]
    if len(models) != 1 or "manifest.lkml" not in parsed:
        file = models[0] if models else "models"
        return Project(
            texts, problems=(*problems, Problem(file, 1, "", "a project needs one model and a manifest.lkml"))
        )
    model = parsed[models[0]]
    included = ["manifest.lkml"]
    for pattern in model.get("includes", ()):
        found = [file for file in texts if fnmatch.fnmatch(f"/{file}", pattern)]
        included += found
        if not found:
            problems.append(blank.problem(models[0], pattern, "no such file"))
    constants = {each["name"]: str(each["value"]) for each in parsed["manifest.lkml"].get("constants", ())}
    views: dict[str, View] = {}
    explores: dict[str, Explore] = {}
    for file in included:
        if file not in parsed:
            continue
        problems += _unknown_keys(blank, file, parsed[file])
        views |= {each["name"]: _view(each, file) for each in parsed[file].get("views", ())}
        explores |= {each["name"]: _explore(each, file) for each in parsed[file].get("explores", ())}
    problems += [
        blank.problem(explore.file, f"explore: {explore.name}", f"no such view{did_you_mean(explore.name, views)}")
        for explore in explores.values()
        if explore.name not in views
    ]
    dashboards: list[Dashboard] = []
    for file in included:
        if file.endswith(".lookml"):
            try:
                dashboards += [Dashboard(file, each) for each in read_values(texts[file])]
            except DocumentError as error:
                problems.append(Problem(file, error.line, error.field, error.message))
    name = Path(models[0]).name.removesuffix(".model.lkml")
    return Project(texts, name, constants, views, explores, tuple(dashboards), tuple(problems))


def _view(written: Mapping[str, Any], file: str) -> View:
    name = written["name"]
    fields = {
        each["name"]: Field(name, each["name"], kind, each)
        for plural, kind in KINDS.items()
        for each in written.get(plural, ())
    }
    derived = written.get("derived_table")
    base = f"(\n{derived.get('sql', '')}\n)" if derived is not None else str(written.get("sql_table_name", ""))
    return View(name, file, base, fields)


def _explore(written: Mapping[str, Any], file: str) -> Explore:
    defaults: dict[str, str] = {}
    for pairs in written.get("always_filter", {}).get("filters__all", ()):
        for pair in pairs:
            defaults |= pair
    return Explore(written["name"], file, str(written.get("sql_always_where", "")), defaults)


def _unknown_keys(project: Project, file: str, parsed: Mapping[str, Any]) -> Iterator[Problem]:
    for kind in ("view", "explore"):
        for block in parsed.get(f"{kind}s", ()):
            yield from _unknown_of(project, file, kind, block)
            if kind == "explore":
                continue
            seen: set[str] = set()
            for plural, of in KINDS.items():
                for each in block.get(plural, ()):
                    yield from _unknown_of(project, file, of, each)
                    if each["name"] in seen:
                        yield project.problem(
                            file, f"{of}: {each['name']}", "is defined twice in one view; rename or remove one"
                        )
                    seen.add(each["name"])
                    if each.get("type") not in _TYPES[of]:
                        detail = f"type {each.get('type')}: not one of {', '.join(sorted(_TYPES[of]))}"
                        yield project.problem(file, f"{of}: {each['name']}", detail)


def _unknown_of(project: Project, file: str, kind: str, block: Mapping[str, Any]) -> Iterator[Problem]:
    for key in block:
        if key not in _KEYS[kind]:
            place = f"{kind}: {block['name']}"
            yield project.problem(file, place, f"{key}: no such parameter here{did_you_mean(key, _KEYS[kind])}")
