"""Evaluates rules against facts and returns episodes. Pure: the rows and the time they stand for are arguments."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import polars as pl

from audit_assets.rules.business_clock import BusinessCalendar
from audit_assets.rules.episode import Episode, Finding, Step, advance
from audit_assets.rules.evaluate import (
    BASELINE,
    CONDITION,
    END,
    FIRES,
    HOLDS,
    START,
    SUPPRESSED,
    THRESHOLD,
    VALUE,
    RuleError,
    evaluate,
)
from audit_assets.rules.facts import DAGSTER_TABLES, TABLES, WatchedTable
from audit_assets.rules.model import Rule, RuleSet

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of a rule at its newest window: open episodes, worst first, and how many rows were judged, could not
    be judged, and were suppressed by a gate. `not_ready` names the firing rules that inhibit this one: its episodes
    stay as they are.

    `indeterminate` are the instances (environment and dimensions) whose newest row shows neither that they fire nor
    that they are resolved. `has_facts` is false if the table has no rows at all; it is always true for asset checks and
    pipeline runs, which have a row only if they fail. `resolve_missing`: an instance without a row is resolved.
    """

    rule_id: str
    episodes: tuple[Episode, ...]
    judged: int
    unjudgeable: int
    suppressed: int
    window_start: datetime
    window_end: datetime
    not_ready: tuple[str, ...] = ()
    indeterminate: frozenset[tuple[str | None, tuple[tuple[str, str], ...]]] = frozenset()
    has_facts: bool = True
    resolve_missing: bool = True

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The newest firing window of each open episode, worst first."""
        return tuple(episode.latest for episode in self.episodes)


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that could not be evaluated. It resolves no episode."""

    rule_id: str
    message: str


RuleOutcome = RuleResult | Failure


def judge_all(
    rule_set: RuleSet,
    facts: Mapping[str, pl.DataFrame],
    as_of: datetime,
    calendar: BusinessCalendar,
    known_until: Mapping[str, datetime] = MappingProxyType({}),
) -> tuple[RuleOutcome, ...]:
    """One outcome per rule file, ordered by id. A rule that cannot be evaluated fails alone. `facts`: table → rows,
    known up to `as_of` (UTC) or, for single tables, up to the time in `known_until`."""
    outcomes: dict[str, RuleOutcome] = {broken.id: Failure(broken.id, broken.message) for broken in rule_set.broken}
    for rule in rule_set.rules:
        try:
            if rule.watch not in facts:
                raise RuleError(f"{rule.id}: {rule.watch} is missing; build the models first")
            outcomes[rule.id] = judge(rule, facts[rule.watch], known_until.get(rule.watch, as_of), calendar)
        except RuleError as error:
            outcomes[rule.id] = Failure(rule.id, str(error))
    firing = {name for name, outcome in outcomes.items() if isinstance(outcome, RuleResult) and outcome.episodes}
    for rule in rule_set.rules:
        outcome = outcomes[rule.id]
        inhibitors = tuple(name for name in rule.inhibited_by if name in firing)
        if inhibitors and isinstance(outcome, RuleResult):
            outcomes[rule.id] = replace(outcome, not_ready=inhibitors)
    return tuple(outcomes[name] for name in sorted(outcomes))


def judge(rule: Rule, facts: pl.DataFrame, as_of: datetime, calendar: BusinessCalendar) -> RuleResult:
    """The result of `rule` at `as_of` (UTC), the time up to which `facts` are known: rows whose window is over by then
    are evaluated. Raises RuleError on a missing column, a column of another type, or two rows for one instance and
    window.
    """
    evaluation = evaluate(rule, facts, as_of, calendar)
    newest = _newest(evaluation, rule, as_of)
    replayed = replay(rule, evaluation, as_of)
    episodes = [episode for episode in replayed if episode.is_open]
    resolved = {(episode.latest.environment, episode.latest.dimensions) for episode in replayed if not episode.is_open}
    has_facts = evaluation.height > 0 or rule.watch in DAGSTER_TABLES
    episodes.sort(key=_worst_first)
    unjudgeable = newest.get_column(FIRES).null_count()
    width = TABLES[rule.watch].width
    return RuleResult(
        rule_id=rule.id,
        episodes=tuple(episodes),
        judged=newest.height - unjudgeable,
        unjudgeable=unjudgeable,
        suppressed=int(newest.get_column(SUPPRESSED).sum()),
        window_start=_edge(newest, START, "min", as_of - width),
        window_end=_edge(newest, END, "max", as_of),
        indeterminate=_undecided(newest, rule) - resolved,
        has_facts=has_facts,
        resolve_missing=has_facts or rule.no_data == "ok",
    )


def _undecided(newest: pl.DataFrame, rule: Rule) -> frozenset[tuple[str | None, tuple[tuple[str, str], ...]]]:
    table = TABLES[rule.watch]
    rows = newest.filter(pl.col(FIRES).is_null() | (pl.col(HOLDS) & ~pl.col(FIRES)))
    return frozenset(
        (str(row[table.environment]) if table.environment else None, _dimensions(table, row))
        for row in rows.select(table.grain).iter_rows(named=True)
    )


