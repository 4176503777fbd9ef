"""The BigQuery gate: checks every model and test, compiled for BigQuery offline, with Google's analyzer.

    .venv/bin/python -m tools.bigquery_gate

Each query, and each script dbt would send to build a table, is analysed for a full refresh and for an incremental
build, against the documented columns of the sources and the contracts of the models. A model's columns and types must
match its contract. Every read of the raw table, directly or through staging, must bound created_at by literals: the
table requires it. A merge must replace literal days. Models with percentiles are also compiled with sketches.
"""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import sqlglot

from audit_assets.ingest.policy import Statuses
from audit_assets.settings import PROJECT_ROOT, read_settings
from tools.analyzer import KINDS, AnalyzerError, BigQueryAnalyzer, Columns, load_analyzer_module
from tools.emulator.shim.partitions import unbounded_reads

DBT_FOLDER = PROJECT_ROOT / "dbt"
FORMS = ("full refresh", "incremental", "sketches")
SKETCHED = ("ai_audit_daily", "ai_audit_capability_stats")
# The raw table has require_partition_filter, which also applies to reads through a view.
BOUNDED = {"ai_audit_logs": "created_at", "stg_ai_audit_logs": "created_at"}
# BigQuery prunes the partitions that a merge replaces only by literals.
REPLACED_DAYS = re.compile(
    r"not matched by source\s+and DBT_INTERNAL_DEST\.date (>= date '[\d-]{10}'|in \((date '[\d-]{10}'(, )?)+\))"
)
# The answer to the query for a dense table's last day.
LAST_LOADED_DAY = "2026-10-31"
# A build of two days that are not adjacent, so that the SQL has both bounds and days.
WINDOW = {
    "AI_AUDIT_BUILD_DAYS": "2026-11-01,2026-11-03",
    "AI_AUDIT_BUILD_NOW": "2026-11-05T12:00:00Z",
    **Statuses().environment(),
    "AI_AUDIT_BIGQUERY_PROJECT": "offline",
    "AI_AUDIT_BIGQUERY_DATASET": "analytics",
    # With an endpoint no Google credentials are needed; nothing is sent there.
    "AI_AUDIT_BIGQUERY_ENDPOINT": "http://127.0.0.1:1",
}
DATASET = "`offline`.`analytics`."


@dataclass(frozen=True)
class Statement:
    """One compiled query or statement of a script. `contract` is a model's columns, None for a test or a script."""

    form: str
    name: str
    sql: str
    contract: Columns | None


@dataclass(frozen=True)
class Compiled:
    """The result of one compilation: the queries, and the columns of each table they may use."""

    statements: tuple[Statement, ...]
    tables: dict[str, Columns]


class GateError(Exception):
    """The project does not compile for BigQuery, or documents a type BigQuery does not have."""


def compile_for_bigquery(form: str, folder: Path) -> Compiled:
    """The project compiled for BigQuery in `folder`, with no connection. Raises GateError with dbt's message."""
    _dbt("compile", form, folder, [], {})
    compiled = _read_manifest(json.loads((folder / "target" / "manifest.json").read_text()), form)
    scripts: list[str] = []
    if form != "sketches":
        _dbt("run", form, folder, scripts, compiled.tables)
    built = (statement for script in scripts for statement in _statements_of(script, form))
    return Compiled((*compiled.statements, *built), compiled.tables)


