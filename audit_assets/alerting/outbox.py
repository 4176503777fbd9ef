"""The outbox: what is to be told, to whom, and what became of it. Rows are written in the transaction of the state they
tell of, so that nothing is lost, and each carries an id made of what it tells, so that nothing is written twice."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, and_, exists, insert, or_, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.backoff import backoff
from audit_assets.alerting.http_answer import LONGEST_WAIT
from audit_assets.alerting.ledger import deliveries, targets
from audit_assets.alerting.outcome import Outcome

# Waiting to be told, in whatever way.
UNENDED = ("pending", "inflight", "suppressed", "parked")

# What an episode is opened with at a target, and what its end is told by.
FIRST_WORDS = ("trigger", "post", "ticket")
LAST_WORDS = ("resolve", "edit", "comment")

LEASE = timedelta(seconds=60)  # longer than any attempt may take
GIVE_UP_AFTER = timedelta(hours=24)
_PARKED_AGAIN_AFTER = timedelta(minutes=1)
_ROTATES_AFTER = 5  # attempts of one row, before others of its target go first


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of the outbox. `payload` is what is sent, without a secret; `maybe_taken` says that an attempt was begun
    whose end nobody knows."""

    seq: int
    id: str
    stream: str
    target: str
    action: str
    rule_id: str
    alert_key: str | None
    group_key: str | None
    payload: Mapping[str, Any]
    fallback: Mapping[str, Any] | None
    attempts: int
    maybe_taken: bool
    first_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to be. `about` tells it from others of its stream and action; `fallback` is sent where `payload` is
    refused."""

    stream: str
    target: str
    action: str
    rule_id: str
    about: str
    payload: Mapping[str, Any]
    fallback: Mapping[str, Any] | None = None
    alert_key: str | None = None
    group_key: str | None = None

    @property
    def id(self) -> str:
        """Made of what is told: the same told again is the same row."""
        told = "\0".join((self.stream, self.target, self.action, self.about))
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def enqueue(connection: Connection, entry: Entry, now: datetime) -> None:
    """Puts a row at the end, unless it is there."""
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


def first_of(connection: Connection, stream: str, action: str) -> Row[Any] | None:
    """The first row of a stream with this action, whatever became of it; nobody takes it while it is being decided
    upon."""
    chosen = select(deliveries).where(deliveries.c.stream == stream, deliveries.c.action == action)
    return connection.execute(chosen.order_by(deliveries.c.seq).limit(1).with_for_update()).first()


def newest_content(connection: Connection, stream: str) -> Row[Any] | None:
    """The row that says how the message of a stream was to look last; what was refused does not count."""
    chosen = select(deliveries).where(
        deliveries.c.stream == stream, deliveries.c.action.in_(("post", "edit")), deliveries.c.status != "dead"
    )
    return connection.execute(chosen.order_by(deliveries.c.seq.desc()).limit(1)).first()


def unclosed(connection: Connection, stream: str) -> list[Row[Any]]:
    """The triggers of a stream after which no resolve follows, but for those that came to nothing; nobody takes them
    while it is being decided upon."""
    chosen = select(deliveries).where(deliveries.c.stream == stream).order_by(deliveries.c.seq).with_for_update()
    rows = connection.execute(chosen).all()
    last = max((row.seq for row in rows if row.action == "resolve"), default=0)
    return [row for row in rows if row.seq > last and row.status not in ("superseded", "dead")]


def is_untold(row: Row[Any]) -> bool:
    """Whether it is certain that nobody has seen this row yet."""
    return row.status in UNENDED and not row.maybe_taken


def rewrite(connection: Connection, seq: int, payload: Mapping[str, Any], fallback: Mapping[str, Any] | None) -> None:
    """Tells the newest state instead, where nothing was told yet."""
    changed = {"payload": _json(payload), "fallback": _json(fallback) if fallback else None}
    connection.execute(update(deliveries).where(deliveries.c.seq == seq).values(**changed))


def supersede(connection: Connection, now: datetime, *conditions: Any) -> None:
    """Ends rows that nobody has seen and nobody needs to see any more."""
    untold = (deliveries.c.status.in_(UNENDED), deliveries.c.maybe_taken.is_(False))
    connection.execute(
        update(deliveries).where(*untold, *conditions).values(status="superseded", ended_at=now, said="nobody was told")
    )


def give_up_trying(connection: Connection, seq: int, now: datetime) -> None:
    """Ends a row that waits for a further attempt; one that is being sent at this moment goes on."""
    waits = (deliveries.c.seq == seq, deliveries.c.status.in_(("pending", "parked", "suppressed")))
    ended = {"status": "superseded", "ended_at": now, "said": "it may have been taken, and is over"}
    connection.execute(update(deliveries).where(*waits).values(**ended))


def claim(connection: Connection, now: datetime, worker: str, lease: timedelta = LEASE) -> Delivery | None:
    """The next row to be sent, leased to `worker`; None where there is nothing to do at the moment. Rows of a stream
    go one after the other; a target that is to be left alone is."""
    earlier = deliveries.alias("earlier")
    blocked = exists().where(
        earlier.c.stream == deliveries.c.stream, earlier.c.seq < deliveries.c.seq, earlier.c.status.in_(UNENDED)
    )
    longest = now + max(lease, LONGEST_WAIT)  # what is further ahead was written while the clock was wrong
    resting = exists().where(
        targets.c.target == deliveries.c.target, targets.c.not_before > now, targets.c.not_before <= longest
    )
    due = or_(
        and_(
            deliveries.c.status.in_(("pending", "parked")),
            or_(deliveries.c.not_before.is_(None), _is_not_within(deliveries.c.not_before, now, longest)),
        ),
        and_(deliveries.c.status == "inflight", _is_not_within(deliveries.c.lease_until, now, longest)),
    )
    chosen = select(deliveries).where(due, ~blocked, ~resting).order_by(deliveries.c.seq).limit(1)
    row = connection.execute(chosen.with_for_update(of=deliveries, skip_locked=True)).first()
    if row is None:
        return None
    connection.execute(
        update(deliveries)
        .where(deliveries.c.seq == row.seq)
        .values(
            status="inflight", lease_until=now + lease, leased_by=worker, maybe_taken=True,
            attempts=row.attempts + 1, first_attempt_at=row.first_attempt_at or now,
        )
    )  # fmt: skip
    return of_row(row)


def _is_not_within(moment: Column[datetime], now: datetime, longest: datetime) -> ColumnElement[bool]:
    return or_(moment <= now, moment > longest)


def of_row(row: Row[Any]) -> Delivery:
    """A row of the outbox as a value, as it was read."""
    return Delivery(
        row.seq, row.id, row.stream, row.target, row.action, row.rule_id, row.alert_key, row.group_key,
        json.loads(row.payload), json.loads(row.fallback) if row.fallback else None,
        row.attempts, row.maybe_taken, row.first_attempt_at,
    )  # fmt: skip


def settle(connection: Connection, delivery: Delivery, outcome: Outcome, now: datetime, worker: str) -> str:
    """Writes down what became of an attempt; the row's new status. Nothing where the lease has gone to another."""
    mine = (deliveries.c.seq == delivery.seq, deliveries.c.leased_by == worker, deliveries.c.status == "inflight")
    if connection.execute(select(deliveries.c.seq).where(*mine)).first() is None:
        return "lost"
    values: dict[str, Any] = {"lease_until": None, "leased_by": None, "said": outcome.said}
    tried_since = delivery.first_attempt_at or now
    if outcome.kind == "sent":
        values |= {"status": "sent", "ended_at": now, "reference": outcome.reference}
        recovered(connection, delivery.target)
    elif outcome.kind == "refused" or (outcome.kind != "parked" and now - tried_since > GIVE_UP_AFTER):
        values |= {"status": "dead", "ended_at": now}
    elif outcome.kind == "parked":
        values |= {"status": "parked", "maybe_taken": delivery.maybe_taken, "not_before": now + _PARKED_AGAIN_AFTER}
        rest(connection, delivery.target, outcome, now, parked=True)
    else:
        uncertain = outcome.kind == "uncertain" or delivery.maybe_taken
        values |= {"status": "pending", "maybe_taken": uncertain}
        attempts = delivery.attempts + 1
        values["not_before"] = now + backoff(attempts, delivery.id) if attempts >= _ROTATES_AFTER else None
        rest(connection, delivery.target, outcome, now, parked=False)
    connection.execute(update(deliveries).where(deliveries.c.seq == delivery.seq).values(**values))
    return str(values["status"])


