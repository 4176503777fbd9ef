"""Reads and writes of episodes, groups, events and evaluations in the ledger, as values; no decisions are made here."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.ledger.states import EvaluationOutcome, EventKind
from audit_assets.alerting.ledger.tables import LedgerError, alerts, evaluations, events, groups, owner
from audit_assets.alerting.notify.notification import AlertState
from audit_assets.alerting.notify.transitions import Instance
from audit_assets.rules.episode import distance
from audit_assets.rules.model import Rule

CLOCKS_DIFFER = timedelta(minutes=5)  # the largest tolerated clock difference between machines that share a ledger

_FIGURES = ("value", "baseline", "threshold", "delta_percent", "peak", "window_start", "window_end", "condition")
# The fields of a rule that a message needs. They are stored, in case the file is deleted before the message changes.
_SHOWN = ("id", "title", "description", "kind", "severity", "routes", "colour", "runbook", "unit", "value_is")
_IN_ONE_STATEMENT = 1000


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An episode as stored in the ledger. `as_of` is the time up to which the facts were known at its last update;
    `asked_at` is when PagerDuty was last polled for its acknowledgement."""

    alert: AlertState
    rule_id: str
    group_key: str
    as_of: datetime
    in_summary: bool
    asked_at: datetime | None = None

    @property
    def incident_key(self) -> str:
        """The dedup key of its incident at PagerDuty."""
        return summary_key(self.group_key) if self.in_summary else self.alert.key

    @property
    def instance(self) -> Instance:
        return Instance(self.rule_id, self.alert.environment, self.alert.dimensions)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one rule: its outcome, and the run it belongs to."""

    id: str
    rule_id: str
    as_of: datetime
    window_end: datetime | None
    at: datetime
    outcome: EvaluationOutcome
    open: int
    said: str | None
    run_id: str
    facts_version: int | None = None


def summary_key(group_key: str) -> str:
    """The dedup key of the PagerDuty alert that covers the episodes of a group that have no alert of their own."""
    return f"{group_key}/summary"


def claim_ledger(connection: Connection, deployment: str) -> None:
    """Assigns a new ledger to `deployment`. Raises LedgerError if it belongs to another deployment: each would close
    the other's episodes."""
    known = connection.execute(select(owner.c.deployment)).scalar()
    if known is None:
        connection.execute(insert(owner).values(deployment=deployment))
    elif known != deployment:
        raise LedgerError(
            f"this alert ledger belongs to AI_AUDIT_ENV={known}, not to {deployment}: set AI_AUDIT_LEDGER_URL to a "
            f"separate ledger for {deployment}"
        )


def open_episodes(connection: Connection, rule_id: str | None = None) -> list[StoredAlert]:
    """Open episodes, oldest first; those of one rule if `rule_id` is given."""
    chosen = select(alerts).where(alerts.c.resolved_at.is_(None)).order_by(alerts.c.opened_at, alerts.c.key)
    if rule_id is not None:
        chosen = chosen.where(alerts.c.rule_id == rule_id)
    return [_from_row(row) for row in connection.execute(chosen)]


def in_batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """`keys` in batches that any database accepts in one statement: SQLite's limit is 32,766 values."""
    for first in range(0, len(keys), _IN_ONE_STATEMENT):
        yield keys[first : first + _IN_ONE_STATEMENT]


def has_open_alerts(connection: Connection, group_key: str) -> bool:
    """Whether the group has an open episode."""
    mine = (alerts.c.group_key == group_key, alerts.c.resolved_at.is_(None))
    return connection.execute(select(alerts.c.key).where(*mine).limit(1)).first() is not None


def alerts_of_group(connection: Connection, group_key: str) -> list[StoredAlert]:
    """All episodes of a group: open ones first, and of these the largest deviation first."""
    found = [_from_row(row) for row in connection.execute(select(alerts).where(alerts.c.group_key == group_key))]
    return sorted(found, key=_worst_first)


