"""The BigQuery gate: every model and test, compiled for BigQuery without a network, passes Google's own analyzer.

    .venv/bin/python -m audit_assets_tests.bigquery_models

Each statement is analysed in the form of a full refresh and of an incremental build, against the documented columns of
the sources and the contracts of the models. A model's columns and types must be those of its contract.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from audit_assets.settings import PROJECT_ROOT, read_settings

DBT_FOLDER = PROJECT_ROOT / "dbt"
FORMS = ("full refresh", "incremental")
# A build of two days that are not neighbours, so that both bounds and days are in the SQL.
WINDOW = {
    "AI_AUDIT_BUILD_DAYS": "2026-11-01,2026-11-03",
    "AI_AUDIT_BUILD_NOW": "2026-11-05T12:00:00Z",
    "AI_AUDIT_BIGQUERY_PROJECT": "offline",
    "AI_AUDIT_BIGQUERY_DATASET": "analytics",
}
DATASET = "`offline`.`analytics`."
KINDS = {
    "string": "TYPE_STRING",
    "int64": "TYPE_INT64",
    "float64": "TYPE_DOUBLE",
    "timestamp": "TYPE_TIMESTAMP",
    "date": "TYPE_DATE",
    "boolean": "TYPE_BOOL",
}


@dataclass(frozen=True)
class Statement:
    """One compiled query. `contract` is (column, type kind) in order for a model, None for a test."""

    form: str
    name: str
    sql: str
    contract: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True)
class Compiled:
    """What one compilation yields: the queries, and the columns of each table they may name."""

    statements: tuple[Statement, ...]
    tables: dict[str, tuple[tuple[str, str], ...]]


class GateError(Exception):
    """The project does not compile for BigQuery, or documents a type BigQuery does not have."""


def compile_for_bigquery(form: str, folder: Path) -> Compiled:
    """The project compiled for BigQuery in `folder`, with no connection. Raises GateError with dbt's message."""
    from dbt.cli.main import dbtRunner

    arguments = ["compile", "--project-dir", str(DBT_FOLDER), "--profiles-dir", str(_offline_profile(folder))]
    arguments += ["--target", "bigquery", "--no-populate-cache", "--no-introspect", "--quiet"]
    arguments += ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
    if form == "full refresh":
        arguments.append("--full-refresh")
    with _environment(WINDOW), _tables_exist():
        result = dbtRunner().invoke(arguments)
    if not result.success:
        raise GateError(f"dbt compile ({form}): {result.exception or 'failed, see the messages above'}")
    manifest = json.loads((folder / "target" / "manifest.json").read_text())
    return _read_manifest(manifest, form)


def _read_manifest(manifest: dict[str, dict[str, dict[str, object]]], form: str) -> Compiled:
    statements: list[Statement] = []
    tables: dict[str, tuple[tuple[str, str], ...]] = {}
    nodes = [*manifest["sources"].values(), *manifest["nodes"].values()]
    for node in nodes:
        name = str(node["name"])
        kind = node["resource_type"]
        columns = _documented_columns(name, node["columns"])  # type: ignore[arg-type]
        if kind in ("source", "model") and columns:
            tables[name] = columns
        if kind in ("model", "test"):
            sql = str(node["compiled_code"]).replace(DATASET, "")
            statements.append(Statement(form, name, sql, columns if kind == "model" else None))
    return Compiled(tuple(statements), tables)


def _documented_columns(table: str, columns: dict[str, dict[str, str]]) -> tuple[tuple[str, str], ...]:
    for column in columns.values():
        if column["data_type"] not in KINDS:
            raise GateError(f"{table}.{column['name']}: data_type {column['data_type']} is none of {', '.join(KINDS)}")
    return tuple((column["name"], KINDS[column["data_type"]]) for column in columns.values())


