"""Google's SQL analyzer, offline: checks whether BigQuery accepts a statement, and returns its columns.

zetasql is imported inside functions: it starts a WebAssembly module that `load_analyzer_module` caches first.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# (column, type), in order. A type is named by its kind, such as TYPE_DATE; an array or a struct as BigQuery writes it,
# such as array<date>.
Columns = Sequence[tuple[str, str]]

KINDS = {
    "string": "TYPE_STRING",
    "int64": "TYPE_INT64",
    "float64": "TYPE_DOUBLE",
    "timestamp": "TYPE_TIMESTAMP",
    "date": "TYPE_DATE",
    "boolean": "TYPE_BOOL",
}


# The BigQuery @@variables that our scripts may use.
_SYSTEM_VARIABLES = {
    "error.message": "TYPE_STRING",
    "project_id": "TYPE_STRING",
    "row_count": "TYPE_INT64",
    "script.job_id": "TYPE_STRING",
}


class AnalyzerError(Exception):
    """A statement that BigQuery would refuse. The message ends with [at line:column]."""


class BigQueryAnalyzer:
    """Analyses statements against tables with the given columns."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self._tables = dict(tables)
        self._catalog = catalog_of(tables)

    def columns(self, sql: str, parameters: Mapping[str, str] | None = None) -> Columns:
        """The columns a statement returns; none if it is not a query. `parameters` maps its named parameters to their
        BigQuery types. Raises AnalyzerError."""
        return analyzed(sql, analyzer_options(parameters), self._catalog).columns

    def script(self, text: str, parameters: Mapping[str, str] | None = None) -> tuple[Columns, ...]:
        """The columns of each statement of a script; none if it is not a query. What a statement creates, alters, drops
        or declares applies to the statements after it, in this script only. Raises AnalyzerError."""
        return Script(text, self._tables, parameters or {}).columns()


class Resolved:
    """A resolved statement, or an action in it. It is read from the protobuf message itself: unpacking the message into
    zetasql's classes takes as long as the analysis."""

    def __init__(self, message: Any) -> None:
        # A message that may have several kinds contains the message of its kind, which is nested in the same way.
        while "node" in message.DESCRIPTOR.oneofs_by_name and message.WhichOneof("node"):
            message = getattr(message, message.WhichOneof("node"))
        self._message = message
        self.kind = type(message).__name__.removeprefix("Resolved").removesuffix("Proto")

    def __getattr__(self, name: str) -> Any:
        """A field of the kind or of its parents, with enumerations by name; None if there is no such field."""
        message = self._message
        while name not in message.DESCRIPTOR.fields_by_name:
            if "parent" not in message.DESCRIPTOR.fields_by_name:
                return None
            message = message.parent
        value, names = getattr(message, name), message.DESCRIPTOR.fields_by_name[name].enum_type
        return value if names is None else names.values_by_number[value].name

    @property
    def columns(self) -> Columns:
        """The columns it returns."""
        return tuple((column.name, type_name(column.column.type)) for column in self.output_column_list or ())


def analyzer_options(parameters: Mapping[str, str] | None = None, wanted: str | None = None) -> Any:
    """The analyzer's options for BigQuery (a zetasql message). `parameters` maps named parameters to their types,
    `wanted` is the expected type of the statement's only column."""
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
    """The tables, BigQuery's functions and a script's variables with their types (a zetasql message).

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
    """The name of a type (a zetasql message), as in Columns."""
    return _type_text(of) if of.HasField("array_type") or of.HasField("struct_type") else _kind(of)


def _type_text(of: Any) -> str:
    if of.HasField("array_type"):
        return f"array<{_type_text(of.array_type.element_type)}>"
    if of.HasField("struct_type"):
        fields = (f"{field.field_name} {_type_text(field.field_type)}".strip() for field in of.struct_type.field)
        return f"struct<{', '.join(fields)}>"
    return "float64" if _kind(of) == "TYPE_DOUBLE" else _kind(of).removeprefix("TYPE_").lower()


def _kind(of: Any) -> str:
    from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeKind

    return TypeKind.Name(of.type_kind)


@functools.cache
def type_of(name: str) -> Any:
    """The type (a zetasql message) for a name in Columns. Raises AnalyzerError if there is none."""
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
    """The resolved statement. Raises AnalyzerError."""
    return Resolved(_call(options, catalog, statement=sql).resolved_statement)


def type_of_expression(sql: str, options: Any, catalog: Any) -> str:
    """The name of an expression's type, as in Columns. Raises AnalyzerError."""
    return type_name(Resolved(_call(options, catalog, expression=sql).resolved_expression).type)


