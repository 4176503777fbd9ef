"""Sends the outbox to the providers until nothing is due or the time budget is used up. The rows of one target are sent
in sequence and the targets in parallel, so that a slow target does not delay the others.

Several deliverers may run at once: a row is leased before it is sent. If the outcome of an attempt is unknown, the
deliverer looks for the message at the provider before it sends the row again.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Literal, Protocol

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels.http_client import ATTEMPT_SECONDS, attempt
from audit_assets.alerting.delivery import outbox, self_alerts, silences
from audit_assets.alerting.delivery.outbox import Delivery
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.alerting.delivery.reminders import remind
from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.tables import Ledger, deliveries, has_status
from audit_assets.alerting.notify.formatting import duration
from audit_assets.rules.routing import Routing

SENSOR_BUDGET = timedelta(seconds=40)  # Dagster ends a sensor tick after 60 s

_CONSOLE_LANE = "console"  # one lane for all console targets, so that lines appear in the order of the outbox
_ATTEMPT_SHARE = 0.25  # of the lease; the rest is for a provider that processes the request late
_LANES = 8  # targets that are sent to in parallel
_POLL_SECONDS = 0.2  # how often the loop looks for targets that became due meanwhile


class Sender(Protocol):
    """Sends rows to one provider. `posted` is the reference of the message, ticket or incident that the row changes,
    replies to or closes; for other rows, of the newest one at the same target. `is_console` is true if the sender only
    writes to the console and reaches nobody."""

    is_console: bool

    def send(self, delivery: Delivery, posted: str | None) -> Outcome: ...


@dataclass(slots=True)
class DeliveryCounts:
    """Number of attempts by outcome."""

    sent: int = 0
    retried: int = 0
    parked: int = 0
    dead: int = 0
    suppressed: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def count(self, outcome: Literal["sent", "retried", "parked", "dead", "suppressed"]) -> None:
        """Adds one; thread-safe."""
        with self._lock:
            setattr(self, outcome, getattr(self, outcome) + 1)


def deliver(
    ledger: Ledger,
    senders: Mapping[str, Sender],
    routing: Routing,
    clock: Callable[[], datetime],
    budget: timedelta = SENSOR_BUDGET,
    lease: timedelta = outbox.LEASE,
) -> DeliveryCounts:
    """Sends the due rows, in order, until `budget` is used up. `senders` are by provider (`slack`, `jira`, …). A row
    that is being sent is reserved for this deliverer for the duration of the `lease`. Raises LedgerError. A failing
    provider raises nothing: its rows stay in the outbox and are retried."""
    run = _Run(ledger, senders, routing, clock, clock() + budget, lease)
    reaching = [name for name, sender in senders.items() if not sender.is_console]
    with ledger.transaction(exclusive=True) as connection:
        self_alerts.record_heartbeat(connection, clock())
        self_alerts.check_deadman(connection, routing, clock())
        if reaching:
            outbox.requeue_from_console(connection, reaching, clock())
        remind(connection, routing, clock())
        silences.release_suppressed(connection, routing, clock())
    running: dict[str, Future[int]] = {}
    with ThreadPoolExecutor(_LANES, thread_name_prefix="deliver") as pool:
        while True:
            for lane, targets_of_lane in run.due_lanes().items():
                if lane not in running:
                    running[lane] = pool.submit(run.drain, targets_of_lane)
            if not running:
                return run.done
            wait(running.values(), _POLL_SECONDS, FIRST_COMPLETED)
            ended = {lane: running.pop(lane).result() for lane in list(running) if running[lane].done()}
            if ended and not running and not any(ended.values()):  # another deliverer has claimed the due rows
                return run.done


@dataclass(frozen=True, slots=True)
class _Run:
    """One delivery run, shared by the threads of its lanes. A lane is one target, or all targets that go to the
    console."""

    ledger: Ledger
    senders: Mapping[str, Sender]
    routing: Routing
    clock: Callable[[], datetime]
    until: datetime
    lease: timedelta
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}")
    done: DeliveryCounts = field(default_factory=DeliveryCounts)

    def due_lanes(self) -> Mapping[str, list[str]]:
        """Lane → its targets that have due rows; empty once the time is up."""
        if self.clock() >= self.until:
            return {}
        with self.ledger.transaction() as connection:
            due = outbox.due_targets(connection, self.clock(), self.lease)
        lanes: dict[str, list[str]] = {}
        for target in due:
            sender = self._sender(target)
            lanes.setdefault(_CONSOLE_LANE if sender is not None and sender.is_console else target, []).append(target)
        return lanes

    def drain(self, only: list[str]) -> int:
        """Sends the due rows of these targets until there are none or the time is up. Returns the number of rows
        claimed."""
        claimed = 0
        while self.clock() < self.until:
            with self.ledger.transaction() as connection:
                leased_at = time.monotonic()
                delivery = outbox.claim(connection, self.clock(), self.worker, self.lease, only)
                if delivery is None:
                    break
                claimed += 1
                reason = silences.suppression_reason(connection, delivery, self.routing, self.clock())
                if reason is not None:
                    silences.suppress(connection, delivery, reason)
                    self.done.count("suppressed")
                    continue
                posted = _posted(connection, delivery)
            sender = self._sender(delivery.target)
            if sender is None:
                outcome = Outcome("parked", "no sender is configured")
            else:
                # The attempt ends long before the lease, or another deliverer would look for the message too early.
                seconds = min(ATTEMPT_SECONDS, self.lease.total_seconds() * _ATTEMPT_SHARE)
                with attempt(seconds, leased_at):
                    outcome = sender.send(delivery, posted)
            with self.ledger.transaction() as connection:
                _settle(connection, delivery, outcome, self.routing, self.clock(), self.worker, self.done)
        return claimed

    def _sender(self, target: str) -> Sender | None:
        return self.senders.get(target.partition(":")[0])


def _settle(
    connection: Connection,
    delivery: Delivery,
    outcome: Outcome,
    routing: Routing,
    now: datetime,
    worker: str,
    done: DeliveryCounts,
) -> None:
    before = outbox.target_state(connection, delivery.target)
    status = outbox.settle(connection, delivery, outcome, now, worker)
    if status == "sent":
        done.count("sent")
        if before is not None and before.parked_since is not None:
            _report_recovery(connection, delivery.target, before.parked_since, routing, now)
    elif status == "superseded":
        if _is_message_still_needed(connection, delivery) and outbox.repost(connection, delivery, now):
            done.count("retried")
    elif status == "dead" and outcome.kind == "refused" and delivery.fallback is not None:
        outbox.requeue_with_fallback(connection, delivery, now)
        done.count("retried")
    elif status == "dead":
        done.count("dead")
        detail = f"was given up: {outcome.detail}"
        _report_elsewhere(connection, delivery, detail, f"dead/{delivery.id}", routing, now)
    elif status == "parked":
        done.count("parked")
        if before is None or before.parked_since is None:
            detail = f"was not accepted: {outcome.detail}; messages to this target wait until that is fixed"
            _report_elsewhere(connection, delivery, detail, f"parked/{now.isoformat()}", routing, now)
    elif status == "pending":
        done.count("retried")


def _is_message_still_needed(connection: Connection, delivery: Delivery) -> bool:
    """Whether a message that is missing at the provider is about an episode that still fires. If all episodes are over,
    a message that somebody deleted in Slack is not posted again."""
    if delivery.action not in ("edit", "reply") or delivery.group_key is None:
        return False
    return store.has_open_alerts(connection, delivery.group_key)


def _posted(connection: Connection, delivery: Delivery) -> str | None:
    """The reference of the message, ticket or incident that the row changes, replies to or closes; for a new message,
    of the newest one in its channel."""
    if delivery.action in ("edit", "reply"):
        row = outbox.newest_post(connection, delivery.stream)
        return row.reference if row is not None else None
    if delivery.action == "comment":
        row = outbox.first_row(connection, delivery.stream, "ticket")
        return row.reference if row is not None else None
    if delivery.payload.get("event_action") == "resolve":
        return outbox.opening_reference(connection, delivery)
    chosen = select(deliveries.c.reference).where(
        deliveries.c.target == delivery.target, deliveries.c.reference.is_not(None),
        deliveries.c.reference != outbox.CONSOLE,
    )  # fmt: skip
    return connection.execute(chosen.order_by(deliveries.c.seq.desc()).limit(1)).scalar()


def _report_elsewhere(
    connection: Connection, delivery: Delivery, detail: str, about: str, routing: Routing, now: datetime
) -> None:
    """Reports a provider that accepts no messages through another provider. Failures of such a report are not
    reported."""
    if delivery.action == "notice":
        return
    target = _other_target(delivery.target, routing)
    if target is None:
        return
    text = f"a message of {delivery.rule_id} to {delivery.target} {detail}"
    key = _notice_key(delivery.target)
    self_alerts.enqueue_self_alert(connection, key, target, text, about, now, rule_id=delivery.rule_id)


def _report_recovery(connection: Connection, target: str, since: datetime, routing: Routing, now: datetime) -> None:
    other, key = _other_target(target, routing), _notice_key(target)
    if other is None or outbox.first_row(connection, self_alerts.stream_key(key, other), "notice") is None:
        return
    detail = f"{target} accepts messages again after {duration(now - since)}; waiting messages are being sent"
    self_alerts.enqueue_self_alert(connection, key, other, detail, f"again/{since.isoformat()}", now, is_over=True)


def _notice_key(target: str) -> str:
    """The key of the alerts about a target."""
    return f"ai-audit/notice/{target}"


def _other_target(target: str, routing: Routing) -> str | None:
    """Where a failure of `target` is reported: at the first PagerDuty service for a Slack channel, in the first Slack
    channel for everything else. A failing ticket target does not page, even if there is no channel."""
    return self_alerts.first_service(routing) if target.startswith("slack:") else self_alerts.first_channel(routing)


def count_waiting(connection: Connection) -> Mapping[str, int]:
    """The number of unfinished rows, by status."""
    counted = select(deliveries.c.status, func.count().label("number")).where(has_status(*outbox.UNFINISHED))
    grouped = counted.group_by(deliveries.c.status).order_by(deliveries.c.status)
    return {row.status: row.number for row in connection.execute(grouped)}
