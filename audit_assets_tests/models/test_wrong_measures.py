"""Mutation tests of marts: a wrong value in any measure must fail a test of the mart, one column at a time.

Columns come from the contracts and tests from dbt's manifest, so that a new column of a mart must have a test. The SQL
of the tests runs directly on the mutated table, without a dbt process for each.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.models.conftest import Models, Row

pytestmark = pytest.mark.requirement("R29", "R27")

FIRST = datetime(2026, 10, 14, 5, tzinfo=UTC)  # 22 days, including a clock change
NOW = datetime(2026, 11, 5, 12, 7, tzinfo=UTC)
MARTS = sorted(path.stem for path in (PROJECT_ROOT / "dbt/models/marts").glob("*.sql"))
# Key columns, which are not measures; the tests of grain and of days cover them.
KEYS = {"date", "capability", "provider", "workspace_id", "environment", "step_start", "bucket", "status"}

# Values that only the mart stores, so that a test cannot detect another plausible time.
REMEMBERED = {"ai_audit_capabilities.registered_at"}


@dataclass(frozen=True)
class Column:
    """A measure of a mart, from its contract."""

    table: str
    name: str
    kind: str
    siblings: tuple[str, ...]  # of the same type


@dataclass(frozen=True)
class Warehouse:
    """The built models, the measures of their contracts, and the SQL of the tests of each mart."""

    path: Path
    columns: tuple[Column, ...]
    tests: Mapping[str, Mapping[str, str]]


def calls() -> Iterator[Row]:
    """Two capabilities that are busy in the evening, on three providers, with every outcome and a drill."""
    generator = random.Random(29)
    number = 0
    step = FIRST
    while step < NOW:
        for capability, most in (("draft", 5), ("review", 3)):
            busy = most if step.hour > 12 or step.day == 3 else 2
            for _ in range(generator.randrange(busy)):
                number += 1
                at = min(step + timedelta(milliseconds=generator.randrange(900_000)), NOW - timedelta(seconds=1))
                yield Row(
                    str(number),
                    f"{at:%Y-%m-%d %H:%M:%S.%f}+00",
                    workflow_id=generator.choice(["w1", "w2", "w3", None]),
                    capability=capability,
                    provider=generator.choice(["openai", "anthropic", "openai", "stub"]),
                    status="banana" if number % 17 == 0 else generator.choice(["success"] * 3 + ["failed", None]),
                    error_flag=generator.choice([None, None, None, None, True]),
                    duration_ms=generator.choice(
                        [None, "soon", *(f"{generator.lognormvariate(6, 1):.2f}" for _ in range(4))]
                    ),
                    completion_id=f"c{number // 3}" if number % 19 else None,
                    prompt_tokens="many" if number % 5 == 0 else "12",
                    completion_tokens="many" if number % 7 == 0 else "12",
                    source_documents="[" if number % 11 == 0 else None,
                    drill_id="d" if generator.random() < 0.05 else None,
                )
        step += timedelta(minutes=15)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    models = Models(tmp_path_factory.mktemp("mutated"))
    models.clear()
    models.load(list(calls()))
    models.execute(
        """insert into ai_audit_workspaces (workspace_id, last_accessed_at)
        select 'w' || number, timestamptz '2026-11-04 08:00:00+00' from range(1, 6) as numbers (number)"""
    )
    now = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    models.rebuild(now=now)
    models.run("test", "--exclude-resource-type", "unit_test", days="2026-11-03,2026-11-04,2026-11-05", now=now)
    manifest = json.loads((models.folder / "target/manifest.json").read_text())
    nodes = manifest["nodes"].values()
    marts = {node["name"]: node for node in nodes if node["resource_type"] == "model" and node["name"] in MARTS}
    tests: dict[str, dict[str, str]] = {name: {} for name in marts}
    for test in (node for node in nodes if node["resource_type"] == "test"):
        for dependency in test["depends_on"]["nodes"]:
            if dependency.split(".")[-1] in tests:
                tests[dependency.split(".")[-1]][test["name"]] = _compiled(models.folder, test)
    return Warehouse(models.duckdb_path, tuple(_measures(marts)), tests)


def _compiled(folder: Path, test: Mapping[str, Any]) -> str:
    (path,) = (folder / "target/compiled").rglob(Path(test["path"]).name)
    return path.read_text()


def _measures(marts: Mapping[str, Mapping[str, Any]]) -> Iterator[Column]:
    for table, node in marts.items():
        kinds = {name: column["data_type"] for name, column in node["columns"].items()}
        for name, kind in kinds.items():
            if name not in KEYS:
                siblings = tuple(other for other in kinds if other != name and kinds[other] == kind)
                yield Column(table, name, kind, siblings)


CONSTANTS = {
    "bigint": "0",
    "double": "0",
    "boolean": "true",
    "varchar": "'spike'",
    "date": "date '2026-10-20'",
    "timestamptz": "timestamptz '2026-10-20 00:00:00+00'",
}
STEPS = {
    "bigint": "({} + 1)",
    "double": "({} * 1.01 + 0.001)",
    "boolean": "(not {})",
    "varchar": "({} || '.')",
    "date": "{} + 1",
    "timestamptz": "{} + interval 1 day",
}


def mutations(column: Column) -> Mapping[str, str]:
    """The SQL that replaces the column, by name: null, a constant, a slightly larger value, and each sibling."""
    found = {
        "null": f"cast(null as {column.kind})",
        "constant": CONSTANTS[column.kind],
        "off by one": STEPS[column.kind].format(column.name),
    }
    if f"{column.table}.{column.name}" in REMEMBERED:
        del found["constant"]
        return found
    return found | {f"{other} in its place": other for other in column.siblings if other not in KEYS}


def unguarded(warehouse: Warehouse, chosen: Sequence[tuple[Column, str, str]]) -> list[str]:
    """The mutations that no test of their mart detects. Mutations that change no row are ignored."""
    unseen: list[str] = []
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("set TimeZone = 'UTC'; set threads = 1")
        for column, name, replacement in chosen:
            table = f"analytics.{column.table}"
            connection.execute("begin")
            (count,) = connection.execute(
                f"select count(*) from {table} where {column.name} is distinct from {replacement}"
            ).fetchone() or (0,)
            connection.execute(f"update {table} set {column.name} = {replacement}")
            tests = sorted(warehouse.tests[column.table].items(), key=lambda test: not test[0].startswith(column.table))
            if count and not any(_fails(connection, sql) for _, sql in tests):
                unseen.append(f"{column.table}.{column.name}: {name}")
            connection.execute("rollback")
    return unseen


def _fails(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    return connection.execute(f"select 1 from ({sql}) as found limit 1").fetchone() is not None


def test_every_mart_is_among_those_that_are_mutated(warehouse: Warehouse):
    assert sorted({column.table for column in warehouse.columns}) == MARTS
    assert len(warehouse.columns) > 150


def test_the_tests_hold_on_the_marts_as_they_were_built(warehouse: Warehouse):
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        tests = {name: sql for of_mart in warehouse.tests.values() for name, sql in of_mart.items()}
        assert [name for name, sql in tests.items() if _fails(connection, sql)] == []


def test_a_measure_of_a_mart_that_is_wrong_fails_a_test(warehouse: Warehouse):
    """Tests one mutation per column, alternating the kinds."""
    chosen: list[tuple[Column, str, str]] = []
    for number, column in enumerate(warehouse.columns):
        kinds = list(mutations(column).items())
        name, replacement = kinds[number % len(kinds)]
        chosen.append((column, name, replacement))
    assert unguarded(warehouse, chosen) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_measure_of_a_mart_that_is_wrong_in_any_way_fails_a_test(warehouse: Warehouse):
    chosen = [(column, *kind) for column in warehouse.columns for kind in mutations(column).items()]
    assert len(chosen) > 1000
    assert unguarded(warehouse, chosen) == []
