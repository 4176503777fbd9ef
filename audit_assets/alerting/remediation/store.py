"""Stores remediation plans: each step in one transaction with its event, and an attempt before it is sent."""

import getpass
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Row, insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.alerting.ledger.states import EventKind
from audit_assets.alerting.ledger.tables import Ledger, alerts, events, remediations
from audit_assets.alerting.remediation import lifecycle
from audit_assets.alerting.remediation.lifecycle import Alert, Remediation, RemediationError
from audit_assets.text.sanitize import escape

_FIELDS = tuple(field.name for field in fields(Remediation))


class Remediator(Protocol):
    """A client that can disable a capability: sends a document with an idempotency key."""

    def send(self, document: Mapping[str, str], key: str) -> Outcome: ...


def plan(connection: Connection, alert_key: str, plan_id: str, by: str, reason: str, now: datetime) -> Remediation:
    """Makes and stores a plan. Raises RemediationError."""
    remediation = lifecycle.make_plan(_alert(connection, alert_key), plan_id, by, reason, now)
    connection.execute(insert(remediations).values(asdict(remediation)))
    _add_event(
        connection,
        remediation,
        "remediation_planned",
        remediation.id,
        f"by {escape(remediation.planned_by)}: {escape(remediation.reason, 400)}",
        now,
    )
    return remediation


def approve(connection: Connection, plan_id: str, by: str, now: datetime) -> Remediation:
    """Approves a plan and stores the approval. Raises RemediationError."""
    known = find(connection, plan_id)
    remediation = lifecycle.approve_plan(known, _alert(connection, known.alert_key), by, now)
    _update(connection, remediation)
    _add_event(
        connection,
        remediation,
        "remediation_approved",
        remediation.id,
        f"by {escape(remediation.approved_by or '')}",
        now,
    )
    return remediation


def apply(ledger: Ledger, plan_id: str, by: str, remediator: Remediator, clock: Callable[[], datetime]) -> Remediation:
    """Sends an approved plan, once even if several processes try, and returns the plan afterwards. Raises
    RemediationError, and then nothing was sent.

    The attempt is stored before it is sent. If the process dies, the plan may be sent again with the same key once the
    lease has expired.
    """
    with ledger.transaction() as connection:
        known = find(connection, plan_id)
        begun = lifecycle.begin_attempt(known, _alert(connection, known.alert_key), by, clock())
        _update(connection, begun)
        attempt = f"{begun.id}/{begun.attempts}"
        _add_event(connection, begun, "remediation_applying", attempt, f"by {escape(begun.applied_by or '')}", clock())
    outcome = remediator.send(lifecycle.request_body(begun), begun.key)
    with ledger.transaction() as connection:
        known = find(connection, begun.id)
        # If another process has the lease meanwhile, only the outcome `sent` of this attempt still counts.
        if known.outcome != "sent" and (outcome.kind == "sent" or known.attempts == begun.attempts):
            known = lifecycle.end_attempt(known, outcome, clock())
            _update(connection, known)
        kind: EventKind = "remediation_applied" if outcome.kind == "sent" else "remediation_not_applied"
        _add_event(connection, begun, kind, attempt, f"{outcome.kind}: {escape(outcome.detail, 400)}", clock())
    return known


def why_not_applicable(connection: Connection, known: Remediation, by: str, now: datetime) -> RemediationError | None:
    """Why `apply` would not send this plan; None if it would."""
    try:
        lifecycle.begin_attempt(known, _alert(connection, known.alert_key), by, now)
    except RemediationError as error:
        return error
    return None


def find(connection: Connection, plan_id: str) -> Remediation:
    """The plan with that id; locked until the transaction ends. Raises RemediationError."""
    row = connection.execute(select(remediations).where(remediations.c.id == plan_id).with_for_update()).first()
    if row is None:
        raise RemediationError(f"{escape(plan_id)}: no such plan; `audit remediate list` shows all plans")
    return _from_row(row)


def newest(connection: Connection, at_most: int) -> list[Remediation]:
    """Plans, the newest first."""
    chosen = select(remediations).order_by(remediations.c.planned_at.desc(), remediations.c.id).limit(at_most)
    return [_from_row(row) for row in connection.execute(chosen)]


def _alert(connection: Connection, key: str) -> Alert:
    row = connection.execute(select(alerts).where(alerts.c.key == key)).first()
    if row is None:
        raise RemediationError(f"{escape(key)}: no such alert; `audit alerts list` shows open alerts")
    capability = str(json.loads(row.dimensions).get("capability", ""))
    return Alert(row.key, row.rule_id, capability, row.environment, row.resolved_at)


def _update(connection: Connection, remediation: Remediation) -> None:
    connection.execute(update(remediations).where(remediations.c.id == remediation.id).values(asdict(remediation)))


def _add_event(
    connection: Connection, remediation: Remediation, kind: EventKind, step: str, detail: str, now: datetime
) -> None:
    """Adds an event to the alert. `run_id` has the user account: the names in the plan are as entered."""
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    values = {"at": now, "value": None, "said": f"{remediation.id} {detail}", "run_id": who}
    connection.execute(insert(events).values(key=remediation.alert_key, kind=kind, evaluation=step, **values))


def _from_row(row: Row[Any]) -> Remediation:
    return Remediation(**{name: getattr(row, name) for name in _FIELDS})