def _worst_first(stored: StoredAlert) -> tuple[bool, float, str]:
    alert = stored.alert
    return alert.state == "resolved", -distance(alert.value, alert.baseline, alert.threshold), alert.key


def next_number(connection: Connection, fingerprint: str) -> int:
    """The number of the next episode of an instance, from 1."""
    last = connection.execute(select(func.max(alerts.c.number)).where(alerts.c.fingerprint == fingerprint)).scalar()
    return (last or 0) + 1


def add_alert(
    connection: Connection, stored: StoredAlert, *, fingerprint: str, number: int, severity: str, run_id: str
) -> None:
    alert = stored.alert
    connection.execute(
        insert(alerts).values(
            key=alert.key, rule_id=stored.rule_id, environment=alert.environment, fingerprint=fingerprint,
            number=number, dimensions=json.dumps(dict(alert.dimensions), ensure_ascii=False), state=alert.state,
            severity=severity, since=alert.since, opened_at=alert.opened_at, group_key=stored.group_key,
            as_of=stored.as_of, run_id=run_id, in_summary=stored.in_summary,
            **{name: getattr(alert, name) for name in _FIGURES},
        )
    )  # fmt: skip


def update_alert(connection: Connection, alert: AlertState, as_of: datetime) -> None:
    """Writes the state and the figures of an episode."""
    values = {name: getattr(alert, name) for name in _FIGURES}
    ended = {"resolved_at": alert.resolved_at, "resolve_reason": alert.resolve_reason}
    connection.execute(
        update(alerts).where(alerts.c.key == alert.key).values(state=alert.state, as_of=as_of, **ended, **values)
    )


def add_event(
    connection: Connection, alert: AlertState, kind: EventKind, evaluation: Evaluation, detail: str | None = None
) -> None:
    """Appends an event of an episode. The same kind of event of the same evaluation is not written twice."""
    same = (events.c.key == alert.key, events.c.kind == kind, events.c.evaluation == evaluation.id)
    if connection.execute(select(events.c.id).where(*same)).first():
        return
    values = {"at": evaluation.at, "value": alert.value, "said": detail, "run_id": evaluation.run_id}
    connection.execute(insert(events).values(key=alert.key, kind=kind, evaluation=evaluation.id, **values))


def acknowledge(connection: Connection, key: str, at: datetime, by: str) -> bool:
    """Records who acknowledged an episode, and when (UTC), with an event. Returns False if it was recorded before."""
    free = (alerts.c.key == key, alerts.c.acknowledged_at.is_(None))
    if connection.execute(update(alerts).where(*free).values(acknowledged_at=at, acknowledged_by=by)).rowcount == 0:
        return False
    # The event comes from PagerDuty, not from an evaluation or a run.
    values = {"evaluation": "pagerduty", "at": at, "said": f"by {by}", "run_id": ""}
    connection.execute(insert(events).values(key=key, kind="acknowledged", **values))
    return True


def last_evaluation(connection: Connection, rule_id: str, now: datetime) -> Evaluation | None:
    """The newest evaluation of a rule that was not ignored."""
    mine = (evaluations.c.rule_id == rule_id, evaluations.c.outcome.in_(("judged", "not_ready")), _not_ahead(now))
    known = evaluations.c
    newest = (known.facts_version.desc().nulls_last(), known.as_of.desc(), known.at.desc(), known.id)
    row = connection.execute(select(evaluations).where(*mine).order_by(*newest).limit(1)).first()
    return None if row is None else Evaluation(**{field.name: getattr(row, field.name) for field in fields(Evaluation)})


