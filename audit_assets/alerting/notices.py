"""What is told about the alerter itself: one line, under a key of its own, to a channel or a service."""

from datetime import datetime

from sqlalchemy.engine import Connection

from audit_assets.alerting import outbox, pagerduty_event
from audit_assets.alerting.outbox import Entry
from audit_assets.rules.routing import Routing


def first_service(routing: Routing) -> str | None:
    """The target of the first route that wakes somebody."""
    services = (route.pagerduty.service for route in routing.routes.values() if route.pagerduty is not None)
    return next((f"pagerduty:{service}" for service in services), None)


def first_channel(routing: Routing) -> str | None:
    """The target of the first route that has a channel."""
    return next((f"slack:{route.slack}" for route in routing.routes.values() if route.slack is not None), None)


def stream_of(key: str, target: str) -> str:
    """The outbox's stream of what one target is told under `key`."""
    return f"{key}|{target}"


def put(
    connection: Connection,
    key: str,
    target: str,
    said: str,
    about: str,
    now: datetime,
    *,
    rule_id: str = "delivery",
    action: str = "notice",
    is_over: bool = False,
) -> None:
    """Puts `said` into the outbox. At PagerDuty it opens the incident of `key`, or closes it where it `is_over`;
    `about` tells it from others of the same key, target and action."""
    text = f"AI audit alerts: {said}"
    payload = {"text": text}
    if target.startswith("pagerduty:"):
        payload = pagerduty_event.resolve(key) if is_over else pagerduty_event.notice(key, text)
    outbox.enqueue(connection, Entry(stream_of(key, target), target, action, rule_id, about, payload), now)
