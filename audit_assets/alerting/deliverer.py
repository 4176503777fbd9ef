"""From the outbox to the providers: one row after the other, until nothing is due or the time is up.

Several may run at once: a row is leased before it is sent. A row whose attempt ended unknown is looked for before it is
sent again.
"""

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.engine import Connection

from audit_assets.alerting import notices, outbox, silences
from audit_assets.alerting.ledger import Ledger, deliveries, targets
from audit_assets.alerting.outbox import Delivery
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.reconciling import beat, reconcile
from audit_assets.alerting.reminders import remind
from audit_assets.alerting.wording import length
from audit_assets.rules.routing import Routing

SENSOR_BUDGET = timedelta(seconds=40)  # a sensor's tick ends at 60

# What changes or answers an earlier row of its stream, and which.
_ANSWERS = {"edit": "post", "reply": "post", "comment": "ticket"}


class Sender(Protocol):
    """One provider. `posted` is the reference of the message a row changes or answers; for others, of the newest one to
    the same target."""

    def send(self, delivery: Delivery, posted: str | None) -> Outcome: ...


@dataclass(slots=True)
class Delivered:
    """How many attempts ended how."""

    sent: int = 0
    again: int = 0
    parked: int = 0
    dead: int = 0
    held: int = 0


def deliver(
    ledger: Ledger,
    senders: Mapping[str, Sender],
    routing: Routing,
    clock: Callable[[], datetime],
    budget: timedelta = SENSOR_BUDGET,
    lease: timedelta = outbox.LEASE,
) -> Delivered:
    """Sends what is due, in order, for as long as `budget` lasts. `senders` by provider (`slack`, `jira`, …). Raises
    LedgerError; a provider that fails is no error: its rows stay, and are tried again. A row that is being sent belongs
    to this deliverer for as long as the `lease` lasts."""
    worker, until = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}", clock() + budget
    told = Delivered()
    with ledger.transaction(alone=True) as connection:
        beat(connection, clock())
        reconcile(connection, routing, clock())
        remind(connection, routing, clock())
        silences.release(connection, routing, clock())
    while clock() < until:
        with ledger.transaction() as connection:
            delivery = outbox.claim(connection, clock(), worker, lease)
            if delivery is None:
                break
            why = silences.why_held(connection, delivery, routing, clock())
            if why is not None:
                silences.hold(connection, delivery, why)
                told.held += 1
                continue
            posted = _posted(connection, delivery)
        sender = senders.get(delivery.target.partition(":")[0])
        outcome = Outcome("parked", "no sender is set up") if sender is None else sender.send(delivery, posted)
        with ledger.transaction() as connection:
            _settle(connection, delivery, outcome, routing, clock(), worker, told)
    return told


def _settle(
    connection: Connection,
    delivery: Delivery,
    outcome: Outcome,
    routing: Routing,
    now: datetime,
    worker: str,
    told: Delivered,
) -> None:
    before = connection.execute(select(targets).where(targets.c.target == delivery.target)).first()
    status = outbox.settle(connection, delivery, outcome, now, worker)
    if status == "sent":
        told.sent += 1
        if before is not None and before.parked_since is not None:
            _speaks_again(connection, delivery.target, before.parked_since, routing, now)
    elif status == "dead" and outcome.kind == "refused" and delivery.fallback is not None:
        outbox.put_fallback(connection, delivery, now)
        told.again += 1
    elif status == "dead":
        told.dead += 1
        _tell_elsewhere(connection, delivery, f"was given up: {outcome.said}", f"dead/{delivery.id}", routing, now)
    elif status == "parked":
        told.parked += 1
        if before is None or before.parked_since is None:
            said = f"is not taken: {outcome.said}; what is to be told waits until that is mended"
            _tell_elsewhere(connection, delivery, said, f"parked/{now.isoformat()}", routing, now)
    elif status == "pending":
        told.again += 1


def _posted(connection: Connection, delivery: Delivery) -> str | None:
    """The message or ticket a row changes or answers; for one that is not there yet, the newest in its channel."""
    if delivery.action in _ANSWERS:
        row = outbox.first_of(connection, delivery.stream, _ANSWERS[delivery.action])
        return row.reference if row is not None else None
    chosen = select(deliveries.c.reference).where(
        deliveries.c.target == delivery.target, deliveries.c.reference.is_not(None)
    )
    return connection.execute(chosen.order_by(deliveries.c.seq.desc()).limit(1)).scalar()


def _tell_elsewhere(
    connection: Connection, delivery: Delivery, said: str, about: str, routing: Routing, now: datetime
) -> None:
    """A provider that cannot be told anything is told of by the other. What tells of it is not told of again."""
    if delivery.action == "notice":
        return
    target = _other(delivery.target, routing)
    if target is None:
        return
    told = f"a message of {delivery.rule_id} to {delivery.target} {said}"
    notices.put(connection, _about(delivery.target), target, told, about, now, rule_id=delivery.rule_id)


def _speaks_again(connection: Connection, target: str, since: datetime, routing: Routing, now: datetime) -> None:
    other, key = _other(target, routing), _about(target)
    if other is None or outbox.first_of(connection, notices.stream_of(key, other), "notice") is None:
        return
    said = f"{target} takes messages again, after {length(now - since)}; what waited is being sent"
    notices.put(connection, key, other, said, f"again/{since.isoformat()}", now, is_over=True)


def _about(target: str) -> str:
    """The key of what is told about a target."""
    return f"ai-audit/notice/{target}"


def _other(target: str, routing: Routing) -> str | None:
    """The first service where a channel of Slack takes nothing; the first channel for everything else. A ticket that
    no channel can be told of wakes nobody."""
    return notices.first_service(routing) if target.startswith("slack:") else notices.first_channel(routing)


def waiting(connection: Connection) -> Mapping[str, int]:
    """How many rows wait, by status."""
    rows = connection.execute(select(deliveries.c.status).where(deliveries.c.status.in_(outbox.UNENDED))).scalars()
    counted: dict[str, int] = {}
    for status in rows:
        counted[status] = counted.get(status, 0) + 1
    return counted