def failures_in_a_row(connection: Connection, rule_id: str, at_most: int, now: datetime) -> int:
    """The number of consecutive failures among the newest evaluations of a rule, counted up to `at_most`."""
    chosen = select(evaluations.c.outcome).where(evaluations.c.rule_id == rule_id, _not_ahead(now))
    newest = (
        connection.execute(chosen.order_by(evaluations.c.at.desc(), evaluations.c.id).limit(at_most)).scalars().all()
    )
    return next((number for number, outcome in enumerate(newest) if outcome != "failed"), len(newest))


def last_evaluated_at(connection: Connection, now: datetime) -> datetime | None:
    """When any rule was last evaluated (UTC), whether it succeeded or failed."""
    return connection.execute(select(func.max(evaluations.c.at)).where(_not_ahead(now))).scalar()


def _not_ahead(now: datetime) -> ColumnElement[bool]:
    """Excludes evaluations dated into the future by a wrong clock: all later ones would look older."""
    return evaluations.c.at <= now + CLOCKS_DIFFER


def has_evaluation(connection: Connection, evaluation_id: str) -> bool:
    return connection.execute(select(evaluations.c.id).where(evaluations.c.id == evaluation_id)).first() is not None


def add_evaluation(connection: Connection, evaluation: Evaluation) -> None:
    connection.execute(insert(evaluations).values(asdict(evaluation)))


def delete_evaluations(connection: Connection, before: datetime) -> int:
    """Deletes evaluations older than `before` (UTC), except the newest of each rule. Returns the number deleted."""
    later = evaluations.alias("later")
    has_later = select(later.c.id).where(later.c.rule_id == evaluations.c.rule_id, later.c.at > evaluations.c.at)
    return connection.execute(delete(evaluations).where(evaluations.c.at < before, has_later.exists())).rowcount


def open_group(connection: Connection, rule_id: str, environment: str, since: datetime) -> str | None:
    """The newest group of this rule and environment that was opened at `since` (UTC) or later and has open episodes."""
    is_open = select(alerts.c.key).where(alerts.c.group_key == groups.c.key, alerts.c.resolved_at.is_(None)).exists()
    mine = (groups.c.rule_id == rule_id, groups.c.environment == environment, groups.c.opened_at >= since)
    return connection.execute(
        select(groups.c.key).where(*mine, is_open).order_by(groups.c.opened_at.desc(), groups.c.key).limit(1)
    ).scalar()


def add_group(connection: Connection, key: str, rule: Rule, environment: str, at: datetime) -> None:
    if connection.execute(select(groups.c.key).where(groups.c.key == key)).first() is None:
        values = {"environment": environment, "opened_at": at}
        values["rule"] = json.dumps({name: getattr(rule, name) for name in _SHOWN})
        connection.execute(insert(groups).values(key=key, rule_id=rule.id, **values))


def rule_of_group(connection: Connection, key: str) -> Rule:
    """The rule of a group as it was when the group was added, for its messages; it never fires."""
    shown = json.loads(connection.execute(select(groups.c.rule).where(groups.c.key == key)).scalar_one())
    return stub_rule(**{**shown, "routes": tuple(shown["routes"])})


def stub_rule(**shown: Any) -> Rule:
    """A rule that a message can show, and that never fires. `shown` are the fields that messages need."""
    never_fires = {"watch": "", "per": (), "window": "now", "fires_when": "false", "value": "", "threshold": ""}
    return Rule.model_construct(None, **never_fires, **shown)


def _from_row(row: Row[Any]) -> StoredAlert:
    alert = AlertState(
        key=row.key, environment=row.environment, dimensions=tuple(json.loads(row.dimensions).items()),
        state=row.state, since=row.since, opened_at=row.opened_at, resolved_at=row.resolved_at,
        resolve_reason=row.resolve_reason, acknowledged_at=row.acknowledged_at, acknowledged_by=row.acknowledged_by,
        **{name: getattr(row, name) for name in _FIGURES},
    )  # fmt: skip
    return StoredAlert(alert, row.rule_id, row.group_key, row.as_of, row.in_summary, row.acknowledgement_asked_at)