def put_fallback(connection: Connection, delivery: Delivery, now: datetime) -> None:
    """Gives a refused row its plainer content and one more try."""
    assert delivery.fallback is not None
    values = {"payload": _json(delivery.fallback), "fallback": None, "status": "pending", "ended_at": None}
    connection.execute(
        update(deliveries).where(deliveries.c.seq == delivery.seq).values(**values, maybe_taken=False, not_before=now)
    )


def rest(connection: Connection, target: str, outcome: Outcome, now: datetime, parked: bool) -> None:
    """Leaves a target alone for a while: ever longer, at least as long as it asked for; a minute where it is parked."""
    row = connection.execute(select(targets).where(targets.c.target == target).with_for_update()).first()
    failures = (row.failures if row else 0) + 1
    pause = _PARKED_AGAIN_AFTER if parked else backoff(failures, target)
    if outcome.retry_after is not None:
        pause = max(pause, outcome.retry_after)
    parked_since = ((row.parked_since if row else None) or now) if parked else None
    values = {"failures": failures, "not_before": now + pause, "said": outcome.said, "parked_since": parked_since}
    if row is None:
        connection.execute(insert(targets).values(target=target, **values))
    else:
        connection.execute(update(targets).where(targets.c.target == target).values(**values))


def recovered(connection: Connection, target: str) -> None:
    """Forgets that a target could not be reached."""
    well = {"failures": 0, "not_before": None, "parked_since": None, "said": None}
    connection.execute(update(targets).where(targets.c.target == target, targets.c.failures > 0).values(**well))
    # What was parked waits no longer than the target does.
    connection.execute(
        update(deliveries)
        .where(deliveries.c.target == target, deliveries.c.status == "parked")
        .values(status="pending", not_before=None)
    )


def _json(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
