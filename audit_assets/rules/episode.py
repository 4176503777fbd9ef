"""Episodes: what becomes of one rule and instance from step to step; pure, and the same live and in a backtest.

none → pending → firing → recovering → resolved. Steps are windows of the watched table, not batches: how often the
pipeline ran changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

State = Literal["pending", "firing", "recovering", "resolved"]


@dataclass(frozen=True, slots=True)
class Terms:
    """When an episode opens and closes: `fires_in` of the last `of` steps, and how long it is kept firing."""

    fires_in: int = 1
    of: int = 1
    keep_firing: timedelta = timedelta()


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
    way: str = ""  # which of the rule's conditions holds; its own has no name

    @property
    def instance(self) -> tuple[str, ...]:
        """Whose row it is: the environment where the table holds more than one, and the dimensions."""
        environment = () if self.environment is None else (self.environment,)
        return (*environment, *(value for _, value in self.dimensions))

    def dimension(self, name: str) -> str:
        return dict(self.dimensions).get(name, "")

    @property
    def badness(self) -> float:
        """How far the value is from what is usual, up or down; in calls, the ones too many or too few.

        A distance and no ratio: three calls where usually there are none are no worse than a thousand too many.
        """
        return distance(self.value, self.baseline, self.threshold)


def distance(value: float | None, baseline: float | None, threshold: float | None) -> float:
    """How far `value` is from its baseline, or from the threshold where there is none; 0 where it cannot be said."""
    usual = baseline if baseline is not None else threshold
    return abs(value - usual) if value is not None and usual is not None else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One judged window of an instance, `at` its end (UTC). `fires` None: it cannot say. `holds`: it does not fire, but
    does not satisfy `clears_when` either."""

    at: datetime
    fires: bool | None
    holds: bool = False
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """One firing of an instance from open to close. `since` is the start of the first window that fired, `opened_at`
    the end of the window with which it opened; times are UTC."""

    state: State
    since: datetime
    at: datetime
    opened_at: datetime | None
    last_fired_at: datetime
    resolved_at: datetime | None
    recent: tuple[bool, ...]  # whether the last steps fired, newest last; as many as the terms look at
    latest: Finding
    worst: Finding

    @property
    def is_open(self) -> bool:
        """It has been told of, and is not over."""
        return self.state in ("firing", "recovering")


def advance(episode: Episode | None, step: Step, terms: Terms) -> Episode | None:
    """The episode after `step`; None where there is nothing to follow.

    A step not newer than the last one is ignored. One that cannot say leaves the state as it is: no data is no
    recovery. A resolved episode is given back once; the next step begins anew.
    """
    if episode is None or episode.state == "resolved":
        return _begun(step, terms) if step.fires else None
    if step.at <= episode.at:
        return episode
    if step.fires is None:
        return replace(episode, at=step.at)
    recent = (*episode.recent, step.fires)[-terms.of :]
    if episode.state == "pending":
        return _pending(episode, step, terms, recent)
    if step.fires:
        return _fired(episode, step, recent, "firing")
    if step.holds:
        return replace(episode, at=step.at, recent=recent, last_fired_at=step.at)
    over = step.at - episode.last_fired_at > terms.keep_firing
    return replace(
        episode,
        state="resolved" if over else "recovering",
        at=step.at,
        recent=recent,
        resolved_at=step.at if over else None,
    )


def _begun(step: Step, terms: Terms) -> Episode:
    assert step.finding is not None
    opens = terms.fires_in == 1
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


def _pending(episode: Episode, step: Step, terms: Terms, recent: tuple[bool, ...]) -> Episode | None:
    if not step.fires:
        counts_still = any(recent[-(terms.of - 1) :])  # the oldest has left by the next step
        return replace(episode, at=step.at, recent=recent) if counts_still else None
    fired = _fired(episode, step, recent, "pending")
    return replace(fired, state="firing", opened_at=step.at) if sum(recent) >= terms.fires_in else fired


def _fired(episode: Episode, step: Step, recent: tuple[bool, ...], state: State) -> Episode:
    assert step.finding is not None
    worse = step.finding.badness > episode.worst.badness
    return replace(
        episode,
        state=state,
        at=step.at,
        recent=recent,
        last_fired_at=step.at,
        latest=step.finding,
        worst=step.finding if worse else episode.worst,
    )


def followed(steps: Iterable[Step], terms: Terms) -> list[Episode]:
    """The episodes that opened over `steps` of one instance, in order; the last one may be pending or still open."""
    told: list[Episode] = []
    episode: Episode | None = None
    for step in steps:
        episode = advance(episode, step, terms)
        if episode is not None and episode.state == "resolved":
            told.append(episode)
    if episode is not None and episode.state != "resolved":
        told.append(episode)
    return told
