"""Polls PagerDuty for who acknowledged an incident, and records it."""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels.pagerduty import Acknowledgement, PagerDutyIncidents
from audit_assets.alerting.channels.slack_message import escape_mrkdwn
from audit_assets.alerting.delivery import outbox, self_alerts
from audit_assets.alerting.delivery.outbox import TargetState
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.alerting.delivery.watchdog import PAGERDUTY_API
from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.store import StoredAlert
from audit_assets.alerting.ledger.tables import Ledger, alerts, deliveries, has_action, has_status
from audit_assets.alerting.notify.enqueue import enqueue_ack_update
from audit_assets.rules.routing import Routing

POLL_INTERVAL = timedelta(minutes=1)  # per incident
QUERIES_PER_ROUND = 20  # PagerDuty accepts 960 requests per minute and token

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AckQuery:
    """One incident to poll: its dedup key, and the keys of the episodes it covers. A summary incident covers many."""

    key: str
    group_key: str
    episodes: tuple[str, ...]


def due_queries(known: Iterable[StoredAlert], at_pagerduty: Container[str], now: datetime) -> list[AckQuery]:
    """The incidents to poll at `now` (UTC): those `at_pagerduty` with open episodes that nobody has acknowledged,
    unless they were polled within `POLL_INTERVAL`. Those that waited longest come first, so that every incident has its
    turn even if there are more than `QUERIES_PER_ROUND`."""
    waiting: dict[str, list[StoredAlert]] = {}
    for stored in known:
        if (
            stored.alert.state != "resolved"
            and stored.alert.acknowledged_at is None
            and stored.incident_key in at_pagerduty
        ):
            waiting.setdefault(stored.incident_key, []).append(stored)
    last = {key: max(stored.asked_at or _NEVER for stored in several) for key, several in waiting.items()}
    due = sorted((key for key in waiting if now - last[key] >= POLL_INTERVAL), key=last.__getitem__)
    return [
        AckQuery(key, waiting[key][0].group_key, tuple(stored.alert.key for stored in waiting[key]))
        for key in due[:QUERIES_PER_ROUND]
    ]


@dataclass(frozen=True, slots=True)
class AckPollResult:
    """The number of incidents polled, the number of newly acknowledged episodes, and the error if polling failed."""

    polled: int = 0
    acknowledged: int = 0
    error: str | None = None

    @property
    def summary(self) -> str:
        if self.error is not None:
            return f"acknowledgements cannot be read: {self.error}"
        return f"acknowledgements: {self.polled} polled, {self.acknowledged} new"


def poll_acknowledgements(
    ledger: Ledger,
    incidents: PagerDutyIncidents,
    routing: Routing,
    clock: Callable[[], datetime],
    until: datetime,
) -> AckPollResult:
    """Polls PagerDuty for acknowledgements of open incidents and records them. No request starts at `until` (UTC) or
    later. The first failure ends the round, and the next rounds back off. Raises LedgerError."""
    with ledger.transaction() as connection:
        failing = _failing_target(connection)
        if failing is not None and failing.not_before is not None and failing.not_before > clock():
            return AckPollResult(error=failing.said)
        known = store.open_episodes(connection)
        unacknowledged = [stored for stored in known if stored.alert.acknowledged_at is None]
        due = due_queries(unacknowledged, _at_pagerduty(connection), clock())
    polled = acknowledged = 0
    # Exclusive transactions: an evaluation that changes the same episodes and message runs before or after.
    for query in due:
        if clock() >= until:
            break
        with ledger.transaction(exclusive=True) as connection:
            if not _claim(connection, query, clock()):
                continue
        response = incidents.acknowledgement(query.key)
        polled += 1
        with ledger.transaction(exclusive=True) as connection:
            if isinstance(response, Outcome):
                _back_off(connection, response, routing, clock())
                return AckPollResult(polled, acknowledged, response.detail)
            _recover(connection, routing, clock())
            if response is not None:
                acknowledged += _record(connection, query, response, clock())
    return AckPollResult(polled, acknowledged)


def _at_pagerduty(connection: Connection) -> set[str]:
    """The dedup keys of incidents sent to PagerDuty, of groups that are not fully acknowledged. Rows written to the
    console have no dedup key; suppressed and pending rows are not at PagerDuty yet."""
    open_ones = (alerts.c.resolved_at.is_(None), alerts.c.acknowledged_at.is_(None))
    groups = select(alerts.c.group_key).where(*open_ones)
    sent = (has_action("trigger"), has_status("sent"), deliveries.c.group_key.in_(groups))
    return set(connection.execute(select(deliveries.c.reference).where(*sent)).scalars())


def _claim(connection: Connection, query: AckQuery, now: datetime) -> bool:
    """Marks the episodes as polled at `now`; False if another process has polled them meanwhile."""
    asked = alerts.c.acknowledgement_asked_at
    marked = 0
    for keys in store.in_batches(query.episodes):
        free = (alerts.c.key.in_(keys), or_(asked.is_(None), asked <= now - POLL_INTERVAL))
        marked += connection.execute(update(alerts).where(*free).values(acknowledgement_asked_at=now)).rowcount
    return marked > 0


def _record(connection: Connection, query: AckQuery, response: Acknowledgement, now: datetime) -> int:
    acknowledged = [key for key in query.episodes if store.acknowledge(connection, key, response.at, response.by)]
    if acknowledged:
        enqueue_ack_update(connection, query.group_key, f"acknowledged/{acknowledged[0]}", now)
    return len(acknowledged)


def _failing_target(connection: Connection) -> TargetState | None:
    known = outbox.target_state(connection, PAGERDUTY_API)
    return known if known is not None and known.failures else None


def _back_off(connection: Connection, outcome: Outcome, routing: Routing, now: datetime) -> None:
    """Pauses polling. A failure that a person has to fix is reported once."""
    before, parked = _failing_target(connection), outcome.kind == "parked"
    outbox.back_off(connection, PAGERDUTY_API, outcome, now, parked)
    if parked and (before is None or before.parked_since is None):
        detail = f"cannot be read from PagerDuty: {escape_mrkdwn(outcome.detail)}. Alerts are still sent"
        _notify(connection, detail, f"parked/{now.isoformat()}", routing, now)


def _recover(connection: Connection, routing: Routing, now: datetime) -> None:
    before = _failing_target(connection)
    if before is None:
        return
    outbox.mark_recovered(connection, PAGERDUTY_API)
    if before.parked_since is not None:
        _notify(connection, "are read from PagerDuty again", f"again/{now.isoformat()}", routing, now)


def _notify(connection: Connection, detail: str, about: str, routing: Routing, now: datetime) -> None:
    target = self_alerts.first_channel(routing)
    if target is not None:
        key = f"ai-audit/notice/{PAGERDUTY_API}"
        self_alerts.enqueue_self_alert(connection, key, target, f"acknowledgements {detail}", about, now)
