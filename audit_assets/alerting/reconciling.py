"""What no check can tell of itself: that rules are not judged. Whoever delivers sees it, and tells it once.

Where nobody delivers either, only `audit watchdog` is left to see it.
"""

from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting import notices, outbox, record
from audit_assets.alerting.ledger import heartbeats
from audit_assets.alerting.watchdog import DELIVERER, PATIENCE
from audit_assets.alerting.wording import length
from audit_assets.rules.routing import Routing

_SINCE = "delivering since"  # unbroken
_UNBROKEN = timedelta(minutes=2)  # between two looks; a longer pause is a start
_NOTICE = "ai-audit/notice/judging"


def beat(connection: Connection, now: datetime) -> None:
    """Says that a deliverer looked, for the watchdog, and since when it has looked without a pause."""
    last = _looked(connection, DELIVERER)
    if last is None or not timedelta() <= now - last <= _UNBROKEN:
        _look(connection, _SINCE, now)
    _look(connection, DELIVERER, now)


def reconcile(connection: Connection, routing: Routing, now: datetime) -> None:
    """Puts into the outbox that no rule was judged for longer than `PATIENCE`, once, and that they are again, once.
    After a start the first judging has that time too: a night in which nothing ran is told to nobody in the morning."""
    last, since = record.last_judged(connection, now), _looked(connection, _SINCE)
    if last is None or since is None:  # nothing was ever judged, or nobody has looked: there is nothing to miss
        return
    is_silent = now - max(last, since) > PATIENCE
    about = last.isoformat()
    for target in filter(None, (notices.first_service(routing), notices.first_channel(routing))):
        told = outbox.unclosed(connection, notices.stream_of(_NOTICE, target))
        if is_silent and not told:
            said = f"no rule was judged for {length(now - last)}: look at the runs of audit_sync and audit_judge"
            notices.put(connection, _NOTICE, target, said, about, now, rule_id="judging")
        elif told and not is_silent and last > told[-1].created_at:
            said = "rules are judged again"
            notices.put(
                connection, _NOTICE, target, said, about, now, rule_id="judging", action="resolve", is_over=True
            )


def _looked(connection: Connection, name: str) -> datetime | None:
    return connection.execute(select(heartbeats.c.at).where(heartbeats.c.name == name)).scalar()


def _look(connection: Connection, name: str, now: datetime) -> None:
    if connection.execute(update(heartbeats).where(heartbeats.c.name == name).values(at=now)).rowcount == 0:
        connection.execute(insert(heartbeats).values(name=name, at=now))
