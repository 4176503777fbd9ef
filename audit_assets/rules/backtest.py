"""How often a rule would have fired: its episodes over history, as counts a week; pure, and judged as it is live."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

import polars as pl

from audit_assets.rules.answers import END, START, answers
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.episode import Episode
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import replay
from audit_assets.rules.model import JudgeBy, Rule

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """One instance (environment and dimensions) over history: the `days` judged up to `until` (UTC), and the episodes
    that opened, in order."""

    instance: tuple[str, ...]
    days: float
    until: datetime
    episodes: tuple[Episode, ...]

    @property
    def alerts_a_week(self) -> float:
        return len(self.episodes) / self.days * 7 if self.days else 0.0

    def end_of(self, episode: Episode) -> datetime:
        """When it resolved; where it did not, `until`."""
        return min(episode.resolved_at or self.until, self.until)

    @property
    def longest(self) -> timedelta:
        """The longest episode, one still open counted up to `until`."""
        return max((self.end_of(episode) - episode.since for episode in self.episodes), default=timedelta())


@dataclass(frozen=True, slots=True)
class History:
    """A rule in one of its forms over history, instance by instance. Times are UTC; weekends are the calendar's."""

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
        """Days judged, of an instance on average."""
        return fmean(instance.days for instance in self.instances) if self.instances else 0.0

    @property
    def alerts_a_week(self) -> float:
        """Alerts a week and instance."""
        judged = sum(instance.days for instance in self.instances)
        return self.alerts / judged * 7 if judged else 0.0

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
    """What `rule` would have done over `facts` up to `until` (UTC); episodes that opened before `since` are left out.
    `width` is that of a row where it is not the watched table's own.

    Raises RuleError where the facts do not fit the rule.
    """
    table = TABLES[rule.watch]
    judged = rule.model_copy(update={"judge_by": form})
    told = answers(judged, facts, until, calendar, width)
    by_instance: dict[tuple[str, ...], list[Episode]] = {}
    for episode in replay(judged, told, until):
        if since is None or (episode.opened_at is not None and episode.opened_at > since):
            by_instance.setdefault(episode.latest.instance, []).append(episode)
    counted = told.filter(pl.col(END) > since) if since is not None else told
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


def _spans(told: pl.DataFrame, grain: list[str]) -> dict[tuple[str, ...], tuple[float, datetime]]:
    """Instance → days between its first and its last judged window, and that one's end."""
    span = (pl.col(END).max() - pl.col(START).min()).dt.total_seconds() / 86_400
    grouped = told.group_by(grain or pl.lit(0), maintain_order=True).agg(span.alias("days"), pl.col(END).max())
    return {tuple(_text(row[name]) for name in grain): (row["days"], row[END]) for row in grouped.iter_rows(named=True)}


def _text(value: object) -> str:
    return "unknown" if value is None else str(value)


def _weekend_share(opened: Iterable[datetime], timezone: str) -> float | None:
    """The share of moments that fall on a Saturday or Sunday of `timezone`; 2/7 is none's fault."""
    days = [moment.astimezone(ZoneInfo(timezone)).weekday() >= 5 for moment in opened]
    return sum(days) / len(days) if days else None


def as_block(ours: History, literal: History | None, data: str, measured: date) -> str:
    """The `backtest:` block of the rule's file, ready to be pasted."""
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
