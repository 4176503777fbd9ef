"""Compiles the BigQuery SQL that Looker would send for an element, for the generated subset of LookML."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from audit_assets.config.validation import did_you_mean
from tools.bi_check.lookml_project import (
    ELEMENT_KEYS,
    VISUALIZATIONS,
    Dashboard,
    Explore,
    Field,
    Project,
    View,
)

_IF = re.compile(r"\{% if (.*?) %\}(.*?)\{% endif %\}", re.DOTALL)
_BRANCH = re.compile(r"\{% (?:elsif (.*?)|else) %\}", re.DOTALL)
_TEST = re.compile(r"(\w+)\.(\w+)\._parameter_value == '(\w*)'")
_CONDITION = re.compile(r"\{% condition (\w+)\.(\w+) %\}(.*?)\{% endcondition %\}", re.DOTALL)
_DATE = re.compile(r"\{% date_(start|end) (\w+)\.(\w+) %\}")
_CONSTANT = re.compile(r"@\{(\w+)\}")
_REFERENCE = re.compile(r"\$\{(?:(\w+)\.)?(\w+)\}")
_LAST_DAYS = re.compile(r"(\d+) days?")


class CompileError(Exception):
    """Looker would reject the LookML. `file` and `place` give the location, the message the problem and the fix."""

    def __init__(self, message: str, file: str, place: str) -> None:
        super().__init__(message)
        self.file, self.place = file, place


Fail = Callable[[str], CompileError]  # creates an error at the place that is compiled


@dataclass(frozen=True)
class DashboardSelection:
    """The selection of a reader: days (both included) or none, and the values of dashboard filters by name."""

    today: date
    days: tuple[date, date] | None = None
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


@dataclass(frozen=True)
class Compiled:
    sql: str
    columns: tuple[str, ...]


def compile_element(
    project: Project, dashboard: Dashboard, element: Mapping[str, Any], selection: DashboardSelection
) -> Compiled:
    """The SQL of one element. Raises CompileError."""
    place = f"name: {element.get('name')}"

    def fail(message: str) -> CompileError:
        return CompileError(message, dashboard.file, place)

    for key in element:
        if key not in ELEMENT_KEYS:
            raise fail(f"{key}: no such parameter here{did_you_mean(key, ELEMENT_KEYS)}")
    if element.get("type") not in VISUALIZATIONS:
        raise fail(f"type {element.get('type')}: not one of {', '.join(sorted(VISUALIZATIONS))}")
    if element.get("model") != project.model:
        raise fail(f"model {element.get('model')}: the project's is {project.model}")
    explore = project.explores.get(str(element.get("explore")))
    if explore is None:
        name = str(element.get("explore"))
        raise fail(f"explore {name}: no such explore{did_you_mean(name, project.explores)}")
    view = project.views.get(explore.name)
    if view is None:
        raise fail(f"explore {explore.name}: its view does not load")
    fields = [_resolved(view, str(name), fail) for name in element.get("fields", ())]
    if not fields:
        raise fail("fields: is empty; name at least one field")
    for key in ("pivots", "hidden_fields"):
        for name in element.get(key, ()):
            if name not in element["fields"]:
                raise fail(f"{key}: {name} is not one of its fields")
    values: dict[str, Sequence[str]] = {name: (value,) for name, value in explore.default_filters.items()}
    for name, value in element.get("filters", {}).items():
        values[name] = (str(value),)
    for name, target in element.get("listen", {}).items():
        if name not in dashboard.filters:
            raise fail(f"listen: {name} is not a filter of the dashboard{did_you_mean(name, dashboard.filters)}")
        values.pop(target, None)
        if dashboard.filters[name].get("type") == "date_filter":
            default = str(dashboard.filters[name].get("default_value", ""))
            values[target] = (_as_days(selection.days) if selection.days else default,)
        elif selection.filters.get(name):
            values[target] = selection.filters[name]
        else:
            values[target] = ()
    return compile_query(project, explore, view, fields, values, selection.today, element, fail)


def compile_fields(project: Project, explore: Explore, fields: Sequence[Field], today: date) -> Compiled:
    """The SQL of some fields of an explore with only its own filters. Raises CompileError."""
    view = project.views[explore.name]

    def fail(message: str) -> CompileError:
        return CompileError(message, explore.file, f"explore: {explore.name}")

    values = {name: (value,) for name, value in explore.default_filters.items()}
    return compile_query(project, explore, view, fields, values, today, {}, fail)


def compile_query(
    project: Project,
    explore: Explore,
    view: View,
    fields: Sequence[Field],
    values: Mapping[str, Sequence[str]],
    today: date,
    element: Mapping[str, Any],
    fail: Fail,
) -> Compiled:
    """The SQL of `fields` of an explore with the filter `values`. Raises CompileError."""
    template = _Template(project, view, today)
    conditions: list[str] = []
    for name, texts in values.items():
        template.values[_resolved(view, name, fail).name] = texts
    for name, texts in values.items():
        conditions += _conditions(_resolved(view, name, fail), texts, template, fail)
    if explore.where:
        conditions.append(template.rendered(explore.where, explore.file, f"explore: {explore.name}"))
    kind = "derived_table" if view.base.startswith("(") else "sql_table_name"
    base = template.rendered(view.base, view.file, kind)
    selected = [f"{_selected(each, template)} as {each.alias}" for each in fields] or ["1 as nothing"]
    lines = [f"select {', '.join(selected)}", f"from {base} as {view.name}"]
    if conditions:
        lines.append("where " + "\n  and ".join(f"({condition})" for condition in conditions))
    grouped = [str(number) for number, each in enumerate(fields, 1) if each.kind == "dimension"]
    if grouped:
        lines.append(f"group by {', '.join(grouped)}")
    sorts = [_sort(str(sort), fields, fail) for sort in element.get("sorts", ())]
    if sorts:
        lines.append(f"order by {', '.join(sorts)}")
    lines.append(f"limit {int(element.get('limit', 500))}")
    return Compiled("\n".join(lines), tuple(each.alias for each in fields))


def _resolved(view: View, name: str, fail: Fail) -> Field:
    of, _, key = name.partition(".")
    if of != view.name or key not in view.fields:
        raise fail(f"{name}: no such field{did_you_mean(name, [f'{view.name}.{each}' for each in view.fields])}")
    return view.fields[key]


def _conditions(each: Field, texts: Sequence[str], template: "_Template", fail: Fail) -> list[str]:
    """The conditions a filter adds to the where clause. Filter fields and parameters are used in templates only."""
    if each.kind == "measure":
        raise fail(f"{each.view}.{each.name}: is a measure; only dimensions can be filtered")
    if each.kind == "parameter":
        allowed = [str(value.get("value")) for value in each.written.get("allowed_values", ())]
        for text in texts:
            if text not in allowed:
                raise fail(f"{each.view}.{each.name}: {text} is not one of {', '.join(allowed)}")
    if each.kind == "filter" and each.type == "date":
        template.days(each.name, fail)
    if each.kind != "dimension" or not texts:
        return []
    sql = template.of_field(each)
    if each.type == "yesno":
        return [sql if texts[0] == "Yes" else f"not coalesce({sql}, false)"]
    return [f"{sql} in ({', '.join(map(_quoted, texts))})"]


def _selected(each: Field, template: "_Template") -> str:
    if each.kind not in ("dimension", "measure"):
        raise CompileError("is a filter; it cannot be selected", template.view.file, f"{each.kind}: {each.name}")
    sql = template.of_field(each)
    match each.type:
        case "date_time":
            return f"format_timestamp('%F %T', {sql})"
        case "yesno":
            return f"case when {sql} then 'Yes' else 'No' end"
        case "max":
            return f"max({sql})"
        case _:
            return sql


def _sort(sort: str, fields: Sequence[Field], fail: Fail) -> str:
    name, *words = sort.split(" ")
    for each in fields:
        if name == f"{each.view}.{each.name}":
            return f"{each.alias}{' desc' if 'desc' in words else ''}"
    raise fail(f"sorts: {name} is not one of its fields")


@dataclass
class _Template:
    """Fills the Liquid templates, constants and references of one query."""

    project: Project
    view: View
    today: date
    values: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    def of_field(self, each: Field) -> str:
        return self.rendered(each.sql, self.view.file, f"{each.kind}: {each.name}")

    def rendered(self, text: str, file: str, place: str) -> str:
        """`text` as SQL. Raises CompileError on an unknown name or an unsupported template."""

        def fail(message: str) -> CompileError:
            return CompileError(message, file, place)

        def known(view: str, name: str, *kinds: str) -> Field:
            each = self.view.fields.get(name) if view == self.view.name else None
            if each is None or each.kind not in kinds:
                raise fail(f"{view}.{name}: no such {' or '.join(kinds)}{did_you_mean(name, self.view.fields)}")
            return each

        def branch(found: re.Match[str]) -> str:
            parts = _BRANCH.split(found[2])
            for test, body in zip([found[1], *parts[1::2]], parts[0::2], strict=True):
                if test is None:
                    return body
                comparison = _TEST.fullmatch(test)
                if comparison is None:
                    raise fail(f"{test}: not a comparison of a parameter's value")
                each = known(comparison[1], comparison[2], "parameter")
                if self._parameter(each) == comparison[3]:
                    return body
            return ""

        def condition(found: re.Match[str]) -> str:
            each = known(found[1], found[2], "filter", "dimension")
            texts = self.values.get(each.name, ())
            return f"({found[3].strip()} in ({', '.join(map(_quoted, texts))}))" if texts else "1=1"

        def bound(found: re.Match[str]) -> str:
            each = known(found[2], found[3], "filter", "dimension")
            days = self.days(each.name, fail)
            if days is None:
                return "null"
            day = days[0] if found[1] == "start" else days[1] + timedelta(days=1)
            return f"timestamp '{day.isoformat()} 00:00:00+00'"

        def constant(found: re.Match[str]) -> str:
            if found[1] not in self.project.constants:
                raise fail(f"@{{{found[1]}}}: no such constant{did_you_mean(found[1], self.project.constants)}")
            return self.project.constants[found[1]]

        def reference(found: re.Match[str]) -> str:
            if found[2] == "TABLE":
                return self.view.name
            return f"({self.of_field(known(found[1] or self.view.name, found[2], 'dimension', 'measure'))})"

        for pattern, fill in (
            (_IF, branch),
            (_CONDITION, condition),
            (_DATE, bound),
            (_CONSTANT, constant),
            (_REFERENCE, reference),
        ):
            text = pattern.sub(fill, text)
        left = re.search(r"\{%.*?(%\}|$)|\{\{|[@$]\{", text)
        if left:
            raise fail(f"{left[0]}: not in the generated subset of LookML, or not closed")
        return text

    def days(self, name: str, fail: Fail) -> tuple[date, date] | None:
        """The days that a date filter is set to."""
        texts = self.values.get(name, ())
        if not texts:
            return None
        found = _LAST_DAYS.fullmatch(texts[0])
        if found:
            return self.today - timedelta(days=int(found[1]) - 1), self.today
        try:
            first, last = (date.fromisoformat(text) for text in texts[0].split(" to "))
        except ValueError:
            raise fail(f"{name}: {texts[0]}: not a range of days such as “7 days”") from None
        return first, last

    def _parameter(self, each: Field) -> str:
        return str(next(iter(self.values.get(each.name, ())), each.written.get("default_value", "")))


def _as_days(days: tuple[date, date]) -> str:
    return f"{days[0].isoformat()} to {days[1].isoformat()}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
