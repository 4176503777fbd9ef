"""The outbox: the messages to send, their targets and their delivery status.

Rows are written in the transaction of the state change that they announce, so that no message is lost. The id of a row
is an idempotency key, so that no message is queued twice. A deliverer leases a row to send it; failures back off.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Column, ColumnElement, Row, Select, and_, exists, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels.http_client import LONGEST_WAIT
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.alerting.ledger.states import Action, DeliveryStatus
from audit_assets.alerting.ledger.tables import (
    CLAIMING,
    alerts,
    deliveries,
    has_action,
    has_status,
    lock_for_transaction,
    targets,
)
from audit_assets.alerting.notify.notification import DRILLS

# Statuses of rows that are not delivered yet.
UNFINISHED: tuple[DeliveryStatus, ...] = ("pending", "inflight", "suppressed", "parked")
# The actions that open an episode at a target, and those that close it.
OPENING_ACTIONS: tuple[Action, ...] = ("trigger", "post", "ticket")
CLOSING_ACTIONS: tuple[Action, ...] = ("resolve", "edit", "comment")

CONSOLE = "console"  # the reference of rows that were written to the console and reached nobody

FIRST_BACKOFF = timedelta(seconds=1)
MAX_BACKOFF = timedelta(minutes=5)
LEASE = timedelta(seconds=60)  # longer than any attempt may take
GIVE_UP_AFTER = timedelta(hours=24)
_PARKED_RETRY_AFTER = timedelta(minutes=1)
_ROTATE_AFTER = 5  # attempts of one row before other rows of its target go first

Payload = Mapping[str, object]  # a JSON document for a provider, without secrets


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of the outbox. `maybe_taken` is true if an attempt began and its outcome is unknown; `look_after` is then
    the reference of the newest message at the target before that attempt. `reference` is the provider's identifier of
    what was sent. Times are UTC."""

    seq: int
    id: str
    stream: str
    target: str
    action: Action
    rule_id: str
    alert_key: str | None
    group_key: str | None
    payload: Payload
    fallback: Payload | None
    status: DeliveryStatus
    maybe_taken: bool
    attempts: int
    reference: str | None
    created_at: datetime
    first_attempt_at: datetime | None
    look_after: str | None
    ended_at: datetime | None

    @property
    def is_unsent(self) -> bool:
        """Whether it is certain that the provider has not received this row yet."""
        return self.status in UNFINISHED and not self.maybe_taken


_FIELDS = tuple(field.name for field in fields(Delivery))


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to queue. `about` distinguishes it from other rows of its stream and action; `fallback` is sent if the
    provider refuses `payload`."""

    stream: str
    target: str
    action: Action
    rule_id: str
    about: str
    payload: Payload
    fallback: Payload | None = None
    alert_key: str | None = None
    group_key: str | None = None

    @property
    def id(self) -> str:
        """The idempotency key: queueing the same message again gives the same id."""
        parts = "\0".join((self.stream, self.target, self.action, self.about))
        return hashlib.sha256(parts.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class TargetState:
    """The failures of a target since it last accepted a message. `not_before` is when it is tried again, `parked_since`
    since when a person has to fix it (UTC), `said` the last response."""

    failures: int
    not_before: datetime | None
    parked_since: datetime | None
    said: str | None


class RetryCounts(NamedTuple):
    """Number of requeued rows, and of dead rows left: their episode is over, or a newer message was sent instead."""

    requeued: int
    left: int


def backoff(failures: int, owner: str) -> timedelta:
    """Exponential backoff from `FIRST_BACKOFF` up to `MAX_BACKOFF`, minus a jitter of up to one half. The jitter is
    derived from `owner` and the number of failures, so that targets that failed together do not retry together."""
    doubled = min(FIRST_BACKOFF * 2 ** min(failures - 1, 20), MAX_BACKOFF)
    digest = hashlib.sha256(f"{owner}/{failures}".encode()).digest()
    return doubled * (1 - int.from_bytes(digest[:4], "big") / 2**33)


def enqueue(connection: Connection, entry: Entry, now: datetime) -> None:
    """Appends a row, unless one with its id exists."""
    if connection.execute(select(deliveries.c.seq).where(deliveries.c.id == entry.id)).first():
        return
    connection.execute(
        insert(deliveries).values(
            id=entry.id, stream=entry.stream, target=entry.target, action=entry.action, rule_id=entry.rule_id,
            alert_key=entry.alert_key, group_key=entry.group_key, payload=_json(entry.payload),
            fallback=_json(entry.fallback) if entry.fallback else None,
            status="pending", maybe_taken=False, attempts=0, created_at=now,
        )
    )  # fmt: skip


def find(connection: Connection, *conditions: ColumnElement[bool]) -> list[Delivery]:
    """The rows that match all conditions, in order."""
    return _read(connection, select(deliveries).where(*conditions).order_by(deliveries.c.seq))


def first_row(connection: Connection, stream: str, action: Action) -> Delivery | None:
    """The first row of a stream with this action, whatever its status; locked until the transaction ends."""
    chosen = select(deliveries).where(deliveries.c.stream == stream, has_action(action))
    return _first(connection, chosen.order_by(deliveries.c.seq).with_for_update())


def newest_post(connection: Connection, stream: str) -> Delivery | None:
    """The newest `post` row of a stream; locked until the transaction ends."""
    chosen = select(deliveries).where(deliveries.c.stream == stream, has_action("post"))
    return _first(connection, chosen.order_by(deliveries.c.seq.desc()).with_for_update())


def newest_content(connection: Connection, stream: str) -> Delivery | None:
    """The row with the newest content of a stream's message; refused rows do not count."""
    chosen = select(deliveries).where(deliveries.c.stream == stream, has_action("post", "edit"), ~has_status("dead"))
    return _first(connection, chosen.order_by(deliveries.c.seq.desc()))


