"""Evaluates the conditions of a rule over rows of facts; pure. Figures are finite floats or null."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce

import polars as pl
from polars.exceptions import PolarsError

from audit_assets.config.validation import did_you_mean
from audit_assets.rules.business_clock import BusinessCalendar, is_open
from audit_assets.rules.expression import Expression, ExpressionError, compile_condition, compile_figure
from audit_assets.rules.facts import DAY, TABLES, WatchedTable
from audit_assets.rules.model import FactValue, Rule

_KINDS: dict[pl.DataType, str] = {
    pl.Int64(): "a whole number",
    pl.Float64(): "a number",
    pl.String(): "text",
    pl.Date(): "a date",
    pl.Boolean(): "true or false",
}

# Columns that `evaluate` adds to the watched table's time and grain. `fires` is null where it cannot be judged.
FIRES, CONDITION, HOLDS, SUPPRESSED, VALUE, BASELINE, THRESHOLD = (
    "result: fires",
    "result: condition",
    "result: holds",
    "result: suppressed",
    "result: value",
    "result: baseline",
    "result: threshold",
)
START, END = "result: start", "result: end"


class RuleError(Exception):
    """The facts do not fit the rule, for example because a column it names is missing. The message names it."""


class ExampleError(ValueError):
    """An example that is not a valid row of the watched table."""

    def __init__(self, column: str, message: str):
        super().__init__(message)
        self.column = column


def for_expressions(rows: pl.DataFrame, table: WatchedTable, columns: Iterable[str]) -> pl.DataFrame:
    """`columns` of `rows`; NaN and infinity become null, so that they are counted as not judgeable.

    Raises RuleError on a missing column or a column of another type.
    """
    wanted: list[pl.Expr] = []
    schema = rows.schema  # polars builds it on every access
    for name in columns:
        dtype = column_type(schema, table, name)
        if table.schema[name] == pl.Boolean():
            if dtype not in (pl.Boolean(), pl.Null()):
                raise RuleError(f"{table.name}.{name} is {dtype}, but true or false is expected")
            wanted.append(pl.col(name).cast(pl.Boolean))
            continue
        if not table.schema[name].is_numeric():
            wanted.append(pl.col(name).cast(pl.String))
            continue
        if not (dtype.is_numeric() or dtype == pl.Null()):
            raise RuleError(f"{table.name}.{name} is {dtype}, but a number is expected")
        as_float = pl.col(name).cast(pl.Float64)
        wanted.append(pl.when(as_float.is_finite()).then(as_float).alias(name))
    return rows.select(wanted)


def column_type(schema: Mapping[str, pl.DataType], table: WatchedTable, name: str) -> pl.DataType:
    """The type of a column of the facts. Raises RuleError if the column is missing."""
    try:
        return schema[name]
    except KeyError:
        raise RuleError(f"the facts lack {table.name}.{name}; rebuild that model") from None


def example_rows(table: WatchedTable, example: Mapping[str, FactValue]) -> pl.DataFrame:
    """An example as a frame of one row; columns it leaves out are null. Raises ExampleError."""
    for name in example:
        if name not in table.schema:
            hint = did_you_mean(name, table.schema)
            raise ExampleError(name, f"unknown column of {table.name}{hint}")
    for name, value in example.items():
        dtype = table.schema[name]
        try:
            if isinstance(value, bool) and dtype != pl.Boolean():
                raise TypeError  # polars reads true as 1
            pl.Series(name, [value], dtype=dtype, strict=True)
        except (PolarsError, TypeError, OverflowError, ValueError):
            raise ExampleError(name, f"{value!r} is not {_KINDS.get(dtype, str(dtype))}") from None
    columns = table.conditions_may_name
    row = pl.DataFrame(
        {name: [example.get(name)] for name in columns},
        schema={name: table.schema[name] for name in columns},
    )
    return for_expressions(row, table, columns)


def evaluate(
    rule: Rule, facts: pl.DataFrame, as_of: datetime, calendar: BusinessCalendar, width: timedelta | None = None
) -> pl.DataFrame:
    """One result per row of `facts` whose window is closed at `as_of` (UTC), ordered by instance and time. `width` is
    the length of a row's window if it is not the watched table's own, as for external series.

    Raises RuleError on a missing column, a column of another type, or two rows for one instance and window.
    """
    table = TABLES[rule.watch]
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone; give it in UTC")
    try:
        rows = _closed(facts, table, rule, as_of, table.width if width is None else width)
        _reject_duplicates(rows, table)
        evaluation = rows.select(START, END, *table.grain, *_evaluated_columns(rule, rows, table))
    except (ExpressionError, PolarsError, RuleError) as error:
        raise RuleError(f"{rule.id}: {error}") from error
    if rule.no_data != "keep":
        evaluation = evaluation.with_columns(pl.col(FIRES).fill_null(rule.no_data == "alert"))
    if rule.active == "business_hours":
        ends = evaluation.get_column(END)
        inside = {end: is_open(calendar, end - timedelta(microseconds=1)) for end in ends.unique()}
        at_work = ends.replace_strict(inside, return_dtype=pl.Boolean()) if inside else ends.cast(pl.Boolean)
        evaluation = evaluation.with_columns(pl.when(at_work).then(pl.col(FIRES)).alias(FIRES))
    return evaluation.sort(*table.grain, START)


def fires_on_row(rule: Rule, row: pl.DataFrame) -> bool | None:
    """Whether `rule` fires on the single row of `row`, gates included; None if it cannot be judged. For examples."""
    return _fires(rule, row, TABLES[rule.watch]).item()


def _closed(facts: pl.DataFrame, table: WatchedTable, rule: Rule, as_of: datetime, width: timedelta) -> pl.DataFrame:
    """The watched columns of the facts, for rows whose window is over at `as_of`, and of the running day if the rule
    evaluates it."""
    dtype = column_type(facts.schema, table, table.time)
    if table.schema[table.time] == pl.Date():
        if dtype != pl.Date():
            raise RuleError(f"{table.name}.{table.time} is {dtype}, but a date is expected")
        start = pl.col(table.time).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    else:
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            raise RuleError(f"{table.name}.{table.time} is {dtype}, but a time with a time zone is expected")
        start = pl.col(table.time).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    for name in table.grain:
        column_type(facts.schema, table, name)
    present = [name for name in table.schema if name in facts.columns]
    rows = facts.select(*present, start.alias(START)).with_columns((pl.col(START) + width).alias(END))
    if rule.window == "now":  # rows of the time of evaluation, which may be later than the newest row of the source
        return rows
    return rows.filter(pl.col(END) <= (as_of + DAY if rule.window == "running_and_last_closed_day" else as_of))


def _reject_duplicates(rows: pl.DataFrame, table: WatchedTable) -> None:
    grain = [*table.grain, START]
    duplicates = rows.filter(rows.select(grain).is_duplicated())
    if duplicates.height:
        row = ", ".join(f"{name.removeprefix('result: ')}={duplicates[name][0]}" for name in grain)
        raise RuleError(f"{table.name} has two rows for {row}; rebuild that day")


def _evaluated_columns(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> list[pl.Series]:
    violated = {name: _truth(figures.fires_when, rule, rows, table) for name, figures in rule.conditions.items()}
    fires, suppressed = _gated(rule, violated, rows, table)
    # The figures are those of the first condition that holds, else those of the rule's own condition.
    condition = pl.Series([""], dtype=pl.String()).new_from_index(0, rows.height)
    for name in reversed(list(violated)):
        condition = _where(violated[name].fill_null(False), pl.Series([name]).new_from_index(0, rows.height), condition)
    columns = [
        fires.alias(FIRES),
        condition.alias(CONDITION),
        suppressed.alias(SUPPRESSED),
        _holds(rule, rows, table).alias(HOLDS),
    ]
    for column in (VALUE, BASELINE, THRESHOLD):
        figures = pl.Series([None], dtype=pl.Float64()).new_from_index(0, rows.height)
        for name, each in rule.conditions.items():
            text = {VALUE: each.value, BASELINE: each.baseline, THRESHOLD: each.threshold}[column]
            if text is not None:
                own = _values(compile_figure(text, rule.watch), rows, table, pl.Float64())
                figures = _where(condition == name, own, figures)
        columns.append(figures.alias(column))
    return columns


def _where(mask: pl.Series, then: pl.Series, otherwise: pl.Series) -> pl.Series:
    return then.zip_with(mask, otherwise)


def _fires(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    violated = {name: _truth(figures.fires_when, rule, rows, table) for name, figures in rule.conditions.items()}
    return _gated(rule, violated, rows, table)[0]


def _gated(
    rule: Rule, violated: Mapping[str, pl.Series], rows: pl.DataFrame, table: WatchedTable
) -> tuple[pl.Series, pl.Series]:
    """Whether each row fires (null: cannot be judged), and whether only a gate suppressed it."""
    any_condition = reduce(pl.Series.__or__, violated.values())
    if rule.judgeable_when is not None and not rule.is_literal:
        judgeable = _truth(rule.judgeable_when, rule, rows, table).fill_null(False)
        any_condition = _where(
            judgeable, any_condition, pl.Series([None], dtype=pl.Boolean()).new_from_index(0, rows.height)
        )
    fires = any_condition
    if not rule.is_literal:
        for text in rule.gates.values():
            fires = fires & _truth(text, rule, rows, table)
    return fires, any_condition.fill_null(False) & ~fires.fill_null(False)


def _holds(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    """Whether a row keeps an episode open although it does not fire: `clears_when` is set, and false."""
    if rule.clears_when is None or rule.is_literal:
        return pl.Series([False], dtype=pl.Boolean()).new_from_index(0, rows.height)
    return ~_truth(rule.clears_when, rule, rows, table).fill_null(True)


def _truth(text: str, rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    return _values(compile_condition(text, rule.watch), rows, table, pl.Boolean())


def _values(expression: Expression, rows: pl.DataFrame, table: WatchedTable, dtype: pl.DataType) -> pl.Series:
    """One value per row; constants are repeated."""
    if not expression.columns:
        return pl.select(expression.polars.cast(dtype)).to_series().new_from_index(0, rows.height)
    seen = for_expressions(rows, table, expression.columns)
    return seen.select(expression.polars.cast(dtype)).to_series()


def gates_on_row(rule: Rule, row: pl.DataFrame) -> Mapping[str, bool | None]:
    """Gate → whether the single row of `row` passes it; None if it cannot be judged."""
    table = TABLES[rule.watch]
    return {name: _truth(text, rule, row, table).item() for name, text in rule.gates.items()}
