"""Google's reference engine, offline: executes BigQuery queries over rows in memory.

It is part of the package zetasql, whose analyzer the BigQuery gate uses. It supports neither MERGE nor scripts. A
window that starts at the first row of its partition takes quadratic time in the partition's rows: 10 s for 3,000 rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tools.analyzer import Columns, analyzer_options, catalog_of, type_name

Cell = None | bool | int | float | str | date | datetime
Rows = Sequence[tuple[Cell, ...]]

_EPOCH = date(1970, 1, 1)


class EngineError(Exception):
    """A query that the engine rejects or cannot finish, with the engine's message."""


@dataclass(frozen=True)
class Answer:
    """The result of a query. The order of rows is defined only if the query orders them."""

    columns: Columns
    rows: Rows


class ReferenceEngine:
    """Tables with the given columns, initially empty."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self.tables = dict(tables)
        self._contents: dict[str, Any] = {}
        for name in tables:
            self.put(name, [])

    def put(self, table: str, rows: Iterable[Sequence[Cell]]) -> None:
        """Replaces the table's rows. Times have a time zone."""
        from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import TableContent

        writers = [_WRITERS[kind] for _, kind in self.tables[table]]
        content = TableContent()
        content.table_data.SetInParent()  # also creates a table without rows
        for row in rows:
            cells = content.table_data.row.add().cell
            for value, write in zip(row, writers, strict=True):
                cell = cells.add()
                if value is not None:
                    write(cell, value)
        self._contents[table] = content

    def query(self, sql: str, texts: Mapping[str, Sequence[str]] | None = None) -> Answer:
        """The result of `sql`. `texts` are its named parameters, each an array of strings. Raises EngineError."""
        from zetasql.core import ZetaSqlLocalService
        from zetasql.core.exceptions import ZetaSQLError
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

        texts = texts or {}
        options = analyzer_options(dict.fromkeys(texts, "array<string>"))
        options.ClearField("system_variables")  # the engine would require a value for each
        client = ZetaSqlLocalService.get_instance().wasm_client
        try:
            read = self._tables_of(sql)
            request = messages.EvaluateQueryRequest(
                sql=sql,
                options=options,
                simple_catalog=catalog_of({name: self.tables[name] for name in read}),
                table_content={name: self._contents[name] for name in read},
            )
            for name, values in texts.items():
                elements = request.params.add(name=name).value.array_value.element
                for value in values:
                    elements.add(string_value=value)
            answer = client.call_grpc_func("ZetaSqlLocalService_EvaluateQuery", request, messages.EvaluateQueryResponse)
        except ZetaSQLError as error:
            raise EngineError(str(error)) from None
        columns = tuple((column.name, type_name(column.type)) for column in answer.prepared.columns)
        readers = [_READERS[kind] for _, kind in columns]
        return Answer(
            columns,
            [
                tuple(
                    read(cell) if cell.WhichOneof("value") else None
                    for read, cell in zip(readers, row.cell, strict=True)
                )
                for row in answer.content.table_data.row
            ],
        )

    def _tables_of(self, sql: str) -> list[str]:
        """The tables that a query names; only these are sent to the engine."""
        from zetasql.core import ZetaSqlLocalService
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

        found = ZetaSqlLocalService.get_instance().wasm_client.call_grpc_func(
            "ZetaSqlLocalService_ExtractTableNamesFromStatement",
            messages.ExtractTableNamesFromStatementRequest(
                sql_statement=sql, options=analyzer_options().language_options
            ),
            messages.ExtractTableNamesFromStatementResponse,
        )
        names = {".".join(each.table_name_segment) for each in found.table_name}
        return sorted(names & self.tables.keys())


def unlike(columns: Columns, found: Rows, expected: Rows) -> list[str]:
    """The differences between two sets of rows, one line each. Floats may differ by 1e-9 of their size."""
    if len(found) != len(expected):
        return [f"{len(found)} rows, not {len(expected)}"]
    pairs = zip(sorted(found, key=_order), sorted(expected, key=_order), strict=True)
    return [
        f"{column} is {one!r}, not {other!r}, in {row}"
        for row, expected_row in pairs
        for (column, _), one, other in zip(columns, row, expected_row, strict=True)
        if not _alike(one, other)
    ]


def _order(row: tuple[Cell, ...]) -> tuple[object, ...]:
    """A sort key without floats first, because two engines may differ in a float's last digit."""
    exact = tuple(str(value) for value in row if not isinstance(value, float))
    return exact, tuple(str(value) for value in row if isinstance(value, float))


def _alike(one: Cell, other: Cell) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return type(one) is type(other) and one == other


def _write_date(cell: Any, value: Any) -> None:
    cell.date_value = (value - _EPOCH).days


def _write_timestamp(cell: Any, value: Any) -> None:
    cell.timestamp_value.FromDatetime(value.astimezone(UTC).replace(tzinfo=None))


def _writer(field: str) -> Callable[[Any, Any], None]:
    return lambda cell, value: setattr(cell, field, value)


_WRITERS: dict[str, Callable[[Any, Any], None]] = {
    "TYPE_STRING": _writer("string_value"),
    "TYPE_INT64": _writer("int64_value"),
    "TYPE_DOUBLE": _writer("double_value"),
    "TYPE_BOOL": _writer("bool_value"),
    "TYPE_DATE": _write_date,
    "TYPE_TIMESTAMP": _write_timestamp,
}
_READERS: dict[str, Callable[[Any], Cell]] = {
    "TYPE_STRING": lambda cell: cell.string_value,
    "TYPE_INT64": lambda cell: cell.int64_value,
    "TYPE_DOUBLE": lambda cell: cell.double_value,
    "TYPE_BOOL": lambda cell: cell.bool_value,
    "TYPE_DATE": lambda cell: _EPOCH + timedelta(days=cell.date_value),
    "TYPE_TIMESTAMP": lambda cell: cell.timestamp_value.ToDatetime(UTC),
}