def unresolved_triggers(connection: Connection, stream: str) -> list[Delivery]:
    """The triggers of a stream that no resolve follows, without those that were certainly not accepted; locked until
    the transaction ends."""
    chosen = select(deliveries).where(deliveries.c.stream == stream).order_by(deliveries.c.seq).with_for_update()
    rows = _read(connection, chosen)
    last = max((row.seq for row in rows if row.action == "resolve"), default=0)
    not_accepted = {row.seq for row in rows if row.status == "superseded"}
    not_accepted |= {row.seq for row in rows if row.status == "dead" and not row.maybe_taken}
    return [row for row in rows if row.seq > last and row.seq not in not_accepted]


def rewrite(connection: Connection, seq: int, payload: Payload, fallback: Payload | None) -> None:
    """Replaces the content of a row that was not sent yet by the newest state."""
    changed = {"payload": _json(payload), "fallback": _json(fallback) if fallback else None}
    connection.execute(update(deliveries).where(deliveries.c.seq == seq).values(**changed))


def supersede(connection: Connection, stream: str, now: datetime, only: Action | None = None) -> None:
    """Ends the rows of a stream that are certainly unsent because they are no longer needed; `only` those with this
    action."""
    unsent = (deliveries.c.stream == stream, has_status(*UNFINISHED), deliveries.c.maybe_taken.is_(False))
    chosen = update(deliveries).where(*unsent, *([] if only is None else [has_action(only)]))
    connection.execute(chosen.values(status="superseded", ended_at=now, said="not sent: no longer needed"))


def cancel_retries(connection: Connection, seq: int, now: datetime) -> None:
    """Ends a row that waits for another attempt. A row that is being sent at this moment is left alone."""
    waits = (deliveries.c.seq == seq, has_status("pending", "parked", "suppressed"))
    ended = {"status": "superseded", "ended_at": now, "said": "may have been accepted; the episode is over"}
    connection.execute(update(deliveries).where(*waits).values(**ended))


def claim(
    connection: Connection,
    now: datetime,
    worker: str,
    lease: timedelta = LEASE,
    only: Collection[str] | None = None,
) -> Delivery | None:
    """The next row to send, as it was before it is leased to `worker`; None if nothing is due. `only` restricts the
    targets.

    Rows of a stream are sent in order, and at most one row per target is in flight. Targets that back off are skipped.
    The backoff of a failed attempt is stored before the attempt begins: if the process dies, the row waits for its
    lease and its backoff.
    """
    # Without the lock, two concurrent claims would not see each other's row and could claim two rows of one target.
    lock_for_transaction(connection, CLAIMING)
    chosen = _due(now, lease).order_by(deliveries.c.seq).limit(1)
    if only is not None:
        chosen = chosen.where(deliveries.c.target.in_(only))
    row = connection.execute(chosen.with_for_update(of=deliveries, skip_locked=True)).first()
    if row is None:
        return None
    look_after = row.look_after if row.maybe_taken else _newest_reference(connection, row.target)
    leased_until = now + lease
    connection.execute(
        update(deliveries)
        .where(deliveries.c.seq == row.seq)
        .values(
            status="inflight", lease_until=leased_until, leased_by=worker, maybe_taken=True, attempts=row.attempts + 1,
            first_attempt_at=row.first_attempt_at or now, look_after=look_after,
            not_before=leased_until + backoff(row.attempts, row.id) if row.attempts else None,
        )
    )  # fmt: skip
    return replace(_from_row(row), look_after=look_after)


