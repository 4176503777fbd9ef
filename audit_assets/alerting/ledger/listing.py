"""Reads of the ledger for people: lists of alerts, and one alert with its events and deliveries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.ledger.tables import alerts, deliveries, events
from audit_assets.text.sanitize import escape


class AlertNotFoundError(Exception):
    """No alert has this key, or several do. The message gives the fix."""


@dataclass(frozen=True)
class ListedAlert:
    """An alert as `audit alerts --json` prints it. `id` is its key in the ledger; times are UTC."""

    id: str
    dimensions: Mapping[str, str]
    rule_id: str
    environment: str
    state: str
    severity: str
    since: datetime
    opened_at: datetime
    resolved_at: datetime | None
    resolve_reason: str | None
    value: float | None
    baseline: float | None
    threshold: float | None
    delta_percent: float | None
    peak: float | None
    window_start: datetime
    window_end: datetime
    run_id: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@dataclass(frozen=True)
class ListedEvent:
    """An event of an alert, at `at` (UTC)."""

    at: datetime
    kind: str
    said: str | None
    run_id: str


@dataclass(frozen=True)
class ListedDelivery:
    """A row of the outbox about an alert. Times are UTC."""

    id: str
    target: str
    action: str
    status: str
    attempts: int
    said: str | None
    reference: str | None
    created_at: datetime
    ended_at: datetime | None


def newest_alerts(connection: Connection, at_most: int, with_resolved: bool = False) -> list[ListedAlert]:
    """Open alerts, newest first; resolved ones too if asked for."""
    chosen = select(alerts).order_by(alerts.c.opened_at.desc(), alerts.c.key).limit(at_most)
    if not with_resolved:
        chosen = chosen.where(alerts.c.resolved_at.is_(None))
    return [_alert(row) for row in connection.execute(chosen)]


def find_alert(connection: Connection, text: str) -> ListedAlert:
    """The alert whose key is `text` or ends with it. Raises AlertNotFoundError if there is none or several."""
    found = connection.execute(select(alerts).where(alerts.c.key.endswith(text, autoescape=True)).limit(2)).all()
    if not found:
        raise AlertNotFoundError(f"{escape(text)}: no such alert; `audit alerts list --all` lists them")
    if len(found) > 1:
        raise AlertNotFoundError(f"{escape(text)}: matches more than one key; give more characters of it")
    return _alert(found[0])


def events_of(connection: Connection, alert_id: str) -> list[ListedEvent]:
    """The events of an alert, oldest first."""
    rows = connection.execute(select(events).where(events.c.key == alert_id).order_by(events.c.id))
    return [ListedEvent(row.at, row.kind, row.said, row.run_id) for row in rows]


def deliveries_of(connection: Connection, alert_id: str) -> list[ListedDelivery]:
    """The deliveries about an alert or its whole group, oldest first."""
    group = select(alerts.c.group_key).where(alerts.c.key == alert_id).scalar_subquery()
    of_group = (deliveries.c.group_key == group) & deliveries.c.alert_key.is_(None)
    mine = or_(deliveries.c.alert_key == alert_id, of_group)
    rows = connection.execute(select(deliveries).where(mine).order_by(deliveries.c.seq))
    return [ListedDelivery(**{each.name: getattr(row, each.name) for each in fields(ListedDelivery)}) for row in rows]


def _alert(row: Row[Any]) -> ListedAlert:
    names = [field.name for field in fields(ListedAlert)][2:]
    return ListedAlert(row.key, json.loads(row.dimensions), **{name: getattr(row, name) for name in names})
