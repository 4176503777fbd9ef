"""Who took an incident: read back from PagerDuty into the ledger, and from there into the message at Slack.

It is read beside the telling and never holds it up: what cannot be read now is read later.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting import notices, outbox, record
from audit_assets.alerting.asking import EVERY, Question, questions
from audit_assets.alerting.ledger import Ledger, alerts, deliveries, targets
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.pagerduty_incidents import Acknowledgement, PagerDutyIncidents
from audit_assets.alerting.slack_text import quoted
from audit_assets.alerting.telling import tell_taken
from audit_assets.alerting.watchdog import READING
from audit_assets.rules.routing import Routing


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How many incidents were asked about, how many episodes somebody has taken since, and PagerDuty's word where it
    does not say."""

    asked: int = 0
    acknowledged: int = 0
    trouble: str | None = None

    @property
    def said(self) -> str:
        if self.trouble is not None:
            return f"acknowledgements cannot be read: {self.trouble}"
        return f"acknowledgements: {self.asked} asked for, {self.acknowledged} new"


def read_back(
    ledger: Ledger,
    incidents: PagerDutyIncidents,
    routing: Routing,
    clock: Callable[[], datetime],
    until: datetime,
) -> ReadBack:
    """Asks who took what was sent to PagerDuty, and writes it down; no question begins at `until` (UTC) or later. The
    first trouble ends the round, and the next rounds wait ever longer. Raises LedgerError."""
    with ledger.transaction() as connection:
        trouble = _trouble(connection)
        if trouble is not None and trouble.not_before > clock():
            return ReadBack(trouble=trouble.said)
        known = record.open_episodes(connection)
        untaken = [one for one in known if one.told.acknowledged_at is None]
        due = questions(untaken, _at_pagerduty(connection, {one.group_key for one in untaken}), clock())
    asked = acknowledged = 0
    # Each transaction alone: an evaluation that changes the same episodes and message comes before it or after it.
    for question in due:
        if clock() >= until:
            break
        with ledger.transaction(alone=True) as connection:
            if not _is_mine(connection, question, clock()):
                continue
        answer = incidents.acknowledgement(question.key)
        asked += 1
        with ledger.transaction(alone=True) as connection:
            if isinstance(answer, Outcome):
                _rest(connection, answer, routing, clock())
                return ReadBack(asked, acknowledged, answer.said)
            _speaks(connection, routing, clock())
            if answer is not None:
                acknowledged += _take(connection, question, answer, clock())
    return ReadBack(asked, acknowledged)


def _at_pagerduty(connection: Connection, group_keys: Collection[str]) -> set[str]:
    """The dedup keys of what was sent. What was said on the console refers to none, and what is held back or on its way
    is not there yet."""
    sent = (deliveries.c.action == "trigger", deliveries.c.status == "sent", deliveries.c.group_key.in_(group_keys))
    return set(connection.execute(select(deliveries.c.reference).where(*sent)).scalars())


def _is_mine(connection: Connection, question: Question, now: datetime) -> bool:
    """Marks the episodes as asked about, unless another has asked meanwhile."""
    asked = alerts.c.acknowledgement_asked_at
    free = (alerts.c.key.in_(question.episodes), or_(asked.is_(None), asked <= now - EVERY))
    return connection.execute(update(alerts).where(*free).values(acknowledgement_asked_at=now)).rowcount > 0


def _take(connection: Connection, question: Question, answer: Acknowledgement, now: datetime) -> int:
    taken = [key for key in question.episodes if record.acknowledge(connection, key, answer.at, answer.by)]
    if taken:
        tell_taken(connection, question.group_key, f"acknowledged/{taken[0]}", now)
    return len(taken)


def _trouble(connection: Connection) -> Row[Any] | None:
    troubled = (targets.c.target == READING, targets.c.failures > 0)
    return connection.execute(select(targets).where(*troubled)).first()


def _rest(connection: Connection, outcome: Outcome, routing: Routing, now: datetime) -> None:
    """Asks nothing for a while. What a person has to mend is told once."""
    before, parked = _trouble(connection), outcome.kind == "parked"
    outbox.rest(connection, READING, outcome, now, parked)
    if parked and (before is None or before.parked_since is None):
        said = f"cannot be read back from PagerDuty: {quoted(outcome.said)}. All is told as before"
        _notice(connection, said, f"parked/{now.isoformat()}", routing, now)


def _speaks(connection: Connection, routing: Routing, now: datetime) -> None:
    before = _trouble(connection)
    if before is None:
        return
    outbox.recovered(connection, READING)
    if before.parked_since is not None:
        _notice(connection, "are read back from PagerDuty again", f"again/{now.isoformat()}", routing, now)


def _notice(connection: Connection, said: str, about: str, routing: Routing, now: datetime) -> None:
    target = notices.first_channel(routing)
    if target is not None:
        notices.put(connection, f"ai-audit/notice/{READING}", target, f"acknowledgements {said}", about, now)