def opening_reference(connection: Connection, delivery: Delivery) -> str | None:
    """The reference of the row that a resolve closes; `CONSOLE` if all opening rows were written only there."""
    sent = or_(deliveries.c.reference.is_not(None), deliveries.c.maybe_taken)
    openers = (deliveries.c.stream == delivery.stream, has_action("trigger", "notice"), sent)
    rows = find(connection, *openers, deliveries.c.seq < delivery.seq)
    reached = [row.reference for row in rows if row.reference != CONSOLE or row.maybe_taken]
    return reached[-1] if reached else CONSOLE if rows else None


def due_targets(connection: Connection, now: datetime, lease: timedelta = LEASE) -> list[str]:
    """The targets that have due rows, ordered by their oldest due row."""
    chosen = _due(now, lease).with_only_columns(deliveries.c.target).group_by(deliveries.c.target)
    return list(connection.execute(chosen.order_by(func.min(deliveries.c.seq))).scalars())


def _newest_reference(connection: Connection, target: str) -> str | None:
    """The reference of the newest message sent to a target. Later messages are newer by the target's own clock."""
    sent = (deliveries.c.target == target, deliveries.c.reference.is_not(None), deliveries.c.reference != CONSOLE)
    chosen = select(deliveries.c.reference).where(*sent).order_by(deliveries.c.ended_at.desc(), deliveries.c.seq.desc())
    return connection.execute(chosen.limit(1)).scalar()


def _due(now: datetime, lease: timedelta) -> Select[Any]:
    earlier = deliveries.alias("earlier")
    blocked = exists().where(
        earlier.c.stream == deliveries.c.stream, earlier.c.seq < deliveries.c.seq, has_status(*UNFINISHED, of=earlier)
    )
    longest = now + max(lease, LONGEST_WAIT)  # times further ahead were written while the clock was wrong
    backing_off = exists().where(
        targets.c.target == deliveries.c.target, targets.c.not_before > now, targets.c.not_before <= longest
    )
    due = or_(
        and_(
            has_status("pending", "parked"),
            or_(deliveries.c.not_before.is_(None), _is_not_within(deliveries.c.not_before, now, longest)),
        ),
        and_(
            has_status("inflight"),
            _is_not_within(deliveries.c.lease_until, now, longest),
            or_(deliveries.c.not_before.is_(None), _is_not_within(deliveries.c.not_before, now, longest)),
        ),
    )
    other = deliveries.alias("other")
    busy = exists().where(
        other.c.target == deliveries.c.target, has_status("inflight", of=other),
        other.c.lease_until > now, other.c.lease_until <= longest,
    )  # fmt: skip
    return select(deliveries).where(due, ~blocked, ~backing_off, ~busy)


def _is_not_within(moment: Column[datetime], now: datetime, longest: datetime) -> ColumnElement[bool]:
    return or_(moment <= now, moment > longest)


def _read(connection: Connection, chosen: Select[Any]) -> list[Delivery]:
    return [_from_row(row) for row in connection.execute(chosen)]


def _first(connection: Connection, chosen: Select[Any]) -> Delivery | None:
    return next(iter(_read(connection, chosen.limit(1))), None)


def _from_row(row: Row[Any]) -> Delivery:
    values: dict[str, Any] = {name: getattr(row, name) for name in _FIELDS}
    values["payload"], values["fallback"] = json.loads(row.payload), json.loads(row.fallback or "null")
    return Delivery(**values)