def _call(options: Any, catalog: Any, statement: str | None = None, expression: str | None = None) -> Any:
    from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import AnalyzeRequest, AnalyzeResponse

    request = AnalyzeRequest(
        options=options, simple_catalog=catalog, sql_statement=statement, sql_expression=expression
    )
    with _analyzer_errors():
        return _service().wasm_client.call_grpc_func("ZetaSqlLocalService_Analyze", request, AnalyzeResponse)


def parsed_script(text: str) -> Any:
    """The statements of a script, unresolved (zetasql's ASTStatementList). Raises AnalyzerError."""
    import zetasql.types as types

    with _analyzer_errors():
        language = types.parse_proto(_language())
        return (
            _service().parse(sql_statement=text, options=language, allow_script=True).parsed_script.statement_list_node
        )


def _service() -> Any:
    from zetasql.core import ZetaSqlLocalService

    return ZetaSqlLocalService.get_instance()


@contextlib.contextmanager
def _analyzer_errors() -> Generator[None]:
    from zetasql.core.exceptions import ZetaSQLError

    try:
        yield
    except ZetaSQLError as error:
        raise AnalyzerError(str(error)) from None


def load_analyzer_module(cache: Path) -> None:
    """Makes zetasql load its compiled module from `cache`: compiling takes 30 s, loading 0.1 s."""
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
                # A module compiled by another wasmtime is refused, and compiled again.
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

    # zetasql copies messages byte by byte in Python; these do the same in one call.
    def write_bytes(self: Any, at: int, data: bytes) -> None:
        ctypes.memmove(address(self, at), data, len(data))

    def read_bytes(self: Any, at: int, size: int) -> bytes:
        return ctypes.string_at(address(self, at), size)

    patched: Any = WasmClient
    patched.write_bytes, patched.read_bytes = write_bytes, read_bytes
    patched = client
    patched.Module = CachedModule


_DDL = ("Create", "Drop", "Alter", "Grant", "Revoke")


