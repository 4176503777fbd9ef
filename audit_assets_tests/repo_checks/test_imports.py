"""What modules may import beyond the layers that import-linter checks: the command line sends no SQL and runs nothing
itself, the product needs no development dependency, and neither benchmarks, tools nor make need the tests."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
CLI = PROJECT_ROOT / "audit_assets" / "cli"
DRIVERS = ("adbc_driver_postgresql", "dagster", "duckdb", "google", "psycopg2", "sqlalchemy")

_SQL = re.compile(r"\b(select\b.+\bfrom|insert into|update \w+ set|delete from)\b", re.DOTALL)
_SENDS = {"execute", "executemany", "fetch"}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that the code imports, at the top and inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def texts_in(tree: ast.AST) -> Iterator[str]:
    """The strings of the code. An f-string is one text, with `?` for each value."""
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [getattr(part, "value", None) if isinstance(part, ast.Constant) else "?" for part in parts]
        yield "".join(text for text in texts if isinstance(text, str))


def lower_layers_in(source: str) -> list[str]:
    """What the code of a command has to leave to a lower layer: drivers that it imports, and SQL that it sends."""
    tree = ast.parse(source)
    drivers = [module for module in imported(tree) if module.startswith(DRIVERS)]
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    sends = [f".{call.attr}()" for call in calls if isinstance(call, ast.Attribute) and call.attr in _SENDS]
    return [*drivers, *sends, *(text for text in texts_in(tree) if _SQL.search(text))]


@pytest.mark.parametrize("module", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_a_command_sends_no_sql_and_imports_neither_a_driver_nor_dagster(module: Path):
    assert lower_layers_in(module.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from sqlalchemy import select",
        "def show():\n    import duckdb",
        "import psycopg2.extras",
        "def build():\n    from dagster import DagsterInstance",
        "from dagster_slack import SlackResource",
        "session.fetch(FACTS)",
        "connection.execute(statement)",
        "read('select count(*) from analytics.ai_audit_daily')",
        "read(f'select {column} as value\\nfrom {table}')",
    ],
)
def test_what_belongs_to_a_lower_layer_is_found(source: str):
    assert lower_layers_in(source)


def distributions(requirements: list[str]) -> set[str]:
    """The names of the required distributions, in lower case."""
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}


def development_modules() -> set[str]:
    """The top-level modules that only the extra `dev` installs."""
    extras = PROJECT["optional-dependencies"]
    needed = distributions(
        [*PROJECT["dependencies"], *(one for name in extras if name != "dev" for one in extras[name])]
    )
    only_dev = distributions(extras["dev"]) - needed - {PROJECT["name"]}  # `dev` includes the other extras
    installed = packages_distributions()
    found = {module for module, names in installed.items() if {name.lower() for name in names} & only_dev}
    return {*found, "audit_assets_tests", "benchmarks", "tools"}


def imports_of(folder: str, wanted: set[str]) -> list[str]:
    """Module and import, for each module below `folder` that imports one of the `wanted` top-level modules."""
    return [
        f"{path.relative_to(PROJECT_ROOT)}: {module}"
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py"))
        for module in imported(ast.parse(path.read_text()))
        if module.split(".")[0] in wanted
    ]


def test_no_product_module_needs_a_development_dependency():
    assert {"zetasql", "lkml", "sqlglot", "pytest", "tools"} <= development_modules()
    assert imports_of("audit_assets", development_modules()) == []


def test_httpx_sends_every_request_of_the_product():
    """requests is imported only for the errors that Google's client lets through."""
    assert imports_of("audit_assets", {"httpx"})
    assert imports_of("audit_assets", {"requests"}) == [
        "audit_assets/warehouse/bigquery/errors.py: requests",
        "audit_assets/warehouse/bigquery/iam.py: requests",
    ]


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_benchmarks_and_tools_do_not_import_tests(folder: str):
    assert imports_of("audit_assets_tests", {"tools"}), "the tests use the tools, so imports are found"
    assert imports_of(folder, {"audit_assets_tests"}) == []


def test_no_make_target_runs_a_module_of_the_tests():
    started = re.findall(r"python -m ([\w.]+)", (PROJECT_ROOT / "Makefile").read_text())
    assert "benchmarks" in started
    assert [module for module in started if module.startswith("audit_assets_tests")] == []


def test_the_command_line_starts_without_the_libraries_that_take_seconds_to_import():
    heavy = ("dagster", "dash", "vizro", "dbt", "google.cloud.bigquery", "playwright", "alembic")
    script = f"import sys, audit_assets.cli.app; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
