"""Facts and a rule to findings. No clock, no files, no network: rows and `now` come in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import polars as pl
from polars.exceptions import PolarsError

from audit_assets.rules.expression import Expression, ExpressionError, condition, figure
from audit_assets.rules.facts import TABLES, WatchedTable, judged_span
from audit_assets.rules.model import FactValue, Rule, RuleSet
from audit_assets.rules.rows import RuleError, column_type, for_expressions

_FIRES, _VALUE, _BASELINE, _THRESHOLD = "fires", "value", "baseline", "threshold"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that breaks a rule. Times are UTC; the window is [start, end) and may still be running."""

    rule_id: str
    environment: str | None  # None where the watched table holds one environment only
    dimensions: tuple[tuple[str, str], ...]
    value: float | None
    baseline: float | None
    threshold: float | None
    delta_percent: float | None  # (value / baseline − 1) × 100; None without a baseline, or one of zero
    window_start: datetime
    window_end: datetime
    facts: tuple[tuple[str, FactValue], ...]

    def dimension(self, name: str) -> str:
        return dict(self.dimensions).get(name, "")

    @property
    def badness(self) -> float:
        """How far the value is from what is usual, up or down; in calls, the ones too many or too few.

        A distance and no ratio: three calls where usually there are none are no worse than a thousand too many.
        """
        usual = self.baseline if self.baseline is not None else self.threshold
        return abs(self.value - usual) if self.value is not None and usual is not None else 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says of one window: findings worst first, how many rows it could and could not judge."""

    rule_id: str
    findings: tuple[Finding, ...]
    judged: int
    unjudgeable: int
    window_start: datetime
    window_end: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that could not judge at all. Never read as recovery."""

    rule_id: str
    message: str


Verdict = Judgement | Failure


def judge_all(rule_set: RuleSet, facts: Mapping[str, pl.DataFrame], now: datetime) -> tuple[Verdict, ...]:
    """One verdict a rule file, by id; a rule that cannot judge fails alone. `facts`: table to rows."""
    verdicts: list[Verdict] = [Failure(broken.id, broken.message) for broken in rule_set.broken]
    for rule in rule_set.rules:
        try:
            if rule.watch not in facts:
                raise RuleError(f"{rule.id}: there is no {rule.watch} to judge; build the models first")
            verdicts.append(judge(rule, facts[rule.watch], now))
        except RuleError as error:
            verdicts.append(Failure(rule.id, str(error)))
    return tuple(sorted(verdicts, key=lambda verdict: verdict.rule_id))


def judge(rule: Rule, facts: pl.DataFrame, now: datetime) -> Judgement:
    """The rows of `facts` that break `rule` in the window judged at `now` (UTC), worst first.

    Raises RuleError on a missing column, one of another kind, or two rows for one instance and window.
    """
    table = TABLES[rule.watch]
    start, end = judged_span(rule.window, now)
    try:
        rows = _within(facts, table, start, end)
        _refuse_doubles(rows, table)
        answers = rows.select(pl.all(), *_answers(rule, rows, table))
    except (ExpressionError, PolarsError, RuleError) as error:
        raise RuleError(f"{rule.id}: {error}") from error
    unjudgeable = answers.get_column(_answer(_FIRES)).null_count()
    firing = answers.filter(pl.col(_answer(_FIRES)))
    findings = [_finding(rule, table, row) for row in firing.iter_rows(named=True)]
    findings.sort(key=lambda each: (-each.badness, each.environment or "", each.dimensions, each.window_start))
    return Judgement(rule.id, tuple(findings), answers.height - unjudgeable, unjudgeable, start, end)


def verdict_on_row(rule: Rule, row: pl.DataFrame) -> bool | None:
    """Whether `rule` fires on the one row of `row`; None where it cannot be judged. For a rule's examples."""
    return row.select(_fires(rule, row, TABLES[rule.watch])).item()


