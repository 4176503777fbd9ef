"""Facts and a rule to episodes. No clock, no files, no network: rows and the moment they stand for come in."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from audit_assets.rules.answers import BASELINE, END, FIRES, HELD_BACK, HOLDS, START, THRESHOLD, VALUE, WAY, answers
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.episode import Episode, Finding, Step, advance
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.rules.rows import RuleError

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says at its newest window: open episodes worst first, and how many rows it could judge, could not
    judge, and did not count because of a gate. `not_ready` names the rules whose firing keeps this one from being
    believed: its episodes stay as they are."""

    rule_id: str
    episodes: tuple[Episode, ...]
    judged: int
    unjudgeable: int
    held_back: int
    window_start: datetime
    window_end: datetime
    not_ready: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The newest firing window of each open episode, worst first."""
        return tuple(episode.latest for episode in self.episodes)


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that could not judge at all. Never read as recovery."""

    rule_id: str
    message: str


Verdict = Judgement | Failure


def judge_all(
    rule_set: RuleSet, facts: Mapping[str, pl.DataFrame], as_of: datetime, calendar: BusinessCalendar
) -> tuple[Verdict, ...]:
    """One verdict a rule file, by id; a rule that cannot judge fails alone. `facts`: table to rows."""
    verdicts: dict[str, Verdict] = {broken.id: Failure(broken.id, broken.message) for broken in rule_set.broken}
    for rule in rule_set.rules:
        try:
            if rule.watch not in facts:
                raise RuleError(f"{rule.id}: there is no {rule.watch} to judge; build the models first")
            verdicts[rule.id] = judge(rule, facts[rule.watch], as_of, calendar)
        except RuleError as error:
            verdicts[rule.id] = Failure(rule.id, str(error))
    firing = {name for name, verdict in verdicts.items() if isinstance(verdict, Judgement) and verdict.episodes}
    for rule in rule_set.rules:
        verdict = verdicts[rule.id]
        in_the_way = tuple(name for name in rule.inhibited_by if name in firing)
        if in_the_way and isinstance(verdict, Judgement):
            verdicts[rule.id] = replace(verdict, not_ready=in_the_way)
    return tuple(verdicts[name] for name in sorted(verdicts))


def judge(rule: Rule, facts: pl.DataFrame, as_of: datetime, calendar: BusinessCalendar) -> Judgement:
    """What `rule` says at `as_of` (UTC), the moment up to which `facts` are known: rows whose window is over by then
    are judged. Raises RuleError on a missing column, one of another kind, or two rows for one instance and window.
    """
    told = answers(rule, facts, as_of, calendar)
    newest = _newest(told, rule, as_of)
    episodes = [episode for episode in replay(rule, told, as_of) if episode.is_open]
    episodes.sort(key=_worst_first)
    unjudgeable = newest.get_column(FIRES).null_count()
    width = TABLES[rule.watch].width
    return Judgement(
        rule_id=rule.id,
        episodes=tuple(episodes),
        judged=newest.height - unjudgeable,
        unjudgeable=unjudgeable,
        held_back=int(newest.get_column(HELD_BACK).sum()),
        window_start=_edge(newest, START, "min", as_of - width),
        window_end=_edge(newest, END, "max", as_of),
    )


def _newest(told: pl.DataFrame, rule: Rule, as_of: datetime) -> pl.DataFrame:
    """The answers of the newest window of all instances; of both days where the running one is judged."""
    width = TABLES[rule.watch].width
    last = told.get_column(START).max() if told.height else None
    if not isinstance(last, datetime):
        return told
    back = width if rule.window == "running_and_last_closed_day" and last + width > as_of else timedelta()
    return told.filter(pl.col(START) >= last - back)


def _edge(newest: pl.DataFrame, column: str, edge: str, otherwise: datetime) -> datetime:
    found = getattr(newest.get_column(column), edge)() if newest.height else None
    return found if isinstance(found, datetime) else otherwise


def _worst_first(episode: Episode) -> tuple[float, str, tuple[tuple[str, str], ...]]:
    finding = episode.latest
    return -finding.badness, finding.environment or "", finding.dimensions


