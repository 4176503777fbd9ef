"""Reminders: periodic replies in the thread of a message whose episodes stay open, if its route has `remind_after`."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels.slack_message import reminder
from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import Entry
from audit_assets.alerting.delivery.silences import silences_at
from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.tables import alerts, deliveries, has_action, has_status
from audit_assets.rules.routing import Routing


def remind(connection: Connection, routing: Routing, now: datetime) -> None:
    """Queues the reminders that are due, each once. There are no reminders of acknowledged or silenced episodes, or of
    drills. After a pause of several intervals, one reminder is queued."""
    every = {f"slack:{route.slack}": route.remind_after for route in routing.routes.values() if route.remind_after}
    if not every:
        return
    is_open = select(alerts.c.key).where(alerts.c.group_key == deliveries.c.group_key, alerts.c.resolved_at.is_(None))
    posted = (has_action("post"), has_status("sent"), deliveries.c.target.in_(every))
    silenced = silences_at(connection, now)
    for post in outbox.find(connection, *posted, is_open.exists()):
        turn = 0 if post.ended_at is None else (now - post.ended_at) // every[post.target]
        if turn < 1 or post.group_key is None:
            continue
        waiting = [
            stored for stored in store.alerts_of_group(connection, post.group_key)
            if stored.alert.state != "resolved" and stored.alert.acknowledged_at is None and not stored.alert.is_drill
            and not any(silence.covers(stored.rule_id, stored.alert) for silence in silenced)
        ]  # fmt: skip
        if waiting:
            payload = reminder([stored.alert for stored in waiting], now)
            about = f"reminder/{turn}"
            entry = Entry(post.stream, post.target, "reply", post.rule_id, about, payload, group_key=post.group_key)
            outbox.enqueue(connection, entry, now)