def _dimensions(table: WatchedTable, row: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _named(row[name])) for name in table.dimensions)


def _newest(evaluation: pl.DataFrame, rule: Rule, as_of: datetime) -> pl.DataFrame:
    """The results of the newest window of all instances; of both days if the running day is evaluated."""
    width = TABLES[rule.watch].width
    last = evaluation.get_column(START).max() if evaluation.height else None
    if not isinstance(last, datetime):
        return evaluation
    back = width if rule.window == "running_and_last_closed_day" and last + width > as_of else timedelta()
    return evaluation.filter(pl.col(START) >= last - back)


def _edge(newest: pl.DataFrame, column: str, edge: str, otherwise: datetime) -> datetime:
    found = getattr(newest.get_column(column), edge)() if newest.height else None
    return found if isinstance(found, datetime) else otherwise


def _worst_first(episode: Episode) -> tuple[float, str, tuple[tuple[str, str], ...]]:
    finding = episode.latest
    return -finding.deviation, finding.environment or "", finding.dimensions


def replay(rule: Rule, evaluation: pl.DataFrame, as_of: datetime) -> list[Episode]:
    """Every episode of `rule` over `evaluation`, instance by instance; the last of an instance may still be open.

    Steps without a firing and without an episode change nothing. They are skipped, so that the cost over two years of
    fifty capabilities depends on the number of episodes.
    """
    firing = evaluation.get_column(FIRES).fill_null(False).arg_true().to_list()
    rows = _Rows(rule, evaluation, as_of)
    episodes: list[Episode] = []
    next_row = 0
    for first in firing:
        if first < next_row:
            continue
        episode: Episode | None = None
        for after, step in rows.steps_from(first):
            next_row = after
            episode = advance(episode, step, rule.for_clause)
            if episode is None or episode.state == "resolved":
                break
        if episode is not None and episode.opened_at is not None:
            episodes.append(episode)
    return episodes


class _Rows:
    """The rows of an evaluation as steps of an instance; each step is built on demand."""

    def __init__(self, rule: Rule, evaluation: pl.DataFrame, as_of: datetime) -> None:
        self._rule, self._table, self._evaluation, self._as_of = rule, TABLES[rule.watch], evaluation, as_of
        # Arrays instead of Python lists: two years of fifty capabilities are 3.5 million rows.
        self._fires = evaluation.get_column(FIRES).cast(pl.Int8).fill_null(-1).to_numpy()
        self._holds = evaluation.get_column(HOLDS).to_numpy()
        self._ends = evaluation.get_column(END).dt.epoch("us").to_numpy()
        self._width = evaluation.select((pl.col(END) - pl.col(START)).first()).item() or timedelta()
        grain = self._table.grain
        self._instance = evaluation.select(pl.struct(grain).rle_id()).to_series().to_numpy() if grain else None

    def steps_from(self, first: int) -> Iterator[tuple[int, Step]]:
        """The steps of one instance from row `first` on, each with the number of the row after it."""
        width, at = self._width // _MICROSECOND, first
        while at < len(self._fires) and self._same(at, first):
            if at > first and self._ends[at] - self._ends[at - 1] > width:
                yield from ((at, step) for step in self._absent(self._end(at - 1), self._end(at) - self._width))
            end, fires = self._end(at), None if self._fires[at] < 0 else bool(self._fires[at])
            if not fires and end > self._as_of:  # a running day can only grow: not firing yet resolves nothing
                fires = None
            yield at + 1, Step(end, fires, bool(self._holds[at]), self._finding(at) if fires else None)
            at += 1
        yield from ((at, step) for step in self._absent(self._end(at - 1), self._as_of))

    def _same(self, at: int, first: int) -> bool:
        return self._instance is None or bool(self._instance[at] == self._instance[first])

    def _end(self, at: int) -> datetime:
        return _EPOCH + timedelta(microseconds=int(self._ends[at]))

    def _absent(self, after: datetime, until: datetime) -> Iterator[Step]:
        """Steps without any row, if the rule's `no_data` is ok. The first and the last of them are enough to resolve
        an episode."""
        width = self._width
        if self._rule.no_data != "ok" or not width:
            return
        last = after + (until - after) // width * width
        for end in sorted({after + width, last}):
            if after < end <= until:
                yield Step(end, False)

    def _finding(self, at: int) -> Finding:
        row = self._evaluation.row(at, named=True)
        value, baseline = _finite(row[VALUE]), _finite(row[BASELINE])
        return Finding(
            rule_id=self._rule.id,
            environment=str(row[self._table.environment]) if self._table.environment else None,
            dimensions=_dimensions(self._table, row),
            value=value,
            baseline=baseline,
            threshold=_finite(row[THRESHOLD]),
            delta_percent=delta_percent(value, baseline),
            window_start=row[START],
            window_end=row[END],
            condition=row[CONDITION],
        )


def delta_percent(value: float | None, baseline: float | None) -> float | None:
    """(value / baseline − 1) × 100, or None without a baseline to compare with."""
    if value is None or baseline is None or baseline == 0:
        return None
    return _finite((value / baseline - 1) * 100)


def _named(value: object) -> str:
    return "unknown" if value is None else str(value)


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