def settle(
    connection: Connection, delivery: Delivery, outcome: Outcome, now: datetime, worker: str
) -> DeliveryStatus | Literal["lost"]:
    """Records the outcome of an attempt and returns the row's new status; `lost` if another worker has the lease."""
    mine = (deliveries.c.seq == delivery.seq, deliveries.c.leased_by == worker, has_status("inflight"))
    if connection.execute(select(deliveries.c.seq).where(*mine)).first() is None:
        return "lost"
    # The response to this attempt does not settle whether an earlier attempt without a response was accepted.
    in_doubt = outcome.kind == "uncertain" or delivery.maybe_taken
    tried_since = delivery.first_attempt_at or now
    ended_at = not_before = reference = None
    status: DeliveryStatus
    if outcome.kind == "sent":
        status, ended_at, reference = "sent", now, outcome.reference
        mark_recovered(connection, delivery.target)
    elif outcome.kind == "missing":
        status, ended_at = "superseded", now
    elif outcome.kind == "refused" or (outcome.kind != "parked" and now - tried_since > GIVE_UP_AFTER):
        status, ended_at = "dead", now
    elif outcome.kind == "parked":
        status, not_before = "parked", now + _PARKED_RETRY_AFTER
        back_off(connection, delivery.target, outcome, now, parked=True)
    else:
        status, attempts = "pending", delivery.attempts + 1
        if attempts >= _ROTATE_AFTER:
            not_before = now + backoff(attempts, delivery.id)
        back_off(connection, delivery.target, outcome, now, parked=False)
    connection.execute(
        update(deliveries)
        .where(deliveries.c.seq == delivery.seq)
        .values(
            status=status, lease_until=None, leased_by=None, not_before=not_before, ended_at=ended_at,
            reference=reference, said=outcome.detail, maybe_taken=in_doubt,
        )
    )  # fmt: skip
    return status


def requeue_with_fallback(connection: Connection, delivery: Delivery, now: datetime) -> None:
    """Requeues a refused row with its fallback content."""
    assert delivery.fallback is not None
    values = {"payload": _json(delivery.fallback), "fallback": None, "status": "pending", "ended_at": None}
    connection.execute(update(deliveries).where(deliveries.c.seq == delivery.seq).values(**values, not_before=now))


def repost(connection: Connection, delivery: Delivery, now: datetime) -> bool:
    """Queues a new post with the newest content, since the message that `delivery` changes or replies to is missing.

    Returns False if such a post is queued already. Unsent edits and replies are dropped: the new message includes them.
    """
    posted, content = newest_post(connection, delivery.stream), newest_content(connection, delivery.stream)
    if content is None or (posted is not None and posted.status in UNFINISHED):
        return False
    supersede(connection, delivery.stream, now)
    again = Entry(
        delivery.stream, delivery.target, "post", delivery.rule_id, f"again/{delivery.id}", content.payload,
        content.fallback, group_key=delivery.group_key,
    )  # fmt: skip
    enqueue(connection, again, now)
    return True


def drill_deliveries(connection: Connection, rule_id: str, capability: str, since: datetime) -> list[Delivery]:
    """The rows about one drill, oldest first: those queued at `since` (UTC) or later about the episodes of its rule and
    capability; about all drill episodes of the rule if the rule has no capability dimension."""
    mine = (alerts.c.environment == DRILLS, alerts.c.rule_id == rule_id)
    episodes = connection.execute(select(alerts.c.group_key, alerts.c.dimensions).where(*mine)).all()
    named = ("", capability)
    groups = {row.group_key for row in episodes if json.loads(row.dimensions).get("capability", "") in named}
    recent = find(connection, deliveries.c.rule_id == rule_id, deliveries.c.created_at >= since)
    return [row for row in recent if row.group_key in groups]


