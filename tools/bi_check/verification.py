"""Verifies the Looker and Metabase files offline: they load, every name in them resolves, and the SQL of every tile
passes Google's analyzer and runs on the embedded warehouse with the same columns."""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import duckdb
import sqlglot

from audit_assets.bi_export.files import drift_problems, generated_files
from audit_assets.bi_export.looker import CONNECTION, PROJECT
from audit_assets.bi_export.mart_types import empty_warehouse, known_tables
from audit_assets.bi_export.metabase import entity_id
from audit_assets.config.validation import Problem
from audit_assets.dashboards.definition.load import TABS
from audit_assets.dashboards.definition.model import Definition
from tools.analyzer import KINDS, AnalyzerError, BigQueryAnalyzer, load_analyzer_module
from tools.bi_check.lookml_compile import CompileError, DashboardSelection, compile_element, compile_fields
from tools.bi_check.lookml_project import Project, read_project
from tools.bi_check.metabase_export import (
    INSTALL,
    SubstitutionError,
    card_query,
    misnamed_columns,
    read_export,
    schema_problems,
    structure_problems,
    substitute,
    validator,
)

_TODAY = date(2026, 11, 28)  # arbitrary; the checks do not depend on it
_DAYS = (date(2026, 11, 1), date(2026, 11, 14))
_UNBOUND = "has no time range, so BigQuery would read the whole table; add a condition on its time"
_BOUND = re.compile(r"\b(date '|timestamp '|current_date\(|current_timestamp\()")


@dataclass(frozen=True)
class Report:
    """The result of the verification. `skipped` names the checks that did not run, with how to enable them."""

    statements: int
    problems: tuple[Problem, ...]
    skipped: tuple[str, ...]


@dataclass
class Engines:
    """Both engines with empty tables."""

    analyzer: BigQueryAnalyzer
    warehouse: duckdb.DuckDBPyConnection
    statements: int = 0
    found: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict[str, tuple[str, tuple[str, ...]]])

    def check(self, sql: str) -> tuple[str, tuple[str, ...]]:
        """The problem of a query, empty if it is valid, and its columns."""
        if sql not in self.found:
            self.found[sql] = self._run(sql)
        return self.found[sql]

    def _run(self, sql: str) -> tuple[str, tuple[str, ...]]:
        self.statements += 1
        try:
            columns = tuple(name for name, _ in self.analyzer.columns(sql))
        except AnalyzerError as error:
            return f"BigQuery would reject it: {error}", ()
        try:
            # Names and types are checked even though the tables are empty.
            rows = self.warehouse.sql(to_duckdb_sql(sql))
            duckdb_columns = tuple(rows.columns)
            rows.fetchall()
        except duckdb.Error as error:
            return f"the embedded warehouse rejects it: {str(error).splitlines()[0]}", columns
        if duckdb_columns != columns:
            return f"returns {', '.join(columns)} in BigQuery, but {', '.join(duckdb_columns)} in DuckDB", columns
        return ("" if _BOUND.search(sql) else _UNBOUND), columns


def check_bi_files(folder: Path, definition: Definition, cache: Path) -> Report:
    """Checks the Looker and Metabase files below `folder` against the definition and against both engines. The
    analyzer's compiled module is cached in `cache`."""
    drift = drift_problems(folder, generated_files(definition))
    with both_engines(cache) as engines:
        schema = [replace(each, file=f"metabase/{each.file}") for each in schema_problems(folder / "metabase")]
        problems = (*drift, *verify(folder, definition, engines), *schema)
        skipped = () if validator() else (f"Metabase schema: `{INSTALL}` installs its validator",)
        return Report(engines.statements, problems, skipped)


def verify(folder: Path, definition: Definition, engines: Engines) -> tuple[Problem, ...]:
    """The problems of the files themselves, whether or not they are up to date."""
    looker = (replace(each, file=f"looker/{each.file}") for each in _looker(folder / "looker", definition, engines))
    metabase = _metabase(folder / "metabase", definition, engines)
    return tuple(dict.fromkeys([*looker, *(replace(each, file=f"metabase/{each.file}") for each in metabase)]))


@contextmanager
def both_engines(cache: Path) -> Generator[Engines]:
    """Both engines with the tables that a dashboard may read."""
    tables = known_tables()
    load_analyzer_module(cache)
    typed = {
        f"{CONNECTION}.{name}": tuple((column, KINDS[types.bigquery]) for column, types in columns.items())
        for name, columns in tables.items()
    }
    with empty_warehouse(tables, PROJECT) as warehouse:
        yield Engines(BigQueryAnalyzer(typed), warehouse)


