"""What is on record of open episodes, read and written as values; no decision is made here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.ledger import LedgerError, alerts, evaluations, events, groups, owner
from audit_assets.alerting.story import Told
from audit_assets.alerting.transitions import Instance
from audit_assets.rules.episode import distance

_FIGURES = ("value", "baseline", "threshold", "delta_percent", "peak", "window_start", "window_end", "way")

CLOCKS_DIFFER = timedelta(minutes=5)  # of machines on one ledger, at the most


@dataclass(frozen=True, slots=True)
class OnRecord:
    """An episode as the ledger holds it. `as_of`: what the facts were known up to when it was last spoken of;
    `asked_at`: when PagerDuty was last asked who took it."""

    told: Told
    rule_id: str
    group_key: str
    as_of: datetime
    in_summary: bool
    asked_at: datetime | None = None

    @property
    def incident_key(self) -> str:
        """The dedup key under which PagerDuty knows of it."""
        return summary_key(self.group_key) if self.in_summary else self.told.key

    @property
    def instance(self) -> Instance:
        return Instance(self.rule_id, self.told.environment, self.told.dimensions)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One judging of one rule: its outcome, and what a reader needs to find the run."""

    id: str
    rule_id: str
    as_of: datetime
    window_end: datetime | None
    at: datetime
    outcome: str
    open: int
    said: str | None
    run_id: str


def summary_key(group_key: str) -> str:
    """The dedup key of the one PagerDuty alert for those episodes of a message that have none of their own."""
    return f"{group_key}/summary"


def belong_to(connection: Connection, deployment: str) -> None:
    """Makes a new ledger that of `deployment`. Raises LedgerError where it is another's: each would close what the
    other sees."""
    known = connection.execute(select(owner.c.deployment)).scalar()
    if known is None:
        connection.execute(insert(owner).values(deployment=deployment))
    elif known != deployment:
        raise LedgerError(
            f"this alert ledger is that of AI_AUDIT_ENV={known}, and not of {deployment}: give that one a ledger of "
            "its own with AI_AUDIT_LEDGER_URL"
        )


def open_episodes(connection: Connection, rule_id: str | None = None) -> list[OnRecord]:
    """Open episodes, of one rule where it is named, oldest first."""
    chosen = select(alerts).where(alerts.c.resolved_at.is_(None)).order_by(alerts.c.opened_at, alerts.c.key)
    if rule_id is not None:
        chosen = chosen.where(alerts.c.rule_id == rule_id)
    return [_on_record(row) for row in connection.execute(chosen)]


def of_group(connection: Connection, group_key: str) -> list[OnRecord]:
    """All episodes of a message, those furthest from what is usual first."""
    found = [_on_record(row) for row in connection.execute(select(alerts).where(alerts.c.group_key == group_key))]
    return sorted(found, key=_worst_first)


def _worst_first(one: OnRecord) -> tuple[bool, float, str]:
    told = one.told
    return told.state == "resolved", -distance(told.value, told.baseline, told.threshold), told.key


def next_number(connection: Connection, fingerprint: str) -> int:
    """The number of the next episode of an instance, from 1."""
    last = connection.execute(select(func.max(alerts.c.number)).where(alerts.c.fingerprint == fingerprint)).scalar()
    return (last or 0) + 1


def add(connection: Connection, one: OnRecord, *, fingerprint: str, number: int, severity: str, run_id: str) -> None:
    told = one.told
    connection.execute(
        insert(alerts).values(
            key=told.key, rule_id=one.rule_id, environment=told.environment, fingerprint=fingerprint, number=number,
            dimensions=json.dumps(dict(told.dimensions), ensure_ascii=False), state=told.state, severity=severity,
            since=told.since, opened_at=told.opened_at, group_key=one.group_key, as_of=one.as_of, run_id=run_id,
            in_summary=one.in_summary, **{name: getattr(told, name) for name in _FIGURES},
        )
    )  # fmt: skip


def renew(connection: Connection, told: Told, as_of: datetime) -> None:
    """The state and figures of an episode as they are now."""
    values = {name: getattr(told, name) for name in _FIGURES}
    ended = {"resolved_at": told.resolved_at, "resolve_reason": told.resolve_reason}
    connection.execute(
        update(alerts).where(alerts.c.key == told.key).values(state=told.state, as_of=as_of, **ended, **values)
    )


def note(connection: Connection, told: Told, kind: str, evaluation: Evaluation, said: str | None = None) -> None:
    """Appends what happened to an episode; the same of the same evaluation is not written twice."""
    same = (events.c.key == told.key, events.c.kind == kind, events.c.evaluation == evaluation.id)
    if connection.execute(select(events.c.id).where(*same)).first():
        return
    values = {"at": evaluation.at, "value": told.value, "said": said, "run_id": evaluation.run_id}
    connection.execute(insert(events).values(key=told.key, kind=kind, evaluation=evaluation.id, **values))


