"""Rows as expressions see them: the watched columns only, every figure a finite float or null."""

from collections.abc import Iterable, Mapping

import polars as pl
from polars.exceptions import PolarsError

from audit_assets.rules.facts import WatchedTable
from audit_assets.rules.model import FactValue
from audit_assets.rules.spelling import did_you_mean

_KINDS: dict[pl.DataType, str] = {
    pl.Int64(): "a whole number",
    pl.Float64(): "a number",
    pl.String(): "text",
    pl.Date(): "a date",
    pl.Boolean(): "true or false",
}


class RuleError(Exception):
    """Facts that a rule cannot judge, such as those that lack a column it names. Says which."""


class ExampleError(ValueError):
    """An example that is no row of the watched table."""

    def __init__(self, column: str, message: str):
        super().__init__(message)
        self.column = column


def for_expressions(rows: pl.DataFrame, table: WatchedTable, columns: Iterable[str]) -> pl.DataFrame:
    """`columns` of `rows`; NaN and infinity become null, so that they are counted as not judgeable.

    Raises RuleError on a missing column, or one of another kind.
    """
    wanted: list[pl.Expr] = []
    arrived = rows.schema  # made anew each time it is asked for
    for name in columns:
        dtype = column_type(arrived, table, name)
        if table.schema[name] == pl.Boolean():
            if dtype not in (pl.Boolean(), pl.Null()):
                raise RuleError(f"{table.name}.{name} arrived as {dtype}, where true or false is expected")
            wanted.append(pl.col(name).cast(pl.Boolean))
            continue
        if not table.schema[name].is_numeric():
            wanted.append(pl.col(name).cast(pl.String))
            continue
        if not (dtype.is_numeric() or dtype == pl.Null()):
            raise RuleError(f"{table.name}.{name} arrived as {dtype}, where a number is expected")
        as_float = pl.col(name).cast(pl.Float64)
        wanted.append(pl.when(as_float.is_finite()).then(as_float).alias(name))
    return rows.select(wanted)


def column_type(arrived: Mapping[str, pl.DataType], table: WatchedTable, name: str) -> pl.DataType:
    """The type in which a column arrived. Raises RuleError where it did not arrive."""
    try:
        return arrived[name]
    except KeyError:
        raise RuleError(f"the facts lack {table.name}.{name}; rebuild that model") from None


def example_rows(table: WatchedTable, example: Mapping[str, FactValue]) -> pl.DataFrame:
    """The one row an example stands for; columns it leaves out are null. Raises ExampleError."""
    for name in example:
        if name not in table.schema:
            hint = did_you_mean(name, table.schema)
            raise ExampleError(name, f"unknown column of {table.name}{hint}")
    for name, value in example.items():
        dtype = table.schema[name]
        try:
            if isinstance(value, bool) and dtype != pl.Boolean():
                raise TypeError  # polars takes true for 1
            pl.Series(name, [value], dtype=dtype, strict=True)
        except (PolarsError, TypeError, OverflowError, ValueError):
            raise ExampleError(name, f"{value!r} is not {_KINDS.get(dtype, str(dtype))}") from None
    columns = table.conditions_may_name
    row = pl.DataFrame(
        {name: [example.get(name)] for name in columns},
        schema={name: table.schema[name] for name in columns},
    )
    return for_expressions(row, table, columns)