def _looker(folder: Path, definition: Definition, engines: Engines) -> Iterator[Problem]:
    project = read_project(folder)
    yield from project.problems
    broken = False
    for problem in _views(project, engines):
        broken = True
        yield problem
    elements = {
        str(element.get("name")): dashboard for dashboard in project.dashboards for element in dashboard.elements
    }
    for tile in _tiles(definition):
        if tile not in elements and not project.problems:
            yield Problem("dashboards", 1, tile, "no element shows this tile; run `audit dashboards generate`")
    for dashboard in project.dashboards:
        for name, given in dashboard.filters.items():
            target = str(given.get("field", ""))
            view, _, key = target.partition(".")
            if given.get("type") == "field_filter" and (
                view not in project.views or key not in project.views[view].fields
            ):
                yield project.problem(dashboard.file, f"name: {name}", f"field {target}: no such field")
        chosen = {name: ("a", "b'") for name, given in dashboard.filters.items() if given.get("type") == "field_filter"}
        for element in dashboard.elements:
            for selection in (DashboardSelection(_TODAY), DashboardSelection(_TODAY, _DAYS, chosen)):
                try:
                    sql = compile_element(project, dashboard, element, selection).sql
                except CompileError as error:
                    yield project.problem(error.file, error.place, str(error))
                    continue
                rejection, _ = engines.check(sql)
                if rejection and not broken:  # else the problem is reported at the view's own line
                    yield project.problem(dashboard.file, f"name: {element.get('name')}", rejection)


def _views(project: Project, engines: Engines) -> Iterator[Problem]:
    """Checks each explore with all its fields; if that fails, each field separately."""
    for explore in project.explores.values():
        if explore.name not in project.views:
            continue
        view = project.views[explore.name]
        fields = [each for each in view.fields.values() if each.kind in ("dimension", "measure")]
        try:
            rejection, _ = engines.check(compile_fields(project, explore, fields, _TODAY).sql)
        except CompileError as error:
            yield project.problem(error.file, error.place, str(error))
            continue
        if not rejection:
            continue
        # Checks the base query and the explore's own condition first, then single fields.
        of_rows, _ = engines.check(compile_fields(project, explore, [], _TODAY).sql)
        if of_rows:
            bare, _ = engines.check(compile_fields(project, replace(explore, where=""), [], _TODAY).sql)
            of_explore = view.base.startswith("`") and bare in ("", _UNBOUND)
            file, kind = (explore.file, "explore") if of_explore else (view.file, "view")
            yield project.problem(file, f"{kind}: {view.name}", of_rows)
            continue
        for each in fields:
            of_field, _ = engines.check(compile_fields(project, explore, [each], _TODAY).sql)
            if of_field:
                yield project.problem(view.file, f"{each.kind}: {each.name}", of_field)


def _metabase(folder: Path, definition: Definition, engines: Engines) -> Iterator[Problem]:
    export = read_export(folder)
    problems = structure_problems(export)
    yield from problems
    cards = {str(entity.get("entity_id")) for _, entity in export.of("Card")}
    for tile in _tiles(definition):
        if entity_id("card", tile) not in cards and not export.unread:
            yield Problem("collections", 1, tile, "no card shows this tile; run `audit dashboards generate`")
    for file, entity in export.of("Card"):
        try:
            sql = card_query(entity)
            every = {"from": _DAYS[0].isoformat(), "to": _DAYS[1].isoformat()}
            every |= {name: "a'" for name in re.findall(r"\{\{(\w+)\}\}", sql) if name not in every}
            selection = [substitute(sql, values) for values in ({}, every)]
        except (SubstitutionError, KeyError, IndexError) as error:
            yield export.problem(file, "native", str(error))
            continue
        for filled in selection:
            rejection, columns = engines.check(re.sub(r"\banalytics\.(\w+)", rf"`{CONNECTION}.\1`", filled))
            if rejection:
                yield export.problem(file, "native", rejection)
            elif columns:
                yield from misnamed_columns(export, file, entity, columns)


def _tiles(definition: Definition) -> Sequence[str]:
    return [tile.id for page, tile in definition.tiles if page.page in TABS]


def to_duckdb_sql(sql: str) -> str:
    """Translates a BigQuery statement to DuckDB's dialect."""
    translated = sqlglot.transpile(sql, read="bigquery", write="duckdb", unsupported_level=sqlglot.ErrorLevel.IGNORE)[0]
    # The translation loses `ignore nulls` in aggregates.
    ignoring = r"ARRAY_AGG(\1 ORDER BY \1) FILTER (WHERE NOT \1 IS NULL)"
    return re.sub(r"ARRAY_AGG\((\w+) ORDER BY \1(?: NULLS FIRST)?\)", ignoring, translated)
