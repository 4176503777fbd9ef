"""Google's SQL analyzer, offline: whether BigQuery would take a statement, and what columns it yields.

It is a development dependency, PyPI's zetasql. Whoever imports this module without it gets an ImportError.
"""

import contextlib
import ctypes
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Columns = Sequence[tuple[str, str]]  # (column, type kind), in order

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
        import zetasql.types as types
        from zetasql.api import Analyzer, CatalogBuilder, TableBuilder

        language = types.LanguageOptions.maximum_features()
        language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
        catalog = CatalogBuilder("bigquery").with_builtin_functions(
            types.ZetaSQLBuiltinFunctionOptions(language_options=language)
        )
        for name, columns in tables.items():
            table = TableBuilder(name)
            for column, kind in columns:
                table.add_column(column, types.TypeKind[kind])
            catalog.add_table(table.build())
        options = types.AnalyzerOptions(
            language_options=language,
            default_timezone="UTC",
            error_message_mode=types.ErrorMessageMode.ERROR_MESSAGE_ONE_LINE,  # ends with [at line:column]
        )
        self._analyzer = Analyzer(options, catalog.build())

    def columns(self, sql: str) -> Columns:
        """What a statement yields; nothing where it is no query. Raises AnalyzerError."""
        from zetasql.core.exceptions import ZetaSQLError

        try:
            resolved = self._analyzer.analyze_statement(sql)
        except ZetaSQLError as error:
            raise AnalyzerError(str(error)) from None
        found = getattr(resolved, "output_column_list", None) or ()
        return tuple((column.name, column.column.type.type_kind.name) for column in found)


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
