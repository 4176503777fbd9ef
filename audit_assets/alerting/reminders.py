"""A message that stays open is answered in its thread now and then, where its route asks for that."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.engine import Connection

from audit_assets.alerting import outbox, record
from audit_assets.alerting.ledger import alerts, deliveries
from audit_assets.alerting.outbox import Entry
from audit_assets.alerting.silences import silences_at
from audit_assets.alerting.slack_message import reminder
from audit_assets.rules.routing import Routing


def remind(connection: Connection, routing: Routing, now: datetime) -> None:
    """Puts the reminders that are due into the outbox, each once. Nobody is reminded of what somebody has acknowledged,
    of what is silenced, or of a drill; a pause of hours is made good by one."""
    every = {f"slack:{route.slack}": route.remind_after for route in routing.routes.values() if route.remind_after}
    if not every:
        return
    is_open = select(alerts.c.key).where(alerts.c.group_key == deliveries.c.group_key, alerts.c.resolved_at.is_(None))
    posted = (deliveries.c.action == "post", deliveries.c.status == "sent", deliveries.c.target.in_(every))
    silenced = silences_at(connection, now)
    for post in connection.execute(select(deliveries).where(*posted, is_open.exists())).all():
        turn = (now - post.ended_at) // every[post.target]
        if turn < 1:
            continue
        waiting = [
            one for one in record.of_group(connection, post.group_key)
            if one.told.state != "resolved" and one.told.acknowledged_at is None and not one.told.is_drill
            and not any(silence.covers(one.rule_id, one.told) for silence in silenced)
        ]  # fmt: skip
        if waiting:
            text = reminder([one.told for one in waiting], now)
            about = f"reminder/{turn}"
            entry = Entry(post.stream, post.target, "reply", post.rule_id, about, text, group_key=post.group_key)
            outbox.enqueue(connection, entry, now)