def replay(rule: Rule, told: pl.DataFrame, as_of: datetime) -> list[Episode]:
    """Every episode of `rule` over its answers, instance by instance; the last of an instance may still be open.

    Nothing happens on steps where nothing fires and no episode is there: they are skipped, so that two years of fifty
    capabilities cost what their episodes cost.
    """
    firing = told.get_column(FIRES).fill_null(False).arg_true().to_list()
    rows = _Rows(rule, told, as_of)
    episodes: list[Episode] = []
    walked = 0
    for first in firing:
        if first < walked:
            continue
        episode: Episode | None = None
        for after, step in rows.steps_from(first):
            walked = after
            episode = advance(episode, step, rule.terms)
            if episode is None or episode.state == "resolved":
                break
        if episode is not None and episode.opened_at is not None:
            episodes.append(episode)
    return episodes


class _Rows:
    """The answers as steps of an instance; built where they are asked for."""

    def __init__(self, rule: Rule, told: pl.DataFrame, as_of: datetime) -> None:
        self._rule, self._table, self._told, self._as_of = rule, TABLES[rule.watch], told, as_of
        # Arrays, and no lists of Python's own: two years of fifty capabilities are 3.5 million rows.
        self._fires = told.get_column(FIRES).cast(pl.Int8).fill_null(-1).to_numpy()
        self._holds = told.get_column(HOLDS).to_numpy()
        self._ends = told.get_column(END).dt.epoch("us").to_numpy()
        self._width = told.select((pl.col(END) - pl.col(START)).first()).item() or timedelta()
        grain = self._table.grain
        self._instance = told.select(pl.struct(grain).rle_id()).to_series().to_numpy() if grain else None

    def steps_from(self, first: int) -> Iterator[tuple[int, Step]]:
        """The steps of one instance from row `first` on, each with the number of the row after it."""
        width, at = self._width // _MICROSECOND, first
        while at < len(self._fires) and self._same(at, first):
            if at > first and self._ends[at] - self._ends[at - 1] > width:
                yield from ((at, step) for step in self._absent(self._end(at - 1), self._end(at) - self._width))
            end, fires = self._end(at), None if self._fires[at] < 0 else bool(self._fires[at])
            if not fires and end > self._as_of:  # a running day can only grow: not firing yet is no recovery
                fires = None
            yield at + 1, Step(end, fires, bool(self._holds[at]), self._finding(at) if fires else None)
            at += 1
        yield from ((at, step) for step in self._absent(self._end(at - 1), self._as_of))

    def _same(self, at: int, first: int) -> bool:
        return self._instance is None or bool(self._instance[at] == self._instance[first])

    def _end(self, at: int) -> datetime:
        return _EPOCH + timedelta(microseconds=int(self._ends[at]))

    def _absent(self, after: datetime, until: datetime) -> Iterator[Step]:
        """Steps for which there is no row at all, where the rule says that this is well: the first and the last of
        them are enough to let an episode run out."""
        width = self._width
        if self._rule.no_data != "ok" or not width:
            return
        last = after + (until - after) // width * width
        for end in sorted({after + width, last}):
            if after < end <= until:
                yield Step(end, False)

    def _finding(self, at: int) -> Finding:
        row = self._told.row(at, named=True)
        value, baseline = _finite(row[VALUE]), _finite(row[BASELINE])
        return Finding(
            rule_id=self._rule.id,
            environment=str(row[self._table.environment]) if self._table.environment else None,
            dimensions=tuple((name, _named(row[name])) for name in self._table.dimensions),
            value=value,
            baseline=baseline,
            threshold=_finite(row[THRESHOLD]),
            delta_percent=delta_percent(value, baseline),
            window_start=row[START],
            window_end=row[END],
            way=row[WAY],
        )


def delta_percent(value: float | None, baseline: float | None) -> float | None:
    """(value / baseline − 1) × 100, or None where there is nothing to compare with."""
    if value is None or baseline is None or baseline == 0:
        return None
    return _finite((value / baseline - 1) * 100)


def _named(value: object) -> str:
    return "unknown" if value is None else str(value)


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
