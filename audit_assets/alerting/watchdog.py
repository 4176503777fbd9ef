"""The alerter's own silence, seen from outside it: rules nobody judged, a deliverer that has not looked, messages that
do not go out. Run from cron or systemd, it needs neither Dagster nor the warehouse."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.ledger import deliveries, heartbeats, targets
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.record import CLOCKS_DIFFER, last_judged
from audit_assets.alerting.wording import length

PATIENCE = timedelta(minutes=8)  # told within ten, from a cron job of every minute or two
DELIVERER = "deliverer"
READING = "pagerduty-api"  # where acknowledgements are read; nobody is woken because they are not


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not as it should be, and what to look at."""

    about: str
    said: str


def troubles(connection: Connection, now: datetime, patience: timedelta = PATIENCE) -> list[Trouble]:
    """What is wrong with the alerter at `now` (UTC); empty where all is well."""
    return [*_unjudged(connection, now, patience), *_unlooked(connection, now, patience),
            *_stuck(connection, now, patience), *_closed(connection), *_given_up(connection, now)]  # fmt: skip


def _unjudged(connection: Connection, now: datetime, patience: timedelta) -> list[Trouble]:
    last = last_judged(connection, now)
    if last is None:
        return [Trouble("judging", "no rule has been judged yet: start `audit dev`, or run `audit build`")]
    if now - last <= patience:
        return []
    return [Trouble("judging", f"no rule was judged for {length(now - last)}: is the Dagster daemon running?")]


def _unlooked(connection: Connection, now: datetime, patience: timedelta) -> list[Trouble]:
    last = connection.execute(select(heartbeats.c.at).where(heartbeats.c.name == DELIVERER)).scalar()
    if last is not None and -CLOCKS_DIFFER <= now - last <= patience:
        return []
    said = "has never looked at the outbox"
    if last is not None:
        ahead = f"looked last at {last:%Y-%m-%d %H:%M} UTC, which is yet to come: a clock was wrong"
        said = ahead if last > now else f"has not looked for {length(now - last)}"
    return [Trouble("delivering", f"the deliverer {said}: is the sensor alert_deliveries running?")]


def _stuck(connection: Connection, now: datetime, patience: timedelta) -> list[Trouble]:
    """Rows held back by a silence are no trouble, and those of a target that takes nothing are told once, of it."""
    mine = (deliveries.c.status.in_(("pending", "inflight")), deliveries.c.created_at < now - patience)
    counted = select(deliveries.c.target, func.count().label("rows")).where(*mine).group_by(deliveries.c.target)
    return [
        Trouble(row.target, f"{row.rows} messages to {row.target} wait for more than {length(patience)}")
        for row in connection.execute(counted)
    ]


def _closed(connection: Connection) -> list[Trouble]:
    told = (targets.c.parked_since.is_not(None), targets.c.target != READING)
    parked = connection.execute(select(targets).where(*told)).all()
    return [
        Trouble(
            row.target, f"{row.target} takes nothing since {row.parked_since:%Y-%m-%d %H:%M} UTC: {shown(row.said)}"
        )
        for row in parked
    ]


def _given_up(connection: Connection, now: datetime) -> list[Trouble]:
    lately = (deliveries.c.status == "dead", deliveries.c.ended_at > now - timedelta(hours=24))
    number = connection.execute(select(func.count()).select_from(deliveries).where(*lately)).scalar_one()
    if not number:
        return []
    return [Trouble("given up", f"{number} messages were given up within a day: `audit alerts retry` sends them again")]