def _within(facts: pl.DataFrame, table: WatchedTable, start: datetime, end: datetime) -> pl.DataFrame:
    """The rows whose window lies in [start, end): the watched columns that arrived, times in UTC."""
    dtype = column_type(facts, table, table.time)
    when = pl.col(table.time)
    if table.schema[table.time] == pl.Date():
        if dtype != pl.Date():
            raise RuleError(f"{table.name}.{table.time} arrived as {dtype}, where a date is expected")
        rows = facts.filter(when >= start.date(), when < end.date())
    else:
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            raise RuleError(f"{table.name}.{table.time} arrived as {dtype}, where a time with its zone is expected")
        in_utc = facts.with_columns(when.dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
        rows = in_utc.filter(when >= start, when < end)
    for name in (*table.dimensions, *([table.environment] if table.environment else [])):
        column_type(rows, table, name)
    return rows.select([name for name in table.schema if name in rows.columns])


def _refuse_doubles(rows: pl.DataFrame, table: WatchedTable) -> None:
    grain = [table.time, *table.dimensions, *([table.environment] if table.environment else [])]
    doubled = rows.filter(rows.select(grain).is_duplicated())
    if doubled.height:
        row = ", ".join(f"{name}={value!r}" for name, value in zip(grain, doubled.select(grain).row(0), strict=True))
        raise RuleError(f"{table.name} holds two rows for {row}; rebuild that day")


def _answers(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> list[pl.Series]:
    """For each row: whether it fires (null: cannot be judged), and the figures to tell."""
    figures = {_VALUE: rule.value, _BASELINE: rule.baseline, _THRESHOLD: rule.threshold}
    answers = [_fires(rule, rows, table).alias(_answer(_FIRES))]
    for name, text in figures.items():
        compiled = figure(text, rule.watch) if text is not None else None
        answers.append(_evaluated(compiled, rows, table, pl.Float64()).alias(_answer(name)))
    return answers


def _fires(rule: Rule, rows: pl.DataFrame, table: WatchedTable) -> pl.Series:
    fires = _evaluated(condition(rule.fires_when, rule.watch), rows, table, pl.Boolean())
    if rule.judgeable_when is None:
        return fires
    judgeable = _evaluated(condition(rule.judgeable_when, rule.watch), rows, table, pl.Boolean())
    unknown = pl.Series([None], dtype=pl.Boolean()).new_from_index(0, rows.height)
    return fires.zip_with(judgeable.fill_null(False), unknown)


def _evaluated(expression: Expression | None, rows: pl.DataFrame, table: WatchedTable, dtype: pl.DataType) -> pl.Series:
    """One value a row, constants repeated; all null without an expression."""
    if expression is None:
        return pl.Series([None], dtype=dtype).new_from_index(0, rows.height)
    if not expression.columns:
        return pl.select(expression.polars.cast(dtype)).to_series().new_from_index(0, rows.height)
    seen = for_expressions(rows, table, expression.columns)
    return seen.select(expression.polars.cast(dtype)).to_series()


def _finding(rule: Rule, table: WatchedTable, row: Mapping[str, FactValue]) -> Finding:
    start = _start(row[table.time])
    value, baseline = _finite(row[_answer(_VALUE)]), _finite(row[_answer(_BASELINE)])
    return Finding(
        rule_id=rule.id,
        environment=str(row[table.environment]) if table.environment else None,
        dimensions=tuple((name, _named(row[name])) for name in table.dimensions),
        value=value,
        baseline=baseline,
        threshold=_finite(row[_answer(_THRESHOLD)]),
        delta_percent=delta_percent(value, baseline),
        window_start=start,
        window_end=start + table.width,
        facts=tuple((name, _without_nan(value)) for name, value in row.items() if name in table.schema),
    )


def delta_percent(value: float | None, baseline: float | None) -> float | None:
    """(value / baseline − 1) × 100, or None where there is nothing to compare with."""
    if value is None or baseline is None or baseline == 0:
        return None
    return _finite((value / baseline - 1) * 100)


def _answer(name: str) -> str:
    """A column's name that no mart has."""
    return f"answer: {name}"


def _named(value: FactValue) -> str:
    return "unknown" if value is None else str(value)


def _finite(value: FactValue) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _without_nan(value: FactValue) -> FactValue:
    return _finite(value) if isinstance(value, float) else value


def _start(value: FactValue) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise TypeError(f"{value!r} is no time")  # _within lets only times through