def _offline_profile(folder: Path) -> Path:
    """The project's profile, with a token in place of the caller's Google credentials, which need not exist here."""
    profile = yaml.safe_load((DBT_FOLDER / "profiles.yml").read_text())
    profile["audit"]["outputs"]["bigquery"] |= {"method": "oauth-secrets", "token": "offline"}
    (folder / "profiles.yml").write_text(yaml.safe_dump(profile))
    return folder


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _tables_exist() -> Iterator[None]:
    """Every table is there, so that without --full-refresh the incremental form is compiled. Asks no network."""
    from dbt.adapters.bigquery import BigQueryAdapter, BigQueryRelation

    def get_relation(_adapter: object, database: str, schema: str, identifier: str) -> BigQueryRelation:
        return BigQueryRelation.create(database=database, schema=schema, identifier=identifier, type="table")

    before = BigQueryAdapter.get_relation
    BigQueryAdapter.get_relation = get_relation  # type: ignore[method-assign]
    try:
        yield
    finally:
        BigQueryAdapter.get_relation = before  # type: ignore[method-assign]


def load_analyzer_module(cache: Path) -> None:
    """Let zetasql take its compiled module from `cache`; compiling it takes half a minute, loading a tenth second."""
    import zetasql.core.wasm_client as client
    from wasmtime import Module, WasmtimeError
    from zetasql.wasi import get_wasm_path

    class CachedModule:
        @staticmethod
        def from_file(engine: object, _path: str) -> object:
            binary = Path(str(get_wasm_path()))
            key = hashlib.sha256(binary.read_bytes() + repr(sys.version_info[:2]).encode()).hexdigest()[:16]
            compiled = cache / f"zetasql-{key}.module"
            if compiled.exists():
                # One compiled by another wasmtime is refused: then it is compiled again.
                with contextlib.suppress(WasmtimeError):
                    return Module.deserialize_file(engine, str(compiled))
            module = Module.from_file(engine, str(binary))
            cache.mkdir(parents=True, exist_ok=True)
            part = compiled.with_suffix(f".{os.getpid()}")
            part.write_bytes(module.serialize())
            part.replace(compiled)
            return module

    client.Module = CachedModule


def problems_of(compiled: Compiled) -> list[str]:
    """What the analyzer refuses, and where a model's columns are not its contract's. One line each."""
    import zetasql.types as types
    from zetasql.api import Analyzer, CatalogBuilder, TableBuilder
    from zetasql.core.exceptions import ZetaSQLError

    language = types.LanguageOptions.maximum_features()
    language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
    catalog = CatalogBuilder("bigquery").with_builtin_functions(
        types.ZetaSQLBuiltinFunctionOptions(language_options=language)
    )
    for name, columns in compiled.tables.items():
        table = TableBuilder(name)
        for column, kind in columns:
            table.add_column(column, types.TypeKind[kind])
        catalog.add_table(table.build())
    analyzer = Analyzer(types.AnalyzerOptions(language_options=language, default_timezone="UTC"), catalog.build())

    problems: list[str] = []
    for statement in compiled.statements:
        try:
            resolved = analyzer.analyze_statement(statement.sql)
        except ZetaSQLError as error:
            problems.append(f"{statement.name} ({statement.form}): {error}")
            continue
        found = tuple((column.name, column.column.type.type_kind.name) for column in resolved.output_column_list)
        if statement.contract is not None and found != statement.contract:
            problems += [
                f"{statement.name} ({statement.form}): yields {got or 'nothing'}, its contract says {said or 'nothing'}"
                for got, said in _pairs(found, statement.contract)
                if got != said
            ]
    return problems


def _pairs(found: tuple[tuple[str, str], ...], contract: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    for index in range(max(len(found), len(contract))):
        yield (
            " ".join(found[index]) if index < len(found) else "",
            " ".join(contract[index]) if index < len(contract) else "",
        )


def check(cache: Path) -> tuple[int, list[str]]:
    """How many statements were analysed in both forms, and what is wrong with them."""
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
