"""Google's SQL analyzer, offline: whether BigQuery would take a statement, and what columns it yields.

It is a development dependency, PyPI's zetasql. Whoever imports this module without it gets an ImportError.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# (column, type), in order. A type is named by its kind, TYPE_DATE; an array or a struct as BigQuery writes it,
# array<date>.
Columns = Sequence[tuple[str, str]]

KINDS = {
    "string": "TYPE_STRING",
    "int64": "TYPE_INT64",
    "float64": "TYPE_DOUBLE",
    "timestamp": "TYPE_TIMESTAMP",
    "date": "TYPE_DATE",
    "boolean": "TYPE_BOOL",
}


# Those of BigQuery's @@variables that a script of ours may name.
_SYSTEM_VARIABLES = {
    "error.message": "TYPE_STRING",
    "project_id": "TYPE_STRING",
    "row_count": "TYPE_INT64",
    "script.job_id": "TYPE_STRING",
}


class AnalyzerError(Exception):
    """A statement that BigQuery would not take. The message ends with [at line:column]."""


class BigQueryAnalyzer:
    """Analyses statements against tables of the given columns."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self._tables = dict(tables)
        self._catalog = catalog_of(tables)

    def columns(self, sql: str, parameters: Mapping[str, str] | None = None) -> Columns:
        """What a statement yields; nothing where it is no query. `parameters` are its named ones with their types, as
        BigQuery writes them. Raises AnalyzerError."""
        return columns_of(analyzed(sql, analyzer_options(parameters), self._catalog))

    def script(self, text: str, parameters: Mapping[str, str] | None = None) -> tuple[Columns, ...]:
        """What each statement of a script yields; nothing where it is no query. What one creates, alters, drops or
        declares is so for the ones after it, in this script only. Raises AnalyzerError."""
        from audit_assets.warehouse.analyzer_scripts import Script

        return Script(text, self._tables, parameters or {}).columns()


def analyzer_options(parameters: Mapping[str, str] | None = None) -> Any:
    """How BigQuery reads a statement (zetasql's AnalyzerOptions). `parameters` are its named ones with their types, in
    BigQuery's words."""
    import zetasql.types as types

    return types.AnalyzerOptions(
        language_options=_language(),
        default_timezone="UTC",
        error_message_mode=types.ErrorMessageMode.ERROR_MESSAGE_ONE_LINE,  # ends with [at line:column]
        query_parameters=[
            types.AnalyzerOptions.QueryParameter(name=name, type=type_of(kind))
            for name, kind in (parameters or {}).items()
        ],
        system_variables=[
            types.AnalyzerOptions.SystemVariable(name_path=name.split("."), type=type_of(kind))
            for name, kind in _SYSTEM_VARIABLES.items()
        ],
    )


def catalog_of(tables: Mapping[str, Columns], variables: Mapping[str, str] | None = None) -> Any:
    """The tables, BigQuery's functions and a script's variables with their types (zetasql's SimpleCatalog).

    A table `project.dataset.name` is found with or without one pair of backticks around its parts."""
    import zetasql.types as types
    from zetasql.api import CatalogBuilder, TableBuilder

    built = (
        CatalogBuilder("bigquery")
        .with_builtin_functions(types.ZetaSQLBuiltinFunctionOptions(language_options=_language()))
        .build()
    )
    for name, columns in tables.items():
        table = TableBuilder(name)
        for column, kind in columns:
            table.add_column(column, type_of(kind))
        built.table.append(table.build())
        *folders, last = name.split(".")
        if folders:
            _folder(built, folders).table.append(replace(table.build(), name_in_catalog=last))
    built.constant = [
        types.SimpleConstant(name_path=[name], type=type_of(kind)) for name, kind in (variables or {}).items()
    ]
    return built


def _folder(catalog: Any, path: Sequence[str]) -> Any:
    import zetasql.types as types

    for name in path:
        found = next((each for each in catalog.catalog if each.name == name), None)
        if found is None:
            found = types.SimpleCatalog(name=name)
            catalog.catalog.append(found)
        catalog = found
    return catalog


def columns_of(resolved: Any) -> Columns:
    """What a resolved statement (zetasql's) yields."""
    found = getattr(resolved, "output_column_list", None) or ()
    return tuple((column.name, type_name(column.column.type)) for column in found)


def type_name(of: Any) -> str:
    """A type (zetasql's) as Columns name it."""
    kind: str = of.type_kind.name
    return _words(of) if of.array_type or of.struct_type else kind


def _words(of: Any) -> str:
    if of.array_type:
        return f"array<{_words(of.array_type.element_type)}>"
    if of.struct_type:
        fields = (f"{field.field_name} {_words(field.field_type)}".strip() for field in of.struct_type.field)
        return f"struct<{', '.join(fields)}>"
    name: str = of.type_kind.name
    return "float64" if name == "TYPE_DOUBLE" else name.removeprefix("TYPE_").lower()


@functools.cache
def type_of(name: str) -> Any:
    """The type (zetasql's) that Columns name so. Raises AnalyzerError where there is none."""
    import zetasql.types as types

    if name in types.TypeKind.__members__:
        return types.Type(type_kind=types.TypeKind[name])
    options = types.AnalyzerOptions(language_options=_language())
    return analyzed(f"select cast(null as {name})", options, catalog_of({})).output_column_list[0].column.type


@functools.cache
def _language() -> Any:
    import zetasql.types as types

    language = types.LanguageOptions.maximum_features()
    language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
    return language


def analyzed(sql: str, options: Any, catalog: Any) -> Any:
    """The resolved statement (zetasql's). Raises AnalyzerError."""
    with _told():
        return _service().analyze(sql_statement=sql, options=options, simple_catalog=catalog).resolved_statement


def analyzed_expression(sql: str, options: Any, catalog: Any) -> Any:
    """The resolved expression (zetasql's). Raises AnalyzerError."""
    with _told():
        return _service().analyze(sql_expression=sql, options=options, simple_catalog=catalog).resolved_expression


def parsed_script(text: str) -> Any:
    """The statements of a script, unresolved (zetasql's ASTStatementList). Raises AnalyzerError."""
    with _told():
        parsed = _service().parse(sql_statement=text, options=_language(), allow_script=True)
    return parsed.parsed_script.statement_list_node


def _service() -> Any:
    from zetasql.core import ZetaSqlLocalService

    return ZetaSqlLocalService.get_instance()


@contextlib.contextmanager
def _told() -> Generator[None]:
    from zetasql.core.exceptions import ZetaSQLError

    try:
        yield
    except ZetaSQLError as error:
        raise AnalyzerError(str(error)) from None


def load_analyzer_module(cache: Path) -> None:
    """Let zetasql take its compiled module from `cache`; compiling it takes half a minute, loading a tenth second."""
    import zetasql.core.wasm_client as client
    from wasmtime import Module, WasmtimeError
    from zetasql.core.wasm_client import WasmClient
    from zetasql.wasi import get_wasm_path

    class CachedModule:
        @staticmethod
        def from_file(engine: Any, _path: str) -> Module:
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

    def address(of: Any, at: int) -> int:
        return ctypes.addressof(of.memory.data_ptr().contents) + at

    # zetasql copies messages byte by byte in Python; this is the same in one call.
    patched: Any = WasmClient
    patched.write_bytes = lambda self, at, data: ctypes.memmove(address(self, at), data, len(data))
    patched.read_bytes = lambda self, at, size: ctypes.string_at(address(self, at), size)
    patched = client
    patched.Module = CachedModule