class Script:
    """One script, analysed against tables with the given columns and named parameters with the given types."""

    def __init__(self, text: str, tables: Mapping[str, Columns], parameters: Mapping[str, str]) -> None:
        self._bytes = text.encode()
        self._tables = dict(tables)
        self._variables: dict[str, str] = {}
        self._temporary: set[str] = set()
        self._in_transaction = False
        self._parameters = parameters
        self._options = analyzer_options(parameters)

    def columns(self) -> tuple[Columns, ...]:
        """The columns of each statement in order, none if it returns no rows. Raises AnalyzerError."""
        found = tuple(self._block(parsed_script(self._bytes.decode())))
        if self._in_transaction:
            raise AnalyzerError("The script ends inside its transaction, and BigQuery would roll it back")
        return found

    def _block(self, statements: Any) -> Iterator[Columns]:
        declaring = True
        for node in statements.statement_list if statements else ():
            is_declaration = _node_kind(node) == "ASTVariableDeclaration"
            if is_declaration and not declaring:
                raise self._error(node, "Variable declarations stand at the start of a script or block")
            declaring = declaring and is_declaration
            yield from self._statement(node)

    def _statement(self, node: Any) -> Iterator[Columns]:
        match _node_kind(node):
            case "ASTVariableDeclaration":
                self._declare(node)
            case "ASTSingleAssignment":
                name = node.variable.id_string.lower()
                if name not in self._variables:
                    raise self._error(node, f"Undeclared variable: {name}")
                self._expression(node.expression, self._variables[name])
            case "ASTRaiseStatement":
                if node.message is not None:
                    self._expression(node.message, "TYPE_STRING")
            case "ASTReturnStatement":
                pass
            case "ASTIfStatement":
                yield from self._branches(node)
                return
            case "ASTBeginEndBlock":
                yield from self._begin_end(node)
                return
            case "ASTWhileStatement" | "ASTForInStatement" | "ASTRepeatStatement" | "ASTCaseStatement" as kind:
                raise self._error(node, f"{kind.removeprefix('AST')}: is not followed here")
            case _:
                yield self._analyzed(node)
                return
        yield ()

    def _declare(self, node: Any) -> None:
        declared = None
        if node.type is not None:
            try:
                declared = type_name(type_of(self._text(node.type)))
            except AnalyzerError:
                raise self._error(node.type, f"Type not found: {self._text(node.type)}") from None
        if node.default_value is not None:
            declared = self._expression(node.default_value, declared)
        for variable in node.variable_list.identifier_list:
            name = variable.id_string.lower()
            if name in self._variables:
                raise self._error(node, f"Variable is declared already: {name}")
            self._variables[name] = declared or ""

    def _branches(self, node: Any) -> Iterator[Columns]:
        self._expression(node.condition, "TYPE_BOOL")
        yield from self._block(node.then_list)
        for clause in node.elseif_clauses.elseif_clauses if node.elseif_clauses else ():
            self._expression(clause.condition, "TYPE_BOOL")
            yield from self._block(clause.body)
        yield from self._block(node.else_list)

    def _begin_end(self, node: Any) -> Iterator[Columns]:
        outer, was_in_transaction = dict(self._variables), self._in_transaction
        yield from self._block(node.statement_list_node)
        self._variables, after = outer, self._in_transaction
        for handler in node.handler_list.exception_handler_list if node.handler_list else ():
            # The block may have failed anywhere, also inside its transaction.
            self._in_transaction = was_in_transaction or "ASTBeginStatement" in map(
                _node_kind, node.statement_list_node.statement_list
            )
            yield from self._block(handler.statement_list)
            if self._in_transaction and not was_in_transaction:
                raise self._error(handler, "The handler neither commits nor rolls back the transaction")
        self._in_transaction = after

    def _analyzed(self, node: Any) -> Columns:
        resolved = analyzed(self._padded(node), self._options, self._catalog())
        begins, ends = resolved.kind == "BeginStmt", resolved.kind in ("CommitStmt", "RollbackStmt")
        if begins and self._in_transaction:
            raise self._error(node, "Transactions cannot be nested")
        if ends and not self._in_transaction:
            raise self._error(node, "There is no transaction to end")
        self._in_transaction = begins or (self._in_transaction and not ends)
        self._apply_ddl(node, resolved)
        return resolved.columns

    def _apply_ddl(self, node: Any, resolved: Resolved) -> None:
        """Applies the statement's changes for the statements after it."""
        kind, name = resolved.kind, ".".join(resolved.name_path or ())
        temporary = name in self._temporary
        if kind in ("CreateTableStmt", "CreateTableAsSelectStmt", "CreateViewStmt"):
            temporary = resolved.create_scope == "CREATE_TEMP"
            if not (resolved.create_mode == "CREATE_IF_NOT_EXISTS" and name in self._tables):
                defined = tuple((column.name, type_name(column.type)) for column in resolved.column_definition_list)
                self._tables[name] = defined or resolved.columns
                (self._temporary.add if temporary else self._temporary.discard)(name)
        elif kind == "AlterTableStmt" and name in self._tables:
            self._add_columns(resolved, name)
        elif kind == "DropStmt" and resolved.object_type.upper() in ("TABLE", "VIEW"):
            if name not in self._tables and not resolved.is_if_exists:
                raise self._error(node, f"Table not found: {name}")
            self._tables.pop(name, None)
            self._temporary.discard(name)
        if self._in_transaction and kind.startswith(_DDL) and not temporary:
            raise self._error(node, "Only temporary tables can be created, altered or dropped in a transaction")

    def _add_columns(self, resolved: Resolved, name: str) -> None:
        existing = {column.lower() for column, _ in self._tables[name]}
        for action in map(Resolved, resolved.alter_action_list):
            added = action.column_definition
            # For an existing column the analysis failed already, unless the statement has `if not exists`.
            if added is not None and added.name.lower() not in existing:
                self._tables[name] = (*self._tables[name], (added.name, type_name(added.type)))

    def _expression(self, node: Any, wanted: str | None) -> str:
        """The type of an expression; raises AnalyzerError if it is not, and cannot be cast to, the wanted type."""
        found = type_of_expression(self._padded(node), self._options, self._catalog())
        if wanted is None or found == wanted:
            return found
        try:
            analyzed(f"select ({self._text(node)})", analyzer_options(self._parameters, wanted), self._catalog())
        except AnalyzerError:
            raise self._error(node, f"An expression of {found} stands where {wanted} is expected") from None
        return wanted

    def _catalog(self) -> Any:
        return catalog_of(self._tables, self._variables)

    def _text(self, node: Any) -> str:
        return self._bytes[node.parse_location_range.start : node.parse_location_range.end].decode()

    def _padded(self, node: Any) -> str:
        """The node's text, padded to its position in the script, so that errors name that position."""
        before = self._bytes[: node.parse_location_range.start].decode()
        return "".join(sign if sign in "\n\t" else " " for sign in before) + self._text(node)

    def _error(self, node: Any, message: str) -> AnalyzerError:
        before = self._bytes[: node.parse_location_range.start].decode()
        return AnalyzerError(f"{message} [at {before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}]")


def _node_kind(node: Any) -> str:
    return type(node).__name__
