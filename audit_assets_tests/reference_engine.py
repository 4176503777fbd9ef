"""Google's reference engine, offline: BigQuery's queries executed over rows held in memory.

It is the second half of PyPI's zetasql, whose analyzer the BigQuery gate asks. It knows no MERGE and no scripts, and a
window that begins at the first row of its partition takes time by the square of the partition: 3,000 rows are 10 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from audit_assets.warehouse.analyzer import Columns, analyzer_options, catalog_of, type_name

Cell = None | bool | int | float | str | date | datetime
Rows = Sequence[tuple[Cell, ...]]

_EPOCH = date(1970, 1, 1)


class EngineError(Exception):
    """A query the engine does not take or cannot finish, in its own words."""


@dataclass(frozen=True)
class Answer:
    """What a query yields. The order of the rows means something only where the query orders them."""

    columns: Columns
    rows: Rows


class ReferenceEngine:
    """Tables of the given columns, empty at first."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self.tables = dict(tables)
        self._contents: dict[str, Any] = {}
        for name in tables:
            self.put(name, [])

    def put(self, table: str, rows: Iterable[Sequence[Cell]]) -> None:
        """Make `rows` all that the table holds. Times carry their zone."""
        from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import TableContent

        writers = [_WRITERS[kind] for _, kind in self.tables[table]]
        content = TableContent()
        content.table_data.SetInParent()  # a table without rows is there too
        for row in rows:
            cells = content.table_data.row.add().cell
            for value, write in zip(row, writers, strict=True):
                cell = cells.add()
                if value is not None:
                    write(cell, value)
        self._contents[table] = content

    def query(self, sql: str, texts: Mapping[str, Sequence[str]] | None = None) -> Answer:
        """What `sql` yields. `texts` are its named parameters, each an array of strings. Raises EngineError."""
        from zetasql.core import ZetaSqlLocalService
        from zetasql.core.exceptions import ZetaSQLError
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

        texts = texts or {}
        options = analyzer_options(dict.fromkeys(texts, "array<string>"))
        options.ClearField("system_variables")  # it would want a value for each
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
        """The tables a query names: none other is sent along."""
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
    """Where two sets of rows differ, a line each: floats by more than 1e-9 of their size, all else at all."""
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
    """By all that is no float first: two engines may differ in a float's last place."""
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
