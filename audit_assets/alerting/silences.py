"""What is not to be told for a while, decided when a message is about to be sent: silences, planned or at once, and
routes that wake nobody before a drill is on record."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting import outbox, record
from audit_assets.alerting.ledger import deliveries, drills, silences
from audit_assets.alerting.outbox import Delivery, of_row
from audit_assets.alerting.story import Told
from audit_assets.rules.routing import Routing


class SilenceError(Exception):
    """A silence that cannot be made or ended. The message says the mend."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Which episodes are not told from `starts_at` to `ends_at` (UTC): of a rule, a capability, an environment; what
    is None matches all. One that starts later is a maintenance window."""

    id: int
    rule_id: str | None
    capability: str | None
    environment: str | None
    starts_at: datetime
    ends_at: datetime
    reason: str
    created_by: str

    def covers(self, rule_id: str, told: Told) -> bool:
        wanted = (self.rule_id, self.capability, self.environment)
        found = (rule_id, told.dimension("capability"), told.environment)
        return all(want in (None, have) for want, have in zip(wanted, found, strict=True))


def silence(connection: Connection, asked: Silence, now: datetime) -> int:
    """Keeps a silence; its id. Raises SilenceError where it matches everything, or ends before it begins."""
    if (asked.rule_id, asked.capability, asked.environment) == (None, None, None):
        raise SilenceError("it would silence everything: name a rule, a capability or an environment")
    if asked.ends_at <= max(asked.starts_at, now):
        raise SilenceError("it would be over before it begins: give it a later end")
    if not asked.reason.strip():
        raise SilenceError("say why, for whoever finds it: --reason")
    values = {
        "rule_id": asked.rule_id, "capability": asked.capability, "environment": asked.environment,
        "starts_at": asked.starts_at, "ends_at": asked.ends_at, "reason": asked.reason,
        "created_by": asked.created_by, "created_at": now,
    }  # fmt: skip
    made = connection.execute(insert(silences).values(**values).returning(silences.c.id))
    return int(made.scalar_one())


def unsilence(connection: Connection, silence_id: int, now: datetime) -> None:
    """Ends a silence; what still fires is told by the next delivering. Raises SilenceError."""
    live = (silences.c.id == silence_id, silences.c.ends_at > now)
    if connection.execute(update(silences).where(*live).values(ends_at=now)).rowcount == 0:
        raise SilenceError(f"{silence_id}: no such silence, or it is over; `audit alerts list` names those there are")


def silences_at(connection: Connection, now: datetime, planned: bool = False) -> list[Silence]:
    """The silences in force at `now`; those that begin later too, if asked."""
    chosen = select(silences).where(silences.c.ends_at > now).order_by(silences.c.ends_at)
    if not planned:
        chosen = chosen.where(silences.c.starts_at <= now)
    fields = ("id", "rule_id", "capability", "environment", "starts_at", "ends_at", "reason", "created_by")
    return [Silence(**{name: getattr(row, name) for name in fields}) for row in connection.execute(chosen)]


def why_held(connection: Connection, delivery: Delivery, routing: Routing, now: datetime) -> str | None:
    """Why this row is not to be sent yet; None where it is. What was told goes on being told: only the first word of
    an episode is held."""
    if delivery.action not in outbox.FIRST_WORDS or delivery.maybe_taken or delivery.group_key is None:
        return None
    about = [
        one for one in record.of_group(connection, delivery.group_key)
        if one.told.state != "resolved" and delivery.alert_key in (None, one.told.key)
    ]  # fmt: skip
    for one in silences_at(connection, now):
        if about and all(one.covers(each.rule_id, each.told) for each in about):
            return f"silenced until {one.ends_at:%Y-%m-%d %H:%M} UTC by {one.created_by}: {one.reason}"
    if all(each.told.is_drill for each in about) or not _waits(delivery.target, routing):
        return None
    if _has_drill(connection, delivery.rule_id):
        return None
    return f"nobody is woken before a drill of {delivery.rule_id} is on record"


def release(connection: Connection, routing: Routing, now: datetime) -> None:
    """Puts what need not be held back any more in line."""
    for row in connection.execute(select(deliveries).where(deliveries.c.status == "suppressed")).all():
        if why_held(connection, of_row(row), routing, now) is None:
            back = {"status": "pending", "not_before": None, "said": None}
            connection.execute(update(deliveries).where(deliveries.c.seq == row.seq).values(**back))


def hold(connection: Connection, delivery: Delivery, why: str) -> None:
    back = {"status": "suppressed", "said": why, "lease_until": None, "leased_by": None, "maybe_taken": False}
    connection.execute(
        update(deliveries)
        .where(deliveries.c.seq == delivery.seq)
        .values(**back, attempts=delivery.attempts, first_attempt_at=delivery.first_attempt_at)
    )


def _waits(target: str, routing: Routing) -> bool:
    services = [route for route in routing.routes.values() if route.pagerduty is not None]
    mine = [route for route in services if route.pagerduty and target == f"pagerduty:{route.pagerduty.service}"]
    return bool(mine) and all(route.hold_until_drill for route in mine)


def _has_drill(connection: Connection, rule_id: str) -> bool:
    passed = select(func.count()).select_from(drills).where(drills.c.rule_id == rule_id, drills.c.passed.is_(True))
    return connection.execute(passed).scalar_one() > 0
