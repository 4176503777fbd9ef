"""Alerts about the alerting system itself: one line, with a key of its own, sent to a channel or a service."""

from datetime import datetime

from sqlalchemy.engine import Connection

from audit_assets.alerting.channels import pagerduty_event
from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import Entry
from audit_assets.rules.routing import Routing


def first_service(routing: Routing) -> str | None:
    """The target of the first route that pages."""
    services = (route.pagerduty.service for route in routing.routes.values() if route.pagerduty is not None)
    return next((f"pagerduty:{service}" for service in services), None)


def first_channel(routing: Routing) -> str | None:
    """The target of the first route that has a Slack channel."""
    return next((f"slack:{route.slack}" for route in routing.routes.values() if route.slack is not None), None)


def stream_key(key: str, target: str) -> str:
    """The outbox stream of the messages to `target` under `key`."""
    return f"{key}|{target}"


def enqueue_self_alert(
    connection: Connection,
    key: str,
    target: str,
    detail: str,
    about: str,
    now: datetime,
    *,
    rule_id: str = "delivery",
    action: str = "notice",
    is_over: bool = False,
) -> None:
    """Queues a message about the alerting system. At PagerDuty it opens the incident of `key`, or closes it if
    `is_over`. `about` distinguishes it from other messages of the same key, target and action."""
    text = f"AI audit alerts: {detail}"
    payload = {"text": text}
    if target.startswith("pagerduty:"):
        payload = pagerduty_event.resolve(key) if is_over else pagerduty_event.notice(key, text)
    outbox.enqueue(connection, Entry(stream_key(key, target), target, action, rule_id, about, payload), now)