def _dbt(command: str, form: str, folder: Path, scripts: list[str], tables: dict[str, Columns]) -> None:
    from dbt.cli.main import dbtRunner

    arguments = [command, "--project-dir", str(DBT_FOLDER), "--profiles-dir", str(DBT_FOLDER)]
    arguments += ["--target", "bigquery", "--no-populate-cache", "--quiet"]
    arguments += ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
    if command == "compile":
        arguments.append("--no-introspect")
    if form == "full refresh":
        arguments.append("--full-refresh")
    if form == "sketches":
        arguments += ["--vars", "percentiles: sketch", "--select", *SKETCHED]
    # dbt prints the compiled SQL of single models even with --quiet.
    with (
        mock.patch.dict(os.environ, WINDOW),
        _offline_warehouse(scripts, tables),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        result = dbtRunner().invoke(arguments)
    if not result.success:
        raise GateError(f"dbt {command} ({form}): {result.exception or 'failed, see the messages above'}")


def _statements_of(script: str, form: str) -> Iterator[Statement]:
    """The statements of a script that builds one table, with the table instead of dbt's temporary one."""
    script = re.sub(r"__dbt_tmp\d+", "", script.replace(DATASET, ""))
    for part in re.split(r";[ \t]*(?:\n|$)", script):
        sql = part.strip()
        if not sql or sql.startswith("drop table "):
            continue
        target = re.search(r"(?:table|view|into|from) `(\w+)`", sql)
        yield Statement(form, f"{target[1] if target else 'script'}, as built", sql, None)


def _read_manifest(manifest: dict[str, dict[str, dict[str, object]]], form: str) -> Compiled:
    statements: list[Statement] = []
    tables: dict[str, Columns] = {}
    nodes = [*manifest["sources"].values(), *manifest["nodes"].values()]
    for node in nodes:
        name = str(node["name"])
        kind = node["resource_type"]
        columns = _documented_columns(name, node["columns"])  # type: ignore[arg-type]
        if kind in ("source", "model") and columns:
            tables[name] = columns
        if kind in ("model", "test") and (form != "sketches" or name in SKETCHED):
            sql = str(node["compiled_code"]).replace(DATASET, "")
            statements.append(Statement(form, name, sql, columns if kind == "model" else None))
    return Compiled(tuple(statements), tables)


def _documented_columns(table: str, columns: dict[str, dict[str, str]]) -> Columns:
    for column in columns.values():
        if column["data_type"] not in KINDS:
            raise GateError(f"{table}.{column['name']}: data_type {column['data_type']} is none of {', '.join(KINDS)}")
    return tuple((column["name"], KINDS[column["data_type"]]) for column in columns.values())


@contextlib.contextmanager
def _offline_warehouse(scripts: list[str], tables: dict[str, Columns]) -> Generator[None]:
    """Fakes a BigQuery in which every table exists, empty and with its contract's columns. Appends what is sent to
    `scripts`.

    It replaces only the network: dbt, its adapter and our macros decide which statements are sent.
    """
    import agate
    from dbt.adapters.bigquery.column import BigQueryColumn
    from dbt.adapters.bigquery.connections import BigQueryAdapterResponse
    from dbt.adapters.bigquery.impl import BigQueryAdapter
    from dbt.adapters.bigquery.relation import BigQueryRelation
    from dbt.adapters.contracts.relation import RelationType

    types = {kind: name for name, kind in KINDS.items()}

    def get_relation(_adapter: object, database: str, schema: str, identifier: str) -> BigQueryRelation:
        kind = RelationType.View if identifier.startswith("stg_") else RelationType.Table
        return BigQueryRelation.create(database=database, schema=schema, identifier=identifier, type=kind)

    def execute(_adapter: object, sql: str, *_: object, **__: object) -> tuple[BigQueryAdapterResponse, agate.Table]:
        scripts.append(sql)
        answer = agate.Table([[LAST_LOADED_DAY]], ["last_day"]) if "as last_day from" in sql else agate.Table([])
        return BigQueryAdapterResponse(_message="OK"), answer

    def get_columns(_adapter: object, relation: BigQueryRelation) -> list[BigQueryColumn]:
        name = str(relation.identifier).split("__dbt_tmp")[0]
        return [BigQueryColumn(column, types[kind]) for column, kind in tables[name]]

    def always(value: object) -> Callable[..., object]:
        def answer(*_: object, **__: object) -> object:
            return value

        return answer

    stand_ins: dict[str, object] = {
        "get_relation": get_relation,
        "execute": execute,
        "get_columns_in_relation": get_columns,
        "get_column_schema_from_query": always([]),  # contracts are compared by `problems_of`
        "list_relations_without_caching": always([]),
        "list_schemas": always([WINDOW["AI_AUDIT_BIGQUERY_DATASET"]]),
        "create_schema": always(None),
        "drop_relation": always(None),
        "is_replaceable": always(True),
        "expand_target_column_types": always(None),
    }
    with contextlib.ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(mock.patch.object(BigQueryAdapter, name, stand_in))
        yield


def problems_of(compiled: Compiled) -> list[str]:
    """One line per problem: statements that the analyzer refuses, models whose columns differ from their contract, and
    reads without a bound."""
    analyzer = BigQueryAnalyzer(compiled.tables)
    problems: list[str] = []
    for statement in compiled.statements:
        if "not matched by source" in statement.sql and not REPLACED_DAYS.search(statement.sql):
            problems.append(
                f"{statement.name} ({statement.form}): replaces days that are not literals, so all days are read"
            )
        problems += [
            f"{statement.name} ({statement.form}): reads {table} without a literal bound on {BOUNDED[table]}, "
            "which BigQuery refuses; use is_built_row, tested_days or every_row"
            for table in _unbounded(statement)
        ]
    for statement in compiled.statements:
        try:
            found = analyzer.columns(statement.sql)
        except AnalyzerError as error:
            problems.append(f"{statement.name} ({statement.form}): {error}")
            continue
        if statement.contract is None:
            continue
        problems += [
            f"{statement.name} ({statement.form}): yields {got or 'nothing'}, its contract says {declared or 'nothing'}"
            for got, declared in _pairs(found, statement.contract)
            if got != declared
        ]
    return problems


def _unbounded(statement: Statement) -> list[str]:
    if statement.name in BOUNDED and statement.contract is not None:
        return []  # the view's own query, which is not executed
    return [
        table
        for parsed in sqlglot.parse(statement.sql, read="bigquery")
        if parsed is not None
        for table in unbounded_reads(parsed, BOUNDED)
    ]


def _pairs(found: Columns, contract: Columns) -> Iterator[tuple[str, str]]:
    for index in range(max(len(found), len(contract))):
        yield (
            " ".join(found[index]) if index < len(found) else "",
            " ".join(contract[index]) if index < len(contract) else "",
        )


def check(cache: Path) -> tuple[int, list[str]]:
    """The number of statements analysed in all forms, and their problems."""
    load_analyzer_module(cache)
    count = 0
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="audit-bigquery-") as folder:
        for form in FORMS:
            compiled = compile_for_bigquery(form, Path(folder))
            count += len(compiled.statements)
            problems += problems_of(compiled)
    return count, problems


def main() -> int:
    try:
        count, problems = check(read_settings().home / "cache")
    except GateError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"BigQuery: {count} statements in {len(FORMS)} forms, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
