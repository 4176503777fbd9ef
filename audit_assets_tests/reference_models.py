"""Builds the project's models over the same raw rows with Google's reference engine and with DuckDB."""

import graphlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from audit_assets.settings import read_settings
from audit_assets_tests.models.conftest import Models
from audit_assets_tests.reference_engine import ReferenceEngine, Rows, unlike
from tools import bigquery_gate

NOW = bigquery_gate.WINDOW["AI_AUDIT_BUILD_NOW"]
FORMS = ("full refresh", "incremental")
DAYS = bigquery_gate.WINDOW["AI_AUDIT_BUILD_DAYS"]
SOURCES = ("ai_audit_logs", "ai_audit_workspaces")

# `first_dense_day()`. BigQuery evaluates it once, the engine once per row.
ASKED_ONCE = re.compile(r"\(\s*select least\(date '[\d-]+', coalesce\(max\(date\), date '[\d-]+'\)\)\s*from `\w+`\s*\)")


@dataclass(frozen=True)
class Model:
    """A model compiled for BigQuery, as a full refresh and as an incremental build."""

    name: str
    sql: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]  # for tables that are merged by key; otherwise days are replaced
    dense: bool


@dataclass(frozen=True)
class Project:
    """The models in build order, and the columns of all tables."""

    models: tuple[Model, ...]
    tables: Mapping[str, tuple[tuple[str, str], ...]]


def compile_project(folder: Path) -> Project:
    """Compiles the project for BigQuery in `folder`, without network access."""
    bigquery_gate.load_analyzer_module(read_settings().home / "cache")
    forms = {form: bigquery_gate.compile_for_bigquery(form, folder) for form in FORMS}
    nodes = json.loads((folder / "target" / "manifest.json").read_text())["nodes"]
    nodes = {name: node for name, node in nodes.items() if node["resource_type"] == "model"}
    needs = {name: [other for other in node["depends_on"]["nodes"] if other in nodes] for name, node in nodes.items()}
    models: list[Model] = []
    for unique_id in graphlib.TopologicalSorter(needs).static_order():
        name, config = nodes[unique_id]["name"], nodes[unique_id]["config"]
        found = {
            form: next(each for each in compiled.statements if each.name == name and each.contract)
            for form, compiled in forms.items()
        }
        contract = next(iter(found.values())).contract
        assert contract is not None
        models.append(
            Model(
                name,
                {form: each.sql for form, each in found.items()},
                tuple(contract),
                tuple(config["unique_key"] or ()),
                bool(config["meta"].get("dense")),
            )
        )
    return Project(tuple(models), {name: tuple(columns) for name, columns in forms["incremental"].tables.items()})


class BothEngines:
    """The same raw rows in DuckDB and in the reference engine, and the chosen models built over them."""

    def __init__(self, project: Project, duckdb: Models, chosen: Callable[[str], bool]) -> None:
        self.models = [model for model in project.models if chosen(model.name)]
        self.duckdb = duckdb
        self.engine = ReferenceEngine(project.tables)

    def refresh(self) -> None:
        """Builds the models over all days."""
        self._hand_over()
        self.duckdb.run("run", "--full-refresh", "--select", *self._names(), now=NOW)
        for model in self.models:
            self.engine.put(model.name, self._yielded(model, "full refresh"))

    def build(self) -> None:
        """Builds the changed days."""
        self._hand_over()
        self.duckdb.run("run", "--select", *self._names(), days=DAYS, now=NOW)
        for model in self.models:
            held = self.rows(model.name)
            self.engine.put(model.name, _merged(model, held, self._yielded(model, "incremental")))

    def assert_alike(self) -> None:
        for model in self.models:
            names = [name for name, _ in model.columns]
            assert [row[0] for row in self.duckdb.query(f"describe {model.name}")] == names
            expected = self.duckdb.query(f"select {', '.join(names)} from {model.name}")
            assert expected, f"{model.name} is empty: nothing was compared"
            assert unlike(model.columns, self.rows(model.name), expected) == [], model.name

    def never_filled(self) -> list[str]:
        """The columns that are null in every row, so that the comparison has no effect."""
        return [
            f"{model.name}.{column}"
            for model in self.models
            for (column, _), values in zip(model.columns, zip(*self.rows(model.name), strict=True), strict=True)
            if not any(value is not None for value in values)
        ]

    def rows(self, table: str) -> Rows:
        return self.engine.query(f"select * from {table}").rows

    def _names(self) -> list[str]:
        return [model.name for model in self.models]

    def _hand_over(self) -> None:
        for source in SOURCES:
            columns = ", ".join(name for name, _ in self.engine.tables[source])
            self.engine.put(source, self.duckdb.query(f"select {columns} from {source}"))

    def _yielded(self, model: Model, form: str) -> Rows:
        found = self.engine.query(ASKED_ONCE.sub(self._asked_once, model.sql[form]))
        assert found.columns == model.columns, model.name
        return found.rows

    def _asked_once(self, found: re.Match[str]) -> str:
        ((day,),) = self.engine.query(f"select {found[0]}").rows
        return f"date '{day}'"


def _merged(model: Model, held: Rows, yielded: Rows) -> Rows:
    """The table after the build's MERGE, computed here because the engine does not support MERGE."""
    places = [name for name, _ in model.columns]
    if model.name.startswith("stg_"):
        return yielded
    if model.key:
        key = [places.index(name) for name in model.key]
        return list({tuple(row[place] for place in key): row for row in [*held, *yielded]}.values())
    day = places.index("date")
    days = [date.fromisoformat(text) for text in DAYS.split(",")]
    produced = {row[day] for row in yielded}

    def is_replaced(at: Any) -> bool:
        return at in produced or (at >= days[0] if model.dense else at in days)

    return [*(row for row in held if not is_replaced(row[day])), *yielded]