def requeue_from_console(connection: Connection, providers: Collection[str], now: datetime) -> None:
    """Requeues rows for `providers` that were written to the console while the provider was not configured: messages
    about episodes that still fire, and alerts of the last 24 hours about the alerting system itself. Messages about
    resolved episodes are not sent."""
    of_provider = or_(
        *(deliveries.c.target.startswith(f"{name}:") | (deliveries.c.target == name) for name in providers)
    )
    on_console = (has_status("sent"), deliveries.c.reference == CONSOLE, of_provider)
    firing = select(alerts.c.key).where(alerts.c.group_key == deliveries.c.group_key, alerts.c.resolved_at.is_(None))
    of_row = firing.where(or_(alerts.c.key == deliveries.c.alert_key, deliveries.c.alert_key.is_(None)))
    in_summary = or_(~has_action("trigger"), deliveries.c.alert_key.is_not(None), alerts.c.in_summary)
    opening = and_(has_action(*OPENING_ACTIONS), of_row.where(in_summary).exists())
    notice = and_(has_action("notice"), deliveries.c.ended_at > now - GIVE_UP_AFTER)
    later = deliveries.alias("later")
    # Of several notices or triggers of one key only the last one is sent; a closed one is not sent.
    same_kind = or_(later.c.action == deliveries.c.action, has_action("resolve", of=later))
    has_later = exists().where(later.c.stream == deliveries.c.stream, later.c.seq > deliveries.c.seq, same_kind)
    for row in find(connection, *on_console, or_(opening, notice), ~has_later):
        if row.payload.get("event_action") == "resolve":
            continue
        content = (newest_content(connection, row.stream) if row.action == "post" else None) or row
        rewrite(connection, row.seq, content.payload, content.fallback)
        requeued = {"status": "pending", "created_at": now, "attempts": 0, "first_attempt_at": None}
        fresh = {"reference": None, "ended_at": None, "said": None}
        connection.execute(update(deliveries).where(deliveries.c.seq == row.seq).values(**requeued, **fresh))


def retry_dead(connection: Connection) -> RetryCounts:
    """Requeues dead rows that still apply, and parked rows. A row whose last attempt is uncertain stays so."""
    later = deliveries.alias("later")
    newer = exists().where(
        later.c.stream == deliveries.c.stream, later.c.seq > deliveries.c.seq,
        ~has_status("dead", "superseded", of=later), ~has_action("reply", "comment", of=later),
    )  # fmt: skip
    firing = select(alerts.c.key).where(alerts.c.group_key == deliveries.c.group_key, alerts.c.resolved_at.is_(None))
    fires = firing.where(or_(alerts.c.key == deliveries.c.alert_key, deliveries.c.alert_key.is_(None))).exists()
    is_over = and_(has_action(*OPENING_ACTIONS), deliveries.c.group_key.is_not(None), ~fires)
    is_newest = or_(has_action("reply", "comment"), ~newer)
    again = or_(has_status("parked"), and_(has_status("dead"), is_newest, ~is_over))
    requeued = {"status": "pending", "not_before": None, "ended_at": None, "first_attempt_at": None}
    number = connection.execute(update(deliveries).where(again).values(**requeued)).rowcount
    left = select(func.count()).select_from(deliveries).where(has_status("dead"))
    return RetryCounts(number, connection.execute(left).scalar_one())


def target_state(connection: Connection, target: str, lock: bool = False) -> TargetState | None:
    """The failures of a target; None if it never failed. With `lock`, it is locked until the transaction ends."""
    chosen = select(targets).where(targets.c.target == target)
    row = connection.execute(chosen.with_for_update() if lock else chosen).first()
    return None if row is None else TargetState(row.failures, row.not_before, row.parked_since, row.said)


def back_off(connection: Connection, target: str, outcome: Outcome, now: datetime, parked: bool) -> None:
    """Pauses a target: exponential backoff, at least as long as the provider asked for; one minute if it is parked."""
    known = target_state(connection, target, lock=True)
    failures = (known.failures if known else 0) + 1
    pause = _PARKED_RETRY_AFTER if parked else backoff(failures, target)
    if outcome.retry_after is not None:
        pause = max(pause, outcome.retry_after)
    parked_since = ((known.parked_since if known else None) or now) if parked else None
    values = {"failures": failures, "not_before": now + pause, "said": outcome.detail, "parked_since": parked_since}
    if known is None:
        connection.execute(insert(targets).values(target=target, **values))
    else:
        connection.execute(update(targets).where(targets.c.target == target).values(**values))


def mark_recovered(connection: Connection, target: str) -> None:
    """Clears the failures of a target, which accepts messages again."""
    healthy = {"failures": 0, "not_before": None, "parked_since": None, "said": None}
    connection.execute(update(targets).where(targets.c.target == target, targets.c.failures > 0).values(**healthy))
    # Parked rows wait no longer than their target.
    connection.execute(
        update(deliveries)
        .where(deliveries.c.target == target, has_status("parked"))
        .values(status="pending", not_before=None)
    )


def _json(payload: Payload) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
