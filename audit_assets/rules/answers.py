"""What a rule says of each row: whether it fires, whether it is over, and the figures to tell; pure polars."""

import operator
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import reduce

import polars as pl
from polars.exceptions import PolarsError

from audit_assets.rules.business_clock import is_open
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.expression import Expression, ExpressionError, condition, figure
from audit_assets.rules.facts import DAY, TABLES, WatchedTable
from audit_assets.rules.model import Rule
from audit_assets.rules.rows import RuleError, column_type, for_expressions

# Columns of an answer, beside the watched table's time and grain. `fires` and `clears` are null where none can say.
FIRES, WAY, HOLDS, HELD_BACK, VALUE, BASELINE, THRESHOLD = (
    "answer: fires",
    "answer: way",
    "answer: holds",
    "answer: held back",
    "answer: value",
    "answer: baseline",
    "answer: threshold",
)
START, END = "answer: start", "answer: end"


def answers(
    rule: Rule, facts: pl.DataFrame, as_of: datetime, calendar: BusinessCalendar, width: timedelta | None = None
) -> pl.DataFrame:
    """One answer a row of `facts` that is closed at `as_of` (UTC), by instance and time. `width` is that of a row where
    it is not the watched table's own, as in counts from outside.

    Raises RuleError on a missing column, one of another kind, or two rows for one instance and window.
    """
    table = TABLES[rule.watch]
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone; give it in UTC")
    try:
        rows = _closed(facts, table, rule, as_of, table.width if width is None else width)
        _refuse_doubles(rows, table)
        judged = rows.select(START, END, *table.grain, *_answered(rule, rows, table))
    except (ExpressionError, PolarsError, RuleError) as error:
        raise RuleError(f"{rule.id}: {error}") from error
    if rule.no_data != "keep":
        judged = judged.with_columns(pl.col(FIRES).fill_null(rule.no_data == "alert"))
    if rule.active == "business_hours":
        ends = judged.get_column(END)
        inside = {end: is_open(calendar, end - timedelta(microseconds=1)) for end in ends.unique()}
        at_work = ends.replace_strict(inside, return_dtype=pl.Boolean()) if inside else ends.cast(pl.Boolean)
        judged = judged.with_columns(pl.when(at_work).then(pl.col(FIRES)).alias(FIRES))
    return judged.sort(*table.grain, START)


def fires_on_row(rule: Rule, row: pl.DataFrame) -> bool | None:
    """Whether `rule` fires on the one row of `row`, gates included; None where it cannot be judged. For examples."""
    return _fires(rule, row, TABLES[rule.watch]).item()


def _closed(facts: pl.DataFrame, table: WatchedTable, rule: Rule, as_of: datetime, width: timedelta) -> pl.DataFrame:
    """The watched columns that arrived, of rows whose window is over at `as_of`; a running day where the rule may."""
    dtype = column_type(facts.schema, table, table.time)
    if table.schema[table.time] == pl.Date():
        if dtype != pl.Date():
            raise RuleError(f"{table.name}.{table.time} arrived as {dtype}, where a date is expected")
        start = pl.col(table.time).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    else:
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            raise RuleError(f"{table.name}.{table.time} arrived as {dtype}, where a time with its zone is expected")
        start = pl.col(table.time).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    for name in table.grain:
        column_type(facts.schema, table, name)
    listed = [name for name in table.schema if name in facts.columns]
    rows = facts.select(*listed, start.alias(START)).with_columns((pl.col(START) + width).alias(END))
    if rule.window == "now":  # rows of the moment of judging, which may be later than the newest row of the source
        return rows
    return rows.filter(pl.col(END) <= (as_of + DAY if rule.window == "running_and_last_closed_day" else as_of))


def _refuse_doubles(rows: pl.DataFrame, table: WatchedTable) -> None:
    grain = [*table.grain, START]
    doubled = rows.filter(rows.select(grain).is_duplicated())
    if doubled.height:
        row = ", ".join(f"{name.removeprefix('answer: ')}={doubled[name][0]}" for name in grain)
        raise RuleError(f"{table.name} holds two rows for {row}; rebuild that day")


def _answered(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> list[pl.Series]:
    broken = {name: _truth(way.fires_when, rule, rows, table) for name, way in rule.ways.items()}
    fires, held_back = _gated(rule, broken, rows, table)
    # Of the ways that hold the first is told; where none does, the rule's own.
    way = pl.Series([""], dtype=pl.String()).new_from_index(0, rows.height)
    for name in reversed(list(broken)):
        way = _where(broken[name].fill_null(False), pl.Series([name]).new_from_index(0, rows.height), way)
    told = [fires.alias(FIRES), way.alias(WAY), held_back.alias(HELD_BACK), _holds(rule, rows, table).alias(HOLDS)]
    for column in (VALUE, BASELINE, THRESHOLD):
        figures = pl.Series([None], dtype=pl.Float64()).new_from_index(0, rows.height)
        for name, each in rule.ways.items():
            text = {VALUE: each.value, BASELINE: each.baseline, THRESHOLD: each.threshold}[column]
            if text is not None:
                own = _evaluated(figure(text, rule.watch), rows, table, pl.Float64())
                figures = _where(way == name, own, figures)
        told.append(figures.alias(column))
    return told


def _where(mask: pl.Series, then: pl.Series, otherwise: pl.Series) -> pl.Series:
    return then.zip_with(mask, otherwise)


def _fires(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    broken = {name: _truth(way.fires_when, rule, rows, table) for name, way in rule.ways.items()}
    return _gated(rule, broken, rows, table)[0]


def _gated(
    rule: Rule, broken: Mapping[str, pl.Series], rows: pl.DataFrame, table: WatchedTable
) -> tuple[pl.Series, pl.Series]:
    """Whether each row fires (null: none can say), and whether only a gate kept it from firing."""
    any_way = reduce(operator.or_, broken.values())
    if rule.judgeable_when is not None and not rule.is_literal:
        judgeable = _truth(rule.judgeable_when, rule, rows, table).fill_null(False)
        any_way = _where(judgeable, any_way, pl.Series([None], dtype=pl.Boolean()).new_from_index(0, rows.height))
    fires = any_way
    if not rule.is_literal:
        for text in rule.gates.values():
            fires = fires & _truth(text, rule, rows, table)
    return fires, any_way.fill_null(False) & ~fires.fill_null(False)


def _holds(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    """Whether a row that does not fire is not over either: `clears_when` is there, and false."""
    if rule.clears_when is None or rule.is_literal:
        return pl.Series([False], dtype=pl.Boolean()).new_from_index(0, rows.height)
    return ~_truth(rule.clears_when, rule, rows, table).fill_null(True)


def _truth(text: str, rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    return _evaluated(condition(text, rule.watch), rows, table, pl.Boolean())


def _evaluated(expression: Expression, rows: pl.DataFrame, table: WatchedTable, dtype: pl.DataType) -> pl.Series:
    """One value a row, constants repeated."""
    if not expression.columns:
        return pl.select(expression.polars.cast(dtype)).to_series().new_from_index(0, rows.height)
    seen = for_expressions(rows, table, expression.columns)
    return seen.select(expression.polars.cast(dtype)).to_series()


def gates_on_row(rule: Rule, row: pl.DataFrame) -> Mapping[str, bool | None]:
    """Gate → whether the one row of `row` passes it; None where it cannot be judged."""
    table = TABLES[rule.watch]
    return {name: _truth(text, rule, row, table).item() for name, text in rule.gates.items()}
