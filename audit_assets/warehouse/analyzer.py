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
        return analyzed(sql, analyzer_options(parameters), self._catalog).columns

    def script(self, text: str, parameters: Mapping[str, str] | None = None) -> tuple[Columns, ...]:
        """What each statement of a script yields; nothing where it is no query. What one creates, alters, drops or
        declares is so for the ones after it, in this script only. Raises AnalyzerError."""
        from audit_assets.warehouse.analyzer_scripts import Script

        return Script(text, self._tables, parameters or {}).columns()


class Resolved:
    """What the analyzer makes of a statement or an action in it. It is read from the message itself: to unpack all of a
    message into zetasql's classes takes as long as the analysis."""

    def __init__(self, message: Any) -> None:
        # A message of any of several kinds holds the one it is of, and this again.
        while "node" in message.DESCRIPTOR.oneofs_by_name and message.WhichOneof("node"):
            message = getattr(message, message.WhichOneof("node"))
        self._message = message
        self.kind = type(message).__name__.removeprefix("Resolved").removesuffix("Proto")

    def __getattr__(self, name: str) -> Any:
        """A field of the kind or of those it derives from, an enumeration by name; None where none has it."""
        message = self._message
        while name not in message.DESCRIPTOR.fields_by_name:
            if "parent" not in message.DESCRIPTOR.fields_by_name:
                return None
            message = message.parent
        value, names = getattr(message, name), message.DESCRIPTOR.fields_by_name[name].enum_type
        return value if names is None else names.values_by_number[value].name

    @property
    def columns(self) -> Columns:
        """What it yields."""
        return tuple((column.name, type_name(column.column.type)) for column in self.output_column_list or ())


def analyzer_options(parameters: Mapping[str, str] | None = None, wanted: str | None = None) -> Any:
    """How BigQuery reads a statement (zetasql's message). `parameters` are its named ones with their types, `wanted`
    the type its only column is to have."""
    from zetasql.wasi._pb2.zetasql.proto.options_pb2 import AnalyzerOptionsProto
    from zetasql.wasi._pb2.zetasql.public.options_pb2 import ErrorMessageMode

    options = AnalyzerOptionsProto(
        language_options=_language(),
        default_timezone="UTC",
        error_message_mode=ErrorMessageMode.ERROR_MESSAGE_ONE_LINE,  # ends with [at line:column]
        target_column_types=[] if wanted is None else [type_of(wanted)],
    )
    for name, kind in (parameters or {}).items():
        options.query_parameters.add(name=name, type=type_of(kind))
    for name, kind in _SYSTEM_VARIABLES.items():
        options.system_variables.add(name_path=name.split("."), type=type_of(kind))
    return options


def catalog_of(tables: Mapping[str, Columns], variables: Mapping[str, str] | None = None) -> Any:
    """The tables, BigQuery's functions and a script's variables with their types (zetasql's message).

    A table `project.dataset.name` is found with or without one pair of backticks around its parts."""
    from zetasql.wasi._pb2.zetasql.proto.simple_catalog_pb2 import SimpleCatalogProto

    catalog = SimpleCatalogProto(name="bigquery")
    catalog.builtin_function_options.language_options.CopyFrom(_language())
    for name, columns in tables.items():
        *folders, last = name.split(".")
        for of, called in ((catalog, name), *([(_folder(catalog, folders), last)] if folders else [])):
            table = of.table.add(name=name, name_in_catalog=called)
            for column, kind in columns:
                table.column.add(name=column, type=type_of(kind), is_writable_column=True)
    for name, kind in (variables or {}).items():
        catalog.constant.add(name_path=[name], type=type_of(kind))
    return catalog


def _folder(catalog: Any, path: Sequence[str]) -> Any:
    for name in path:
        found = next((each for each in catalog.catalog if each.name == name), None)
        catalog = found if found is not None else catalog.catalog.add(name=name)
    return catalog


def type_name(of: Any) -> str:
    """A type (zetasql's message) as Columns name it."""
    return _words(of) if of.HasField("array_type") or of.HasField("struct_type") else _kind(of)


def _words(of: Any) -> str:
    if of.HasField("array_type"):
        return f"array<{_words(of.array_type.element_type)}>"
    if of.HasField("struct_type"):
        fields = (f"{field.field_name} {_words(field.field_type)}".strip() for field in of.struct_type.field)
        return f"struct<{', '.join(fields)}>"
    return "float64" if _kind(of) == "TYPE_DOUBLE" else _kind(of).removeprefix("TYPE_").lower()


def _kind(of: Any) -> str:
    from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeKind

    return TypeKind.Name(of.type_kind)


@functools.cache
def type_of(name: str) -> Any:
    """The type (zetasql's message) that Columns name so. Raises AnalyzerError where there is none."""
    from zetasql.wasi._pb2.zetasql.proto.options_pb2 import AnalyzerOptionsProto
    from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeKind, TypeProto

    if name in TypeKind.keys():  # noqa: SIM118
        return TypeProto(type_kind=name)
    options = AnalyzerOptionsProto(language_options=_language())
    return analyzed(f"select cast(null as {name})", options, catalog_of({})).output_column_list[0].column.type


@functools.cache
def _language() -> Any:
    import zetasql.types as types

    language = types.LanguageOptions.maximum_features()
    language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
    return language.to_proto()


def analyzed(sql: str, options: Any, catalog: Any) -> Resolved:
    """A statement, resolved. Raises AnalyzerError."""
    return Resolved(_answer(options, catalog, statement=sql).resolved_statement)


def type_of_expression(sql: str, options: Any, catalog: Any) -> str:
    """The type of an expression as Columns name it. Raises AnalyzerError."""
    return type_name(Resolved(_answer(options, catalog, expression=sql).resolved_expression).type)


def _answer(options: Any, catalog: Any, statement: str | None = None, expression: str | None = None) -> Any:
    from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import AnalyzeRequest, AnalyzeResponse

    request = AnalyzeRequest(
        options=options, simple_catalog=catalog, sql_statement=statement, sql_expression=expression
    )
    with _told():
        return _service().wasm_client.call_grpc_func("ZetaSqlLocalService_Analyze", request, AnalyzeResponse)


def parsed_script(text: str) -> Any:
    """The statements of a script, unresolved (zetasql's ASTStatementList). Raises AnalyzerError."""
    import zetasql.types as types

    with _told():
        language = types.parse_proto(_language())
        return (
            _service().parse(sql_statement=text, options=language, allow_script=True).parsed_script.statement_list_node
        )


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
