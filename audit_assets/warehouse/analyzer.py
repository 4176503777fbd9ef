"""Google's SQL analyzer, offline: whether BigQuery would take a statement, and what columns it yields.

It is a development dependency, PyPI's zetasql. Whoever imports this module without it gets an ImportError.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# (column, type), in order. A type is named by its kind, TYPE_DATE; an array or a struct in BigQuery's words, array<date>.
Columns = Sequence[tuple[str, str]]

KINDS = {
    "string": "TYPE_STRING",
    "int64": "TYPE_INT64",
    "float64": "TYPE_DOUBLE",
    "timestamp": "TYPE_TIMESTAMP",
    "date": "TYPE_DATE",
    "boolean": "TYPE_BOOL",
}


class AnalyzerError(Exception):
    """A statement that BigQuery would not take. The message ends with [at line:column]."""


class BigQueryAnalyzer:
    """Analyses statements against tables of the given columns."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self._options, self._catalog = analyzer_options(), catalog_of(tables)

    def columns(self, sql: str) -> Columns:
        """What a statement yields; nothing where it is no query. Raises AnalyzerError."""
        found = getattr(_analyzed(sql, self._options, self._catalog), "output_column_list", None) or ()
        return tuple((column.name, type_name(column.column.type)) for column in found)


def analyzer_options(parameters: Mapping[str, str] | None = None) -> Any:
    """How BigQuery reads a statement (zetasql's AnalyzerOptions). `parameters` are its named ones with their types, in
    BigQuery's words."""
    import zetasql.types as types

    return types.AnalyzerOptions(
        language_options=_language(),
        default_timezone="UTC",
        error_message_mode=types.ErrorMessageMode.ERROR_MESSAGE_ONE_LINE,  # ends with [at line:column]
        query_parameters=[
            types.AnalyzerOptions.QueryParameter(name=name, type=_type_of(kind))
            for name, kind in (parameters or {}).items()
        ],
    )


def catalog_of(tables: Mapping[str, Columns]) -> Any:
    """The tables and BigQuery's functions (zetasql's SimpleCatalog)."""
    import zetasql.types as types
    from zetasql.api import CatalogBuilder, TableBuilder

    catalog = CatalogBuilder("bigquery").with_builtin_functions(
        types.ZetaSQLBuiltinFunctionOptions(language_options=_language())
    )
    for name, columns in tables.items():
        table = TableBuilder(name)
        for column, kind in columns:
            table.add_column(column, _type_of(kind))
        catalog.add_table(table.build())
    return catalog.build()


def type_name(of: Any) -> str:
    """A type (zetasql's) as Columns name it."""
    return _words(of) if of.array_type or of.struct_type else of.type_kind.name


def _words(of: Any) -> str:
    if of.array_type:
        return f"array<{_words(of.array_type.element_type)}>"
    if of.struct_type:
        fields = (f"{field.field_name} {_words(field.field_type)}".strip() for field in of.struct_type.field)
        return f"struct<{', '.join(fields)}>"
    name = of.type_kind.name.removeprefix("TYPE_").lower()
    return {"double": "float64"}.get(name, name)


@functools.cache
def _type_of(name: str) -> Any:
    """The type (zetasql's) that Columns name so. Raises AnalyzerError where there is none."""
    import zetasql.types as types

    if name in types.TypeKind.__members__:
        return types.Type(type_kind=types.TypeKind[name])
    return (
        _analyzed(f"select cast(null as {name})", analyzer_options(), catalog_of({})).output_column_list[0].column.type
    )


@functools.cache
def _language() -> Any:
    import zetasql.types as types

    language = types.LanguageOptions.maximum_features()
    language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
    return language


def _analyzed(sql: str, options: Any, catalog: Any) -> Any:
    from zetasql.core import ZetaSqlLocalService
    from zetasql.core.exceptions import ZetaSQLError

    try:
        return (
            ZetaSqlLocalService.get_instance()
            .analyze(sql_statement=sql, options=options, simple_catalog=catalog)
            .resolved_statement
        )
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
