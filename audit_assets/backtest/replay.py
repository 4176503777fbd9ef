"""Backtests a rule: its episodes over history and the alerts per week. Pure, with the same evaluation as live."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

import polars as pl

from audit_assets.rules.business_clock import BusinessCalendar
from audit_assets.rules.episode import Episode
from audit_assets.rules.evaluate import END, START, evaluate
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import replay
from audit_assets.rules.model import JudgeBy, Rule


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """One instance (environment and dimensions) over history: the number of `days` evaluated up to `until` (UTC), and
    the episodes that opened, in order."""

    instance: tuple[str, ...]
    days: float
    until: datetime
    episodes: tuple[Episode, ...]

    @property
    def alerts_a_week(self) -> float:
        return len(self.episodes) / self.days * 7 if self.days else 0.0

    def end_of(self, episode: Episode) -> datetime:
        """When the episode resolved (UTC), or `until` if it did not."""
        return min(episode.resolved_at or self.until, self.until)

    @property
    def longest(self) -> timedelta:
        """The duration of the longest episode; an open episode counts up to `until`."""
        return max((self.end_of(episode) - episode.since for episode in self.episodes), default=timedelta())


@dataclass(frozen=True, slots=True)
class History:
    """One form of a rule over history, by instance. Times are UTC; weekends are those of the calendar's time zone."""

    rule_id: str
    form: JudgeBy
    first: datetime | None
    until: datetime
    instances: tuple[InstanceHistory, ...]
    weekend_share: float | None

    @property
    def alerts(self) -> int:
        return sum(len(instance.episodes) for instance in self.instances)

    @property
    def days(self) -> float:
        """Days evaluated, averaged over the instances."""
        return fmean(instance.days for instance in self.instances) if self.instances else 0.0

    @property
    def alerts_a_week(self) -> float:
        """Alerts per week and instance."""
        days = sum(instance.days for instance in self.instances)
        return self.alerts / days * 7 if days else 0.0

    @property
    def longest(self) -> timedelta:
        return max((instance.longest for instance in self.instances), default=timedelta())

    @property
    def episodes(self) -> Iterator[Episode]:
        return (episode for instance in self.instances for episode in instance.episodes)


def backtest(
    rule: Rule,
    facts: pl.DataFrame,
    until: datetime,
    calendar: BusinessCalendar,
    form: JudgeBy = "fires_when",
    since: datetime | None = None,
    width: timedelta | None = None,
) -> History:
    """Replays `rule` over `facts` up to `until` (UTC), without episodes that opened before `since` (UTC). `width` is
    the length of a row's window if it is not the watched table's own.

    Raises RuleError if the facts do not fit the rule.
    """
    table = TABLES[rule.watch]
    tested = rule.model_copy(update={"judge_by": form})
    evaluation = evaluate(tested, facts, until, calendar, width)
    by_instance: dict[tuple[str, ...], list[Episode]] = {}
    for episode in replay(tested, evaluation, until):
        if since is None or (episode.opened_at is not None and episode.opened_at > since):
            by_instance.setdefault(episode.latest.instance, []).append(episode)
    counted = evaluation.filter(pl.col(END) > since) if since is not None else evaluation
    spans = _spans(counted, list(table.grain))
    instances = tuple(
        InstanceHistory(name, days, ended, tuple(by_instance.get(name, ())))
        for name, (days, ended) in sorted(spans.items())
    )
    first = counted.get_column(START).min() if counted.height else None
    opened = [episode.opened_at for episodes in by_instance.values() for episode in episodes if episode.opened_at]
    return History(
        rule.id,
        form,
        first if isinstance(first, datetime) else None,
        until,
        instances,
        _weekend_share(opened, calendar.timezone),
    )


@dataclass(frozen=True)
class Backtested:
    """A rule over history: the result of its own condition, and of the playbook's literal form if it has one."""

    rule: Rule
    ours: History
    literal: History | None


@dataclass(frozen=True)
class Span:
    """The data to judge: facts up to `until`, episodes from `since` on (UTC). `width` is the step's width if it is not
    the table's."""

    facts: Mapping[str, pl.DataFrame]
    until: datetime
    since: datetime | None
    width: timedelta | None
    calendar: BusinessCalendar
    data: str


def backtest_forms(rule: Rule, span: Span) -> Backtested:
    """Replays both forms of `rule` over `span`. Raises RuleError if the facts do not fit the rule."""

    def run(form: JudgeBy) -> History:
        return backtest(rule, span.facts[rule.watch], span.until, span.calendar, form, span.since, span.width)

    return Backtested(rule, run("fires_when"), run("literal") if rule.literal is not None else None)


def _spans(evaluation: pl.DataFrame, grain: list[str]) -> dict[tuple[str, ...], tuple[float, datetime]]:
    """Instance → days from its first to its last evaluated window, and the end of the last one."""
    span = (pl.col(END).max() - pl.col(START).min()).dt.total_seconds() / 86_400
    grouped = evaluation.group_by(grain or pl.lit(0), maintain_order=True).agg(span.alias("days"), pl.col(END).max())
    return {tuple(_text(row[name]) for name in grain): (row["days"], row[END]) for row in grouped.iter_rows(named=True)}


def _text(value: object) -> str:
    return "unknown" if value is None else str(value)


def _weekend_share(opened: Iterable[datetime], timezone: str) -> float | None:
    """The share of times on a Saturday or Sunday of `timezone`; 2/7 is expected by chance."""
    days = [moment.astimezone(ZoneInfo(timezone)).weekday() >= 5 for moment in opened]
    return sum(days) / len(days) if days else None


def backtest_yaml(ours: History, literal: History | None, data: str, measured: date) -> str:
    """The `backtest:` block to paste into the rule's file."""
    lines = [
        "backtest:",
        f"  measured: {measured.isoformat()}",
        f"  data: {json.dumps(data)}",
        f"  series: {max(len(ours.instances), 1)}",
        f"  days: {ours.days:.0f}",
        f"  alerts_a_week: {ours.alerts_a_week:.2f}",
    ]
    if literal is not None:
        lines.append(f"  literal_alerts_a_week: {literal.alerts_a_week:.2f}")
    return "\n".join(lines)
