"""Suppression of messages, decided when a message is about to be sent: silences, immediate or planned, and routes that
do not page before a drill of the rule has passed."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import Delivery
from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.tables import deliveries, drills, has_status, silences
from audit_assets.alerting.notify.notification import AlertState
from audit_assets.rules.routing import Routing


class SilenceError(Exception):
    """A silence that cannot be created or ended. The message says how to fix it."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Suppresses messages about matching episodes from `starts_at` to `ends_at` (UTC). Matches by rule, capability and
    environment; None matches all. A silence that starts in the future is a maintenance window."""

    id: int
    rule_id: str | None
    capability: str | None
    environment: str | None
    starts_at: datetime
    ends_at: datetime
    reason: str
    created_by: str

    def covers(self, rule_id: str, alert: AlertState) -> bool:
        wanted = (self.rule_id, self.capability, self.environment)
        found = (rule_id, alert.dimension("capability"), alert.environment)
        return all(want in (None, have) for want, have in zip(wanted, found, strict=True))


def silence(connection: Connection, requested: Silence, now: datetime) -> int:
    """Stores a silence and returns its id. Raises SilenceError if it matches everything, ends before it starts, or has
    no reason."""
    if (requested.rule_id, requested.capability, requested.environment) == (None, None, None):
        raise SilenceError("it would silence everything: name a rule, a capability or an environment")
    if requested.ends_at <= max(requested.starts_at, now):
        raise SilenceError("it would end before it starts: set a later end")
    if not requested.reason.strip():
        raise SilenceError("a reason is required: --reason")
    values = {
        "rule_id": requested.rule_id, "capability": requested.capability, "environment": requested.environment,
        "starts_at": requested.starts_at, "ends_at": requested.ends_at, "reason": requested.reason,
        "created_by": requested.created_by, "created_at": now,
    }  # fmt: skip
    inserted = connection.execute(insert(silences).values(**values).returning(silences.c.id))
    return int(inserted.scalar_one())


def unsilence(connection: Connection, silence_id: int, now: datetime) -> None:
    """Ends a silence. The next delivery run sends the messages about episodes that still fire. Raises SilenceError."""
    live = (silences.c.id == silence_id, silences.c.ends_at > now)
    if connection.execute(update(silences).where(*live).values(ends_at=now)).rowcount == 0:
        raise SilenceError(f"{silence_id}: no such silence, or it is over; `audit alerts list` shows the active ones")


def silences_at(connection: Connection, now: datetime, planned: bool = False) -> list[Silence]:
    """The silences in force at `now` (UTC); with `planned`, also those that start later."""
    chosen = select(silences).where(silences.c.ends_at > now).order_by(silences.c.ends_at, silences.c.id)
    if not planned:
        chosen = chosen.where(silences.c.starts_at <= now)
    fields = ("id", "rule_id", "capability", "environment", "starts_at", "ends_at", "reason", "created_by")
    return [Silence(**{name: getattr(row, name) for name in fields}) for row in connection.execute(chosen)]


def suppression_reason(connection: Connection, delivery: Delivery, routing: Routing, now: datetime) -> str | None:
    """Why this row must not be sent yet; None if it may be sent. Only the opening message of an episode is suppressed:
    updates of a message that was sent are always sent."""
    if delivery.action not in outbox.OPENING_ACTIONS or delivery.maybe_taken or delivery.group_key is None:
        return None
    episodes = [
        stored for stored in store.alerts_of_group(connection, delivery.group_key)
        if stored.alert.state != "resolved" and delivery.alert_key in (None, stored.alert.key)
    ]  # fmt: skip
    for active in silences_at(connection, now):
        if episodes and all(active.covers(stored.rule_id, stored.alert) for stored in episodes):
            return f"silenced until {active.ends_at:%Y-%m-%d %H:%M} UTC by {active.created_by}: {active.reason}"
    if all(stored.alert.is_drill for stored in episodes) or not _held_until_drill(delivery.target, routing):
        return None
    if _has_drill(connection, delivery.rule_id):
        return None
    return f"does not page before a drill of {delivery.rule_id} has passed (hold_until_drill)"


def release_suppressed(connection: Connection, routing: Routing, now: datetime) -> None:
    """Requeues suppressed rows that may be sent now."""
    for delivery in outbox.find(connection, has_status("suppressed")):
        if suppression_reason(connection, delivery, routing, now) is None:
            values = {"status": "pending", "not_before": None, "said": None}
            connection.execute(update(deliveries).where(deliveries.c.seq == delivery.seq).values(**values))


def suppress(connection: Connection, delivery: Delivery, reason: str) -> None:
    """Marks a claimed row as suppressed and undoes the claim."""
    values = {"status": "suppressed", "said": reason, "lease_until": None, "leased_by": None, "maybe_taken": False}
    connection.execute(
        update(deliveries)
        .where(deliveries.c.seq == delivery.seq)
        .values(**values, not_before=None, attempts=delivery.attempts, first_attempt_at=delivery.first_attempt_at)
    )


def _held_until_drill(target: str, routing: Routing) -> bool:
    services = [route for route in routing.routes.values() if route.pagerduty is not None]
    mine = [route for route in services if route.pagerduty and target == f"pagerduty:{route.pagerduty.service}"]
    return bool(mine) and all(route.hold_until_drill for route in mine)


def _has_drill(connection: Connection, rule_id: str) -> bool:
    passed = select(func.count()).select_from(drills).where(drills.c.rule_id == rule_id, drills.c.passed.is_(True))
    return connection.execute(passed).scalar_one() > 0
