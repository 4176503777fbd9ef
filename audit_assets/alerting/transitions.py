"""What changes in the ledger when a rule has judged; pure. Episodes are the rules' own, replayed from the facts."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audit_assets.alerting.story import Told
from audit_assets.rules.episode import Episode
from audit_assets.rules.judge import Judgement

# A window that ended longer ago opens nothing: it is history that came late.
_NEWS = timedelta(minutes=30)

CLEARED, RULE_REMOVED = "cleared", "rule_removed"


@dataclass(frozen=True, slots=True)
class Instance:
    """Whose episode it is: a rule in an environment, and the dimensions."""

    rule_id: str
    environment: str
    dimensions: tuple[tuple[str, str], ...]

    def fingerprint(self, deployment: str) -> str:
        """16 hexadecimal digits; the same for the same instance of the same deployment, for ever."""
        names = [deployment, self.environment, self.rule_id, *map(list, self.dimensions)]
        return hashlib.sha256(json.dumps(names, ensure_ascii=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one evaluation does: `opened` by instance, open ones with new figures, and resolved ones."""

    opened: tuple[tuple[Instance, Episode], ...] = ()
    updated: tuple[Told, ...] = ()
    resolved: tuple[Told, ...] = ()


def instance_of(episode: Episode) -> Instance:
    """A table of one environment is about the pipeline itself: it is live."""
    finding = episode.latest
    return Instance(finding.rule_id, finding.environment or "live", finding.dimensions)


def changes(
    known: Mapping[Instance, tuple[Told, datetime]],
    verdict: Judgement,
    width: timedelta,
    as_of: datetime,
    now: datetime,
) -> Changes:
    """`known`: the open episodes of the rule as they are on record, each with what the facts were known up to when it
    was spoken of last. `width` is how long a window of the rule is, none where it judges the moment itself; `as_of` is
    what the facts are known up to at `now`."""
    judged = {instance_of(episode): episode for episode in verdict.episodes}
    opened: list[tuple[Instance, Episode]] = []
    updated: list[Told] = []
    resolved: list[Told] = []
    for instance, episode in judged.items():
        stored = known.get(instance)
        if stored is not None and (not width or episode.since <= stored[1]):
            updated.append(_with_figures(stored[0], episode))
            continue
        if stored is not None:  # one ended and another began between two evaluations
            resolved.append(_ended(stored[0], episode.since, CLEARED))
        if episode.state == "firing" and as_of - episode.latest.window_end <= max(2 * width, _NEWS):
            opened.append((instance, episode))
    gone = [told for instance, (told, _) in known.items() if instance not in judged]
    resolved += [_ended(told, now, CLEARED) for told in gone]
    return Changes(tuple(opened), tuple(updated), tuple(resolved))


def ended(known: Iterable[Told], at: datetime, reason: str) -> tuple[Told, ...]:
    """Open episodes that end for another reason than that their rule judged them."""
    return tuple(_ended(told, at, reason) for told in known)


def begun(episode: Episode, key: str, environment: str) -> Told:
    """A new episode as it is told."""
    latest = episode.latest
    told = Told(
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
    return _with_figures(told, episode)


def _with_figures(told: Told, episode: Episode) -> Told:
    latest = episode.latest
    return replace(
        told,
        state="recovering" if episode.state == "recovering" else "firing",
        value=latest.value,
        baseline=latest.baseline,
        threshold=latest.threshold,
        delta_percent=latest.delta_percent,
        peak=episode.worst.value,
        window_start=latest.window_start,
        window_end=latest.window_end,
        way=latest.way,
    )


def _ended(told: Told, at: datetime, reason: str) -> Told:
    return replace(told, state="resolved", resolved_at=max(at, told.opened_at), resolve_reason=reason)