def acknowledge(connection: Connection, key: str, at: datetime, by: str) -> bool:
    """Writes down who took an episode, and when (UTC), with the event of it; False where that is on record already."""
    free = (alerts.c.key == key, alerts.c.acknowledged_at.is_(None))
    if connection.execute(update(alerts).where(*free).values(acknowledged_at=at, acknowledged_by=by)).rowcount == 0:
        return False
    # No evaluation told of it, and no run: PagerDuty did.
    values = {"evaluation": "pagerduty", "at": at, "said": f"by {by}", "run_id": ""}
    connection.execute(insert(events).values(key=key, kind="acknowledged", **values))
    return True


def last_evaluation(connection: Connection, rule_id: str, now: datetime) -> Row[Any] | None:
    """The newest evaluation of a rule that counted."""
    mine = (evaluations.c.rule_id == rule_id, evaluations.c.outcome.in_(("judged", "not_ready")), _not_ahead(now))
    newest = (evaluations.c.as_of.desc(), evaluations.c.at.desc())
    return connection.execute(select(evaluations).where(*mine).order_by(*newest).limit(1)).first()


def failures_in_a_row(connection: Connection, rule_id: str, at_most: int, now: datetime) -> int:
    """How many of the newest evaluations of a rule failed without another between them, counted up to `at_most`."""
    chosen = select(evaluations.c.outcome).where(evaluations.c.rule_id == rule_id, _not_ahead(now))
    newest = connection.execute(chosen.order_by(evaluations.c.at.desc()).limit(at_most)).scalars().all()
    return next((number for number, outcome in enumerate(newest) if outcome != "failed"), len(newest))


def last_judged(connection: Connection, now: datetime) -> datetime | None:
    """When any rule was judged last (UTC), well or not."""
    return connection.execute(select(func.max(evaluations.c.at)).where(_not_ahead(now))).scalar()


def _not_ahead(now: datetime) -> ColumnElement[bool]:
    """What a clock that was wrong has dated into the future would make all that follows look old."""
    return evaluations.c.at <= now + CLOCKS_DIFFER


def is_known(connection: Connection, evaluation_id: str) -> bool:
    return connection.execute(select(evaluations.c.id).where(evaluations.c.id == evaluation_id)).first() is not None


def keep(connection: Connection, evaluation: Evaluation) -> None:
    fields = ("id", "rule_id", "as_of", "window_end", "at", "outcome", "open", "said", "run_id")
    connection.execute(insert(evaluations).values({name: getattr(evaluation, name) for name in fields}))


def forget_evaluations(connection: Connection, before: datetime) -> int:
    """Drops evaluations from before that moment (UTC), but for the newest of each rule; how many."""
    later = evaluations.alias("later")
    has_later = select(later.c.id).where(later.c.rule_id == evaluations.c.rule_id, later.c.at > evaluations.c.at)
    return connection.execute(delete(evaluations).where(evaluations.c.at < before, has_later.exists())).rowcount


def open_group(connection: Connection, rule_id: str, environment: str, since: datetime) -> str | None:
    """The message of this rule and environment that began at `since` or later and is not over, the newest first."""
    is_open = select(alerts.c.key).where(alerts.c.group_key == groups.c.key, alerts.c.resolved_at.is_(None)).exists()
    mine = (groups.c.rule_id == rule_id, groups.c.environment == environment, groups.c.opened_at >= since)
    return connection.execute(
        select(groups.c.key).where(*mine, is_open).order_by(groups.c.opened_at.desc()).limit(1)
    ).scalar()


def add_group(
    connection: Connection, key: str, rule_id: str, environment: str, at: datetime, rule: Mapping[str, Any]
) -> None:
    if connection.execute(select(groups.c.key).where(groups.c.key == key)).first() is None:
        values = {"environment": environment, "opened_at": at, "rule": json.dumps(rule)}
        connection.execute(insert(groups).values(key=key, rule_id=rule_id, **values))


def rule_of_group(connection: Connection, key: str) -> Mapping[str, Any]:
    return json.loads(connection.execute(select(groups.c.rule).where(groups.c.key == key)).scalar_one())


def _on_record(row: Row[Any]) -> OnRecord:
    told = Told(
        key=row.key, environment=row.environment, dimensions=tuple(json.loads(row.dimensions).items()),
        state=row.state, since=row.since, opened_at=row.opened_at, resolved_at=row.resolved_at,
        resolve_reason=row.resolve_reason, acknowledged_at=row.acknowledged_at, acknowledged_by=row.acknowledged_by,
        **{name: getattr(row, name) for name in _FIGURES},
    )  # fmt: skip
    return OnRecord(told, row.rule_id, row.group_key, row.as_of, row.in_summary, row.acknowledgement_asked_at)
