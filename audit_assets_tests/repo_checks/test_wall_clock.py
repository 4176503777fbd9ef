"""Only the places listed here read the wall clock. Everywhere else `now` is passed as a value (decision 0037)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.repo_checks.test_promises import tracked

FOLDERS = ("audit_assets", "audit_assets_tests", "benchmarks", "dbt", "tools")

# Where the wall clock may be read, and why. A key is a file, or a function in it. A time limit is not a valid reason:
# it is measured by time.monotonic, which clock changes do not affect.
ALLOWED = {
    # The product.
    "audit_assets/clock.py::Clock.__call__": "the clock that is passed to everything else",
    "audit_assets/alerting/channels/http_client.py::HttpResponse.wait": "retry dates of providers without Date",
    "audit_assets/bi_export/looker.py": "Looker asks BigQuery long after the file was written",
    "audit_assets/bi_export/metabase.py": "Metabase asks BigQuery long after the file was written",
    "audit_assets/bi_export/tiles.py": "the open end of a filter, in files for Looker and Metabase",
    "audit_assets/defs/checks.py": "Dagster's records use the system clock",
    "audit_assets/defs/pipeline.py": "Dagster's records use the system clock",
    "audit_assets/ingest/source.py": "the source's clock, and the age of its open transactions and replayed rows",
    "audit_assets/rules/expression.py": "the functions that a rule's condition may not use",
    "audit_assets/demo/source_tables.py": "the column default in the application's schema",
    "audit_assets/demo/writing.py::live": "live rows are written as time passes, and each run adds different ones",
    "audit_assets/warehouse/bigquery/warehouse.py::_utc_now": "BigQuery expires staging tables by its own clock",
    "audit_assets/warehouse/duckdb/lock.py::exclusive": "the start time of a lock, shown to waiting processes",
    # Tests.
    "audit_assets_tests/access/golden.sql": "row policies compare with BigQuery's clock at query time",
    "audit_assets_tests/access/test_emulator.py": "row policies compare with BigQuery's clock at query time",
    "audit_assets_tests/alerting/test_pagerduty.py::self_signed": "TLS validates it by the system clock",
    "audit_assets_tests/benchmarks/test_small_runs.py": "compares rows with the transaction that wrote them",
    "audit_assets_tests/dashboards/test_metabase.py": "the SQL of a Metabase question",
    "tools/fakes": "a provider has a clock of its own",
    "audit_assets_tests/repo_checks/test_wall_clock.py": "examples for this check",
    "audit_assets_tests/ingest/test_clock_skew.py": "the reader's clock is compared with that of a real Postgres",
    "audit_assets_tests/ingest/test_lateness.py": "a row is dated by the start of a real transaction",
    "audit_assets_tests/ingest/test_replica.py": "a real standby lags behind its primary",
    "audit_assets_tests/ingest/test_source_waits.py": "waits for a real Postgres",
    "audit_assets_tests/ingest/writers.py": "rows are dated by the start of real transactions",
    "audit_assets_tests/rules/test_expression.py": "conditions that are rejected",
    "audit_assets_tests/rules/test_load.py": "a condition that is rejected",
    "audit_assets_tests/scenarios/test_demo_and_dev.py": "a live `audit dev`: sensors and schedules use real time",
    "audit_assets_tests/demo/test_writing.py": "live rows are not dated after the source's time",
    "audit_assets_tests/tools/test_suite_under_clock.py": "tests whether processes have the faked clock",
    # Benchmarks.
    "benchmarks/committing.py": "live rows, dated as they are committed",
    "benchmarks/freshness.py": "a live `audit dev`: sensors and schedules use real time",
    "benchmarks/machine.py::this_machine": "the time of a measurement",
    "benchmarks/paging.py": "a live `audit dev`: sensors and schedules use real time",
    "benchmarks/process.py::run": "compared with the times of Dagster's events",
    "benchmarks/source_rows.py::add_rows": "live rows, dated as they are committed",
    "benchmarks/watching.py": "live rows, dated as they are seen",
    # Tools.
    "tools/alerting_chaos.py::chaos": "leases of killed processes run out in real time",
    "tools/alerting_chaos.py::deliver_forever": "leases of killed processes run out in real time",
    "tools/bi_check/verification.py": "the expressions that mark the bounds in files for Looker and Metabase",
    "tools/pictures.py": "a live `audit dev`: sensors and schedules use real time",
    "tools/suite_under_clock.py::_real_now": "a clock is faked by its offset from the system clock",
    "tools/suite_under_clock.py::_check": "tests whether a process has the faked clock",
}

_PYTHON = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime"},
}
_SQL = re.compile(
    r"(?<![.\w])(now|getdate|clock_timestamp|statement_timestamp|transaction_timestamp|get_current_timestamp)\s*\(\s*\)"
    r"|(?<![.\w])(current_(timestamp|date|time|datetime)|localtime|localtimestamp)\b|\btime\.time\(\)",
    re.IGNORECASE,
)


def clock_reads(source: str) -> Iterator[tuple[int, str, str]]:
    """Yields line, function and expression of each read of the wall clock in Python code, including embedded SQL."""

    def visit(node: ast.AST, function: tuple[str, ...]) -> Iterator[tuple[int, str, str]]:
        inside = function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = (*function, node.name)
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if node.attr in _PYTHON.get(owner, ()):
                yield node.lineno, ".".join(inside), f"{owner}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            names = {alias.name for alias in node.names} & _PYTHON["time"]
            yield from ((node.lineno, ".".join(inside), f"from time import {name}") for name in sorted(names))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, ".".join(inside), found[0]) for found in _SQL.finditer(node.value))
        for child in ast.iter_child_nodes(node):
            is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if not is_text:  # a docstring
                yield from visit(child, inside)

    yield from visit(ast.parse(source), ())


def reads() -> Iterator[tuple[str, str, str]]:
    """Yields file, function and position of each read of the wall clock."""
    for path in tracked():
        name = str(path.relative_to(PROJECT_ROOT))
        if not name.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
            continue
        if path.suffix == ".py":
            for line, function, what in clock_reads(path.read_text()):
                yield name, function, f"{name}:{line}: {what}"
        elif path.suffix in (".sql", ".yml", ".yaml"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if found := _SQL.search(line.partition("--")[0]):
                    yield name, "", f"{name}:{number}: {found[0]}"


def allowance(name: str, function: str) -> str | None:
    """The key of ALLOWED that covers a function in a file."""
    folders = [str(folder) for folder in Path(name).parents]
    return next((key for key in (f"{name}::{function}", name, *folders) if key in ALLOWED), None)


def test_the_wall_clock_is_read_in_the_listed_places_only():
    refused = [place for name, function, place in reads() if allowance(name, function) is None]
    assert refused == [], (
        "pass `now` in (audit_assets.clock), measure a time limit by time.monotonic, or list the place"
    )


def test_every_listed_place_still_reads_the_wall_clock():
    needed = {allowance(name, function) for name, function, _ in reads()}
    assert [key for key in ALLOWED if key not in needed] == []


@pytest.mark.parametrize(
    "source",
    [
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "datetime.utcnow()",
        "date.today()",
        "time.time()",
        "time.time_ns()",
        "from time import monotonic, time",
        "field(default_factory=datetime.now)",
        "ask('select now() - interval 1 day')",
        "ask('select CURRENT_TIMESTAMP')",
        "ask(f'where {column} > now()')",
        "ask('select clock_timestamp()')",
        "run([python, '-c', 'import time; print(time.time())'])",
    ],
)
def test_a_read_of_the_wall_clock_is_found(source: str):
    assert list(clock_reads(source))


@pytest.mark.parametrize(
    "source",
    [
        "time.monotonic()",
        "now()",
        "self.now()",
        "clock.today()",
        "clock.now()",
        "page.evaluate('performance.now()')",
        "ask('{{ build_now() }}')",
        "def now():\n    'What now() is.'",
    ],
)
def test_a_passed_now_and_a_time_limit_are_no_reads_of_it(source: str):
    assert not list(clock_reads(source))
