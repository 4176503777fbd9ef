"""BigQuery's marts, executed by Google's reference engine over made rows, against DuckDB's, row by row."""

import graphlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_assets.settings import read_settings
from audit_assets_tests import bigquery_models
from audit_assets_tests.models.conftest import Models, Row
from audit_assets_tests.reference_engine import ReferenceEngine, Rows, unlike

NOW = bigquery_models.WINDOW["AI_AUDIT_BUILD_NOW"]
DAYS = bigquery_models.WINDOW["AI_AUDIT_BUILD_DAYS"]
SOURCES = ("ai_audit_logs", "ai_audit_workspaces")

# Built from the 15-minute steps: cumulative windows over them take time by their square, so that months are too much.
BY_STEP = (
    "ai_audit_capability_grid",
    "ai_audit_total_grid",
    "ai_audit_capability_outcomes",
    "ai_audit_total_outcomes",
)


@dataclass(frozen=True)
class Model:
    """A model as BigQuery has it, in the forms of a full refresh and of an incremental build."""

    name: str
    sql: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]  # of a table that is merged by key; else days are replaced
    dense: bool


@dataclass(frozen=True)
class Project:
    """The models in the order they are built in, and the columns of all tables."""

    models: tuple[Model, ...]
    tables: Mapping[str, tuple[tuple[str, str], ...]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    bigquery_models.load_analyzer_module(read_settings().home / "cache")
    folder = tmp_path_factory.mktemp("bigquery")
    forms = {form: bigquery_models.compile_for_bigquery(form, folder) for form in bigquery_models.FORMS}
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
    """The same raw rows in DuckDB and in the reference engine, and some of the models built over them."""

    def __init__(self, project: Project, duckdb: Models, chosen: Callable[[str], bool]) -> None:
        self.models = [model for model in project.models if chosen(model.name)]
        self.duckdb = duckdb
        self.engine = ReferenceEngine(project.tables)

    def refresh(self) -> None:
        """Build everything."""
        self._hand_over()
        self.duckdb.run("run", "--full-refresh", "--select", *self._names(), now=NOW)
        for model in self.models:
            self.engine.put(model.name, self._yielded(model, "full refresh"))

    def build(self) -> None:
        """Build the changed days."""
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

    def rows(self, table: str) -> Rows:
        return self.engine.query(f"select * from {table}").rows

    def _names(self) -> list[str]:
        return [model.name for model in self.models]

    def _hand_over(self) -> None:
        for source in SOURCES:
            columns = ", ".join(name for name, _ in self.engine.tables[source])
            self.engine.put(source, self.duckdb.query(f"select {columns} from {source}"))

    def _yielded(self, model: Model, form: str) -> Rows:
        found = self.engine.query(model.sql[form])
        assert found.columns == model.columns, model.name
        return found.rows


def _merged(model: Model, held: Rows, yielded: Rows) -> Rows:
    """What the build's MERGE leaves: the engine knows none, so that what it means is said here."""
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


STATUSES = (
    "success",
    "success",
    "success",
    " SUCCESS\t",
    "failed",
    "error",
    "pending",
    "processing",
    "weird",
    "",
    None,
)
DURATIONS = (
    "100", "100", "100", "250.5", " 7 ", "0", "-0", "-5", "1e3", ".5", "5.", "+5", "1e12", "1.1e12", "1e400", "1_000",
    "0x10", "NaN", "-inf", "infinity", "abc", "", " ", "12ms", "1,5", "１２", "9" * 40, None,
)  # fmt: skip
COUNTS = ("12", "12.0", "0", "-1", "1.5", "x", "", "1e2", "9007199254740993", None)
DOCUMENTS = (
    '["a", "b"]', "[]", "[1, [2, 3], {}]", "{}", "null", "[", '"a"', " [1] ", "[1e30]", '{"a":1,"a":2}', "", None,
)  # fmt: skip
WORKSPACES = ("w1", "w2", " w3 ", "w3", "w\u00e4", "", "\u00a0", None)
PROVIDERS = ("openai", "anthropic", " openai\n", "stub", "STUB", "", None)


def made(
    generator: random.Random, day: date, count: int, capability: str | None, drill: str | None = None
) -> Iterator[Row]:
    """Rows of one capability's day."""
    for n in range(count):
        at = f"{day} {generator.randrange(24):02}:{generator.randrange(60):02}:{generator.randrange(60):02}.{n % 7:06}+00"
        yield Row(
            id=f"{capability}-{drill}-{day}-{n}",
            created_at=at if str(day) < NOW[:10] else f"{day} 0{n % 10}:30:00+00",
            workflow_id=generator.choice(WORKSPACES),
            capability=capability,
            provider=generator.choice(PROVIDERS),
            status=generator.choice(STATUSES),
            error_flag=generator.choice((None, None, False, True)),
            duration_ms=generator.choice((*DURATIONS, str(generator.lognormvariate(7, 1)))),
            model=generator.choice((None, " gpt ", "")),
            model_parameters=generator.choice((None, '{"t": 1}')),
            completion_id=generator.choice((None, "c")),
            prompt_tokens=generator.choice(COUNTS),
            completion_tokens=generator.choice(COUNTS),
            source_documents=generator.choice(DOCUMENTS),
            snapshot_id=generator.choice((None, " s1")),
            drill_id=drill,
            prompt_length=generator.choice((None, 0, 40)),
        )


def days_from(first: str, last: str = "2026-11-05") -> Iterator[date]:
    at = date.fromisoformat(first)
    while at <= date.fromisoformat(last):
        yield at
        at += timedelta(days=1)


def rows_of_months() -> Iterator[Row]:
    """Eleven weeks: every day, on one weekday, with gaps, new, back after months, and one that spikes and drops."""
    generator = random.Random(1)
    for day in days_from("2026-08-20"):
        yield from made(generator, day, {"2026-11-02": 110, "2026-10-30": 1}.get(str(day), 4), "chat")
        if day.weekday() == 2:
            yield from made(generator, day, 5 + day.day % 3, "digest")
        yield from made(
            generator, day, generator.choice((0, 0, 1, 3)), generator.choice(("extract", " extract ", None))
        )
    for day in [*days_from("2026-06-01", "2026-06-03"), *days_from("2026-11-02", "2026-11-03")]:
        yield from made(generator, day, 2, "archive")
    for day in days_from("2026-10-28"):
        yield from made(generator, day, 3, "fresh")
        yield from made(generator, day, 2, "chat", drill="d1")


def rows_of_steps() -> Iterator[Row]:
    """Seventeen days with a clock change in them, so that each window of fourteen days is filled."""
    generator = random.Random(2)
    for day in days_from("2026-10-20"):
        yield from made(generator, day, 30 + generator.randrange(20), "chat")
    for day in days_from("2026-10-31"):
        yield from made(generator, day, 5, "extract")
    for day in days_from("2026-11-04"):
        yield from made(generator, day, 4, "chat", drill="d1")


def change_two_days(duckdb: Models) -> None:
    """Late rows on the first of the days to rebuild, and none left on the second."""
    generator = random.Random(3)
    duckdb.load([*made(generator, date(2026, 11, 1), 6, "chat"), *made(generator, date(2026, 11, 1), 2, "late")])
    duckdb.execute("delete from ai_audit_logs where cast(created_at as date) = '2026-11-03'")


@pytest.mark.requirement("R27", "R28")
@pytest.mark.parametrize("by_step", [False, True], ids=["facts over months", "steps over weeks"])
def test_a_mart_holds_the_same_rows_on_googles_engine_and_on_duckdb(project: Project, models: Models, by_step: bool):
    both = BothEngines(project, models, lambda name: name.startswith("stg_") or (name in BY_STEP) == by_step)
    models.load(list(rows_of_steps() if by_step else rows_of_months()))
    models.execute(
        "insert into ai_audit_workspaces (workspace_id, last_accessed_at) values"
        " ('w1', '2026-11-05 08:00+00'), (' w2', '2026-10-24 08:00+00'), ('w9', '2026-11-01 08:00+00'), ('w8', null)"
    )
    both.refresh()
    both.assert_alike()
    change_two_days(models)
    both.build()
    both.assert_alike()
