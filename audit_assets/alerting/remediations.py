"""Plans of remediation on record: each step in one transaction with its event, and an attempt on record before it is
sent."""

import getpass
import json
import socket
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Row, insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting import remediation
from audit_assets.alerting.ledger import Ledger, alerts, events, remediations
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.remediation import Alert, Remediation, RemediationError

_FIELDS = tuple(field.name for field in fields(Remediation))


class Remediator(Protocol):
    """Who can disable a capability: takes a document with an idempotency key."""

    def send(self, document: Any, key: str) -> Outcome: ...


def plan(connection: Connection, alert_key: str, plan_id: str, by: str, reason: str, now: datetime) -> Remediation:
    """A new plan, on record. Raises RemediationError."""
    made = remediation.planned(_alert(connection, alert_key), plan_id, by, reason, now)
    connection.execute(insert(remediations).values(**_values(made)))
    _note(
        connection, made, "remediation_planned", made.id, f"by {shown(made.planned_by)}: {shown(made.reason, 400)}", now
    )
    return made


def approve(connection: Connection, plan_id: str, by: str, now: datetime) -> Remediation:
    """The plan with its approval, on record. Raises RemediationError."""
    known = find(connection, plan_id)
    made = remediation.approved(known, _alert(connection, known.alert_key), by, now)
    _keep(connection, made)
    _note(connection, made, "remediation_approved", made.id, f"by {shown(made.approved_by or '')}", now)
    return made


def apply(ledger: Ledger, plan_id: str, by: str, remediator: Remediator, clock: Callable[[], datetime]) -> Remediation:
    """Sends an approved plan, once however many try at a time; the plan as it is then. Raises RemediationError, and
    then nothing was sent.

    That it is being sent is on record first. Whoever dies meanwhile leaves it so; after the lease it may be sent again,
    with the same key.
    """
    with ledger.transaction() as connection:
        known = find(connection, plan_id)
        begun = remediation.begun(known, _alert(connection, known.alert_key), by, clock())
        _keep(connection, begun)
        attempt = f"{begun.id}/{begun.attempts}"
        _note(connection, begun, "remediation_applying", attempt, f"by {shown(begun.applied_by or '')}", clock())
    outcome = remediator.send(remediation.request_of(begun), begun.key)
    with ledger.transaction() as connection:
        known = find(connection, begun.id)
        # Where the lease has gone to another meanwhile, that it was taken still counts, and nothing else.
        if known.outcome != "sent" and (outcome.kind == "sent" or known.attempts == begun.attempts):
            known = remediation.ended(known, outcome, clock())
            _keep(connection, known)
        kind = "remediation_applied" if outcome.kind == "sent" else "remediation_not_applied"
        _note(connection, begun, kind, attempt, f"{outcome.kind}: {shown(outcome.said, 400)}", clock())
    return known


def refusal(connection: Connection, known: Remediation, by: str, now: datetime) -> RemediationError | None:
    """Why `apply` would not send this plan; None where it would."""
    try:
        remediation.begun(known, _alert(connection, known.alert_key), by, now)
    except RemediationError as error:
        return error
    return None


def find(connection: Connection, plan_id: str) -> Remediation:
    """The plan with that id; nobody else changes it while it is being decided upon. Raises RemediationError."""
    row = connection.execute(select(remediations).where(remediations.c.id == plan_id).with_for_update()).first()
    if row is None:
        raise RemediationError(f"{shown(plan_id)}: no such plan; `audit remediate list` names them")
    return _of_row(row)


def newest(connection: Connection, at_most: int) -> list[Remediation]:
    """Plans, the newest first."""
    chosen = select(remediations).order_by(remediations.c.planned_at.desc(), remediations.c.id).limit(at_most)
    return [_of_row(row) for row in connection.execute(chosen)]


def _alert(connection: Connection, key: str) -> Alert:
    row = connection.execute(select(alerts).where(alerts.c.key == key)).first()
    if row is None:
        raise RemediationError(f"{shown(key)}: no such alert; `audit alerts list` names those that are open")
    capability = str(json.loads(row.dimensions).get("capability", ""))
    return Alert(row.key, row.rule_id, capability, row.environment, row.resolved_at)


def _keep(connection: Connection, made: Remediation) -> None:
    connection.execute(update(remediations).where(remediations.c.id == made.id).values(**_values(made)))


def _note(connection: Connection, made: Remediation, kind: str, step: str, said: str, now: datetime) -> None:
    """Among the events of the alert itself. The name is as it was given; the account that gave it is beside it."""
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    values = {"at": now, "value": None, "said": f"{made.id} {said}", "run_id": who}
    connection.execute(insert(events).values(key=made.alert_key, kind=kind, evaluation=step, **values))


def _values(made: Remediation) -> dict[str, Any]:
    return {name: getattr(made, name) for name in _FIELDS}


def _of_row(row: Row[Any]) -> Remediation:
    return Remediation(**{name: getattr(row, name) for name in _FIELDS})
