"""The state transitions of episodes after a rule was evaluated; pure. Each evaluation replays the episodes from the
facts."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audit_assets.alerting.ledger.states import ResolveReason
from audit_assets.alerting.notify.notification import AlertState
from audit_assets.rules.episode import Episode
from audit_assets.rules.judge import RuleResult

# A window that ended longer ago opens no episode: its data arrived late.
_MAX_AGE_TO_OPEN = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Instance:
    """What an episode belongs to: a rule, an environment and the dimensions."""

    rule_id: str
    environment: str
    dimensions: tuple[tuple[str, str], ...]

    def fingerprint(self, deployment: str) -> str:
        """16 hexadecimal digits. The same instance of the same deployment always has the same fingerprint."""
        names = [deployment, self.environment, self.rule_id, *map(list, self.dimensions)]
        return hashlib.sha256(json.dumps(names, ensure_ascii=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Changes:
    """The result of one evaluation: episodes to open, by instance; open ones with new figures; and resolved ones."""

    opened: tuple[tuple[Instance, Episode], ...] = ()
    updated: tuple[AlertState, ...] = ()
    resolved: tuple[AlertState, ...] = ()


def instance_of(episode: Episode) -> Instance:
    """The instance of an episode. A table without an environment describes the pipeline itself, which is `live`."""
    finding = episode.latest
    return Instance(finding.rule_id, finding.environment or "live", finding.dimensions)


def find_changes(
    known: Mapping[Instance, tuple[AlertState, datetime]],
    result: RuleResult,
    width: timedelta,
    as_of: datetime,
    now: datetime,
) -> Changes:
    """The changes that `result` makes to the open episodes of its rule.

    `known` holds these episodes as the ledger stores them, each with the time (UTC) up to which the facts were known
    when it was last updated. `width` is the length of the rule's window, zero if the rule evaluates the present moment.
    `as_of` is the time up to which the facts are known at `now`.
    """
    evaluated = {instance_of(episode): episode for episode in result.episodes}
    opened: list[tuple[Instance, Episode]] = []
    updated: list[AlertState] = []
    resolved: list[AlertState] = []
    for instance, episode in evaluated.items():
        stored = known.get(instance)
        if stored is not None and (not width or episode.since <= stored[1]):
            updated.append(_with_figures(stored[0], episode))
            continue
        if stored is not None:  # one episode ended and another began between two evaluations
            resolved.append(_ended(stored[0], episode.since, "cleared"))
        if episode.state == "firing" and as_of - episode.latest.window_end <= max(2 * width, _MAX_AGE_TO_OPEN):
            opened.append((instance, episode))
    unknown = {(environment or "live", dimensions) for environment, dimensions in result.indeterminate}
    cleared = [
        alert
        for instance, (alert, _) in known.items()
        if instance not in evaluated and _is_over(instance, result, unknown)
    ]
    resolved += [_ended(alert, now, "cleared") for alert in cleared]
    return Changes(tuple(opened), tuple(updated), tuple(resolved))


def _is_over(instance: Instance, result: RuleResult, unknown: Collection[object]) -> bool:
    """Whether an episode that is not in the result is over. No rows, or a row without a figure, are no recovery."""
    return result.resolve_missing and (instance.environment, instance.dimensions) not in unknown


def resolve_alerts(known: Iterable[AlertState], at: datetime, reason: ResolveReason) -> tuple[AlertState, ...]:
    """`known`, resolved at `at` (UTC) for `reason`: something else than an evaluation of their rule."""
    return tuple(_ended(alert, at, reason) for alert in known)


def new_alert(episode: Episode, key: str, environment: str) -> AlertState:
    """The state of a new episode."""
    latest = episode.latest
    alert = AlertState(
        key=key,
        environment=environment,
        dimensions=latest.dimensions,
        state="firing",
        since=episode.since,
        opened_at=episode.opened_at or episode.at,
        resolved_at=None,
        resolve_reason=None,
        value=None,
        baseline=None,
        threshold=None,
        delta_percent=None,
        peak=None,
        window_start=latest.window_start,
        window_end=latest.window_end,
    )
    return _with_figures(alert, episode)


def _with_figures(alert: AlertState, episode: Episode) -> AlertState:
    latest = episode.latest
    return replace(
        alert,
        state="recovering" if episode.state == "recovering" else "firing",
        value=latest.value,
        baseline=latest.baseline,
        threshold=latest.threshold,
        delta_percent=latest.delta_percent,
        peak=episode.worst.value,
        window_start=latest.window_start,
        window_end=latest.window_end,
        condition=latest.condition,
    )


def _ended(alert: AlertState, at: datetime, reason: ResolveReason) -> AlertState:
    return replace(alert, state="resolved", resolved_at=max(at, alert.opened_at), resolve_reason=reason)
