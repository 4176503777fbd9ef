"""What the statements of a script yield, one after the other: Google's analyzer knows single statements only.

Tables that a statement makes or widens, and variables, are there for the statements after it. IF and BEGIN … END are
followed, all of their branches; loops are refused. BigQuery's own rules on transactions are held here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from audit_assets.warehouse.analyzer import (
    AnalyzerError,
    Columns,
    Resolved,
    analyzed,
    analyzer_options,
    catalog_of,
    parsed_script,
    type_name,
    type_of,
    type_of_expression,
)

_DDL = ("Create", "Drop", "Alter", "Grant", "Revoke")


class Script:
    """One script, against tables of the given columns and named parameters of the given types."""

    def __init__(self, text: str, tables: Mapping[str, Columns], parameters: Mapping[str, str]) -> None:
        self._bytes = text.encode()
        self._tables = dict(tables)
        self._variables: dict[str, str] = {}
        self._temporary: set[str] = set()
        self._in_transaction = False
        self._parameters = parameters
        self._options = analyzer_options(parameters)

    def columns(self) -> tuple[Columns, ...]:
        """The columns of each statement in order, none where it yields no rows. Raises AnalyzerError."""
        found = tuple(self._block(parsed_script(self._bytes.decode())))
        if self._in_transaction:
            raise AnalyzerError("The script ends inside its transaction, and BigQuery would roll it back")
        return found

    def _block(self, statements: Any) -> Iterator[Columns]:
        declaring = True
        for node in statements.statement_list if statements else ():
            is_declaration = _kind(node) == "ASTVariableDeclaration"
            if is_declaration and not declaring:
                raise self._error(node, "Variable declarations stand at the start of a script or block")
            declaring = declaring and is_declaration
            yield from self._statement(node)

    def _statement(self, node: Any) -> Iterator[Columns]:
        match _kind(node):
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
        outer, began = dict(self._variables), self._in_transaction
        yield from self._block(node.statement_list_node)
        self._variables, after = outer, self._in_transaction
        for handler in node.handler_list.exception_handler_list if node.handler_list else ():
            # It may have failed anywhere: inside the transaction, if there is one.
            self._in_transaction = began or "ASTBeginStatement" in map(_kind, node.statement_list_node.statement_list)
            yield from self._block(handler.statement_list)
            if self._in_transaction and not began:
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
        self._keep(node, resolved)
        return resolved.columns

    def _keep(self, node: Any, resolved: Resolved) -> None:
        """What the statement changes for those after it."""
        kind, name = resolved.kind, ".".join(resolved.name_path or ())
        temporary = name in self._temporary
        if kind in ("CreateTableStmt", "CreateTableAsSelectStmt", "CreateViewStmt"):
            temporary = resolved.create_scope == "CREATE_TEMP"
            if not (resolved.create_mode == "CREATE_IF_NOT_EXISTS" and name in self._tables):
                defined = tuple((column.name, type_name(column.type)) for column in resolved.column_definition_list)
                self._tables[name] = defined or resolved.columns
                (self._temporary.add if temporary else self._temporary.discard)(name)
        elif kind == "AlterTableStmt" and name in self._tables:
            self._widen(resolved, name)
        elif kind == "DropStmt" and resolved.object_type.upper() in ("TABLE", "VIEW"):
            if name not in self._tables and not resolved.is_if_exists:
                raise self._error(node, f"Table not found: {name}")
            self._tables.pop(name, None)
            self._temporary.discard(name)
        if self._in_transaction and kind.startswith(_DDL) and not temporary:
            raise self._error(node, "Only temporary tables can be created, altered or dropped in a transaction")

    def _widen(self, resolved: Resolved, name: str) -> None:
        there = {column.lower() for column, _ in self._tables[name]}
        for action in map(Resolved, resolved.alter_action_list):
            added = action.column_definition
            # One that is there already was refused, or it says `if not exists`.
            if added is not None and added.name.lower() not in there:
                self._tables[name] = (*self._tables[name], (added.name, type_name(added.type)))

    def _expression(self, node: Any, wanted: str | None) -> str:
        """The type of an expression that is to be, or to become, of the wanted one."""
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
        """The node's text at the place it has in the script, so that an error names that place."""
        before = self._bytes[: node.parse_location_range.start].decode()
        return "".join(sign if sign in "\n\t" else " " for sign in before) + self._text(node)

    def _error(self, node: Any, said: str) -> AnalyzerError:
        before = self._bytes[: node.parse_location_range.start].decode()
        return AnalyzerError(f"{said} [at {before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}]")


def _kind(node: Any) -> str:
    return type(node).__name__
