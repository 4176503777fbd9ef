"""Alerts about the alerting system itself: one line, with a key of its own, sent to a channel or a service.

Among them the deadman check: the deliverer reports, once, that rules are no longer evaluated. No rule can report that
itself. If the deliverer does not run either, only `audit watchdog` notices.
"""

from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels import pagerduty_event
from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import Entry
from audit_assets.alerting.delivery.watchdog import DELIVERER, GRACE_PERIOD
from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.states import Action
from audit_assets.alerting.ledger.tables import heartbeats
from audit_assets.alerting.notify.formatting import duration
from audit_assets.rules.routing import Routing

_SINCE = "delivering since"  # the start of the current uninterrupted period of delivery runs
_MAX_PAUSE = timedelta(minutes=2)  # between two delivery runs; a longer pause starts a new period
_NOTICE = "ai-audit/notice/judging"


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
    action: Action = "notice",
    is_over: bool = False,
) -> None:
    """Queues a message about the alerting system. At PagerDuty it opens the incident of `key`, or closes it if
    `is_over`. `about` distinguishes it from other messages of the same key, target and action."""
    text = f"AI audit alerts: {detail}"
    payload = {"text": text}
    if target.startswith("pagerduty:"):
        payload = pagerduty_event.resolve(key) if is_over else pagerduty_event.notice(key, text)
    outbox.enqueue(connection, Entry(stream_key(key, target), target, action, rule_id, about, payload), now)


def record_heartbeat(connection: Connection, now: datetime) -> None:
    """Records that a deliverer ran, for the watchdog, and since when it has run without a pause."""
    last = _last_heartbeat(connection, DELIVERER)
    if last is None or not timedelta() <= now - last <= _MAX_PAUSE:
        _set_heartbeat(connection, _SINCE, now)
    _set_heartbeat(connection, DELIVERER, now)


def check_deadman(connection: Connection, routing: Routing, now: datetime) -> None:
    """Queues one alert if no rule was evaluated for longer than `GRACE_PERIOD`, and one message when that is over.
    After a start, the first evaluation has the same grace period: a night in which nothing ran causes no alert in the
    morning."""
    last, since = store.last_evaluated_at(connection, now), _last_heartbeat(connection, _SINCE)
    if last is None or since is None:  # no rule was ever evaluated, or no deliverer ever ran
        return
    is_silent = now - max(last, since) > GRACE_PERIOD
    about = last.isoformat()
    for target in filter(None, (first_service(routing), first_channel(routing))):
        reported = outbox.unresolved_triggers(connection, stream_key(_NOTICE, target))
        if is_silent and not reported:
            detail = f"no rule was evaluated for {duration(now - last)}: check the runs of audit_sync and audit_judge"
            enqueue_self_alert(connection, _NOTICE, target, detail, about, now, rule_id="judging")
        elif reported and not is_silent and last > reported[-1].created_at:
            detail = "rules are evaluated again"
            enqueue_self_alert(
                connection, _NOTICE, target, detail, about, now, rule_id="judging", action="resolve", is_over=True
            )


def _last_heartbeat(connection: Connection, name: str) -> datetime | None:
    return connection.execute(select(heartbeats.c.at).where(heartbeats.c.name == name)).scalar()


def _set_heartbeat(connection: Connection, name: str, now: datetime) -> None:
    if connection.execute(update(heartbeats).where(heartbeats.c.name == name).values(at=now)).rowcount == 0:
        connection.execute(insert(heartbeats).values(name=name, at=now))
