"""Episodes: the state machine of one rule and instance; pure, and the same live and in a backtest.

none → pending → firing → recovering → resolved. Steps are windows of the watched table, not pipeline runs: how often
the pipeline ran changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

State = Literal["pending", "firing", "recovering", "resolved"]


@dataclass(frozen=True, slots=True)
class ForClause:
    """When an episode opens and closes: after `fires_in` of the last `of` steps, and `keep_firing` after the last."""

    fires_in: int = 1
    of: int = 1
    keep_firing: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that violates a rule. Times are UTC; the window is [start, end) and may still be running."""

    rule_id: str
    environment: str | None  # None if the watched table has only one environment
    dimensions: tuple[tuple[str, str], ...]
    value: float | None
    baseline: float | None
    threshold: float | None
    delta_percent: float | None  # (value / baseline − 1) × 100; None without a baseline, or one of zero
    window_start: datetime
    window_end: datetime
    condition: str = ""  # the name of the condition that holds; the rule's own has no name

    @property
    def instance(self) -> tuple[str, ...]:
        """The row's instance: the environment if the table has more than one, and the dimensions."""
        environment = () if self.environment is None else (self.environment,)
        return (*environment, *(value for _, value in self.dimensions))

    def dimension(self, name: str) -> str:
        return dict(self.dimensions).get(name, "")

    @property
    def deviation(self) -> float:
        """The absolute distance of the value from its baseline, up or down, in the unit of the value.

        A distance, not a ratio: three calls with a baseline of zero are not worse than a thousand too many.
        """
        return distance(self.value, self.baseline, self.threshold)


def distance(value: float | None, baseline: float | None, threshold: float | None) -> float:
    """The distance of `value` from its baseline, or from the threshold without one; 0 if either is unknown."""
    usual = baseline if baseline is not None else threshold
    return abs(value - usual) if value is not None and usual is not None else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluated window of an instance; `at` is its end (UTC). `fires` is None if it cannot be judged. `holds`: it
    does not fire, but does not satisfy `clears_when` either."""

    at: datetime
    fires: bool | None
    holds: bool = False
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """One firing period of an instance, from open to resolved. `since` is the start of the first window that fired,
    `opened_at` the end of the window that opened it; times are UTC."""

    state: State
    since: datetime
    at: datetime
    opened_at: datetime | None
    last_fired_at: datetime
    resolved_at: datetime | None
    recent: tuple[bool, ...]  # whether the last steps fired, newest last; at most ForClause.of of them
    latest: Finding
    worst: Finding

    @property
    def is_open(self) -> bool:
        """Whether it has opened and is not resolved."""
        return self.state in ("firing", "recovering")


def advance(episode: Episode | None, step: Step, for_clause: ForClause) -> Episode | None:
    """The episode after `step`; None if there is no episode.

    A step that is not newer than the last one is ignored. A step that cannot be judged leaves the state unchanged:
    missing data does not resolve an episode. A resolved episode is returned once; the next step starts a new one.
    """
    if episode is None or episode.state == "resolved":
        return _start(step, for_clause) if step.fires else None
    if step.at <= episode.at:
        return episode
    if step.fires is None:
        return replace(episode, at=step.at)
    recent = (*episode.recent, step.fires)[-for_clause.of :]
    if episode.state == "pending":
        return _advance_pending(episode, step, for_clause, recent)
    if step.fires:
        return _record_firing(episode, step, recent, "firing")
    if step.holds:
        return replace(episode, at=step.at, recent=recent, last_fired_at=step.at)
    over = step.at - episode.last_fired_at > for_clause.keep_firing
    return replace(
        episode,
        state="resolved" if over else "recovering",
        at=step.at,
        recent=recent,
        resolved_at=step.at if over else None,
    )


def _start(step: Step, for_clause: ForClause) -> Episode:
    assert step.finding is not None
    opens = for_clause.fires_in == 1
    return Episode(
        state="firing" if opens else "pending",
        since=step.finding.window_start,
        at=step.at,
        opened_at=step.at if opens else None,
        last_fired_at=step.at,
        resolved_at=None,
        recent=(True,),
        latest=step.finding,
        worst=step.finding,
    )


def _advance_pending(episode: Episode, step: Step, for_clause: ForClause, recent: tuple[bool, ...]) -> Episode | None:
    if not step.fires:
        still_counts = any(recent[-(for_clause.of - 1) :])  # the oldest step is dropped at the next one
        return replace(episode, at=step.at, recent=recent) if still_counts else None
    fired = _record_firing(episode, step, recent, "pending")
    return replace(fired, state="firing", opened_at=step.at) if sum(recent) >= for_clause.fires_in else fired


def _record_firing(episode: Episode, step: Step, recent: tuple[bool, ...], state: State) -> Episode:
    assert step.finding is not None
    worse = step.finding.deviation > episode.worst.deviation
    return replace(
        episode,
        state=state,
        at=step.at,
        recent=recent,
        last_fired_at=step.at,
        latest=step.finding,
        worst=step.finding if worse else episode.worst,
    )
