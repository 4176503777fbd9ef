"""Checks of the alerting system from outside: rules that are not evaluated, or only on old facts, a deliverer that
stopped, messages that are not sent. Run from cron or systemd, it needs neither Dagster nor the warehouse."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.ledger.store import CLOCKS_DIFFER, last_evaluated_at
from audit_assets.alerting.ledger.tables import (
    LedgerError,
    deliveries,
    evaluations,
    has_status,
    heartbeats,
    open_ledger,
    targets,
)
from audit_assets.alerting.notify.formatting import counted, duration
from audit_assets.settings import Settings
from audit_assets.text.sanitize import escape

GRACE_PERIOD = timedelta(minutes=8)  # a cron job every minute or two then reports within ten minutes
DELIVERER = "deliverer"
NEVER_EVALUATED = "no rule has been evaluated yet: start `audit dev`, or run `audit build`"
PAGERDUTY_API = "pagerduty-api"  # the target of acknowledgement polling; its failures do not page


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of the alerting system, and what to look at. `about` names the component or target."""

    about: str
    detail: str


def find_problems(connection: Connection, now: datetime, grace_period: timedelta = GRACE_PERIOD) -> list[Problem]:
    """The problems of the alerting system at `now` (UTC); empty if it works."""
    timed_checks = (_not_evaluated, _stale_facts, _deliverer_stopped, _undelivered)
    late = [problem for check in timed_checks for problem in check(connection, now, grace_period)]
    return [*late, *_parked_targets(connection), *_dead_messages(connection, now)]


def _not_evaluated(connection: Connection, now: datetime, grace_period: timedelta) -> list[Problem]:
    last = last_evaluated_at(connection, now)
    if last is None:
        return [Problem("judging", NEVER_EVALUATED)]
    if now - last <= grace_period:
        return []
    return [Problem("judging", f"no rule was evaluated for {duration(now - last)}: is the Dagster daemon running?")]


def _stale_facts(connection: Connection, now: datetime, grace_period: timedelta) -> list[Problem]:
    """Rules are evaluated, but on facts that are not updated: the sync, the models or the publishing fails."""
    lately = (evaluations.c.at > now - grace_period, evaluations.c.at <= now + CLOCKS_DIFFER)
    newest = select(func.max(evaluations.c.as_of).label("as_of")).where(*lately).group_by(evaluations.c.rule_id)
    oldest = connection.execute(select(func.min(newest.subquery().c.as_of))).scalar()
    if oldest is None or now - oldest <= grace_period:
        return []
    detail = f"rules are evaluated on facts of {oldest:%Y-%m-%d %H:%M} UTC, {duration(now - oldest)} old"
    return [Problem("facts", f"{detail}: check the runs of audit_sync")]


def _deliverer_stopped(connection: Connection, now: datetime, grace_period: timedelta) -> list[Problem]:
    last = connection.execute(select(heartbeats.c.at).where(heartbeats.c.name == DELIVERER)).scalar()
    if last is not None and -CLOCKS_DIFFER <= now - last <= grace_period:
        return []
    detail = "has never run"
    if last is not None:
        ahead = f"last ran at {last:%Y-%m-%d %H:%M} UTC, which is in the future (a clock was wrong)"
        detail = ahead if last > now else f"has not run for {duration(now - last)}"
    return [Problem("delivering", f"the deliverer {detail}: is the sensor alert_deliveries running?")]


def _undelivered(connection: Connection, now: datetime, grace_period: timedelta) -> list[Problem]:
    """Messages that wait too long. Suppressed rows are not a problem; those of a parked target are reported with it."""
    mine = (has_status("pending", "inflight"), deliveries.c.created_at < now - grace_period)
    by_target = select(deliveries.c.target, func.count().label("rows")).where(*mine).group_by(deliveries.c.target)
    return [
        Problem(
            row.target, f"{counted(row.rows, 'message')} to {row.target} waiting for more than {duration(grace_period)}"
        )
        for row in connection.execute(by_target)
    ]


def _parked_targets(connection: Connection) -> list[Problem]:
    reported = (targets.c.parked_since.is_not(None), targets.c.target != PAGERDUTY_API)
    parked = connection.execute(select(targets).where(*reported)).all()
    return [
        Problem(
            row.target,
            f"{row.target} accepts no messages since {row.parked_since:%Y-%m-%d %H:%M} UTC: {escape(row.said)}",
        )
        for row in parked
    ]


def _dead_messages(connection: Connection, now: datetime) -> list[Problem]:
    lately = (has_status("dead"), deliveries.c.ended_at > now - timedelta(hours=24))
    number = connection.execute(select(func.count()).select_from(deliveries).where(*lately)).scalar_one()
    if not number:
        return []
    detail = f"{counted(number, 'message')} given up in the last 24 hours: `audit alerts retry` sends them again"
    return [Problem("given up", detail)]


def ledger_problems(ledger_url: str, now: datetime) -> list[Problem]:
    """The problems that the ledger shows at `now` (UTC). A ledger that cannot be read is a problem, not an error."""
    try:
        with open_ledger(ledger_url) as ledger, ledger.transaction() as connection:
            return find_problems(connection, now)
    except LedgerError as error:
        return [Problem("ledger", str(error))]


def notify_pagerduty(settings: Settings, problems: Sequence[Problem]) -> str | None:
    """Opens one incident with the first problem and resolves it after the last, if a routing key is set. A file records
    that it is open. Returns why PagerDuty was not notified, if it was not."""
    if settings.watchdog_routing_key is None:
        return None
    is_open = settings.home / "watchdog.open"
    key = f"ai-audit/{settings.environment}/watchdog"
    if problems:
        event = {
            "event_action": "trigger",
            "dedup_key": key,
            "payload": {
                "summary": f"AI audit alerting does not work: {'; '.join(problem.detail for problem in problems)}"[
                    :1024
                ],
                "source": socket.gethostname(),
                "severity": "critical",
                "component": "alerting",
                "class": "watchdog",
                "custom_details": {problem.about: problem.detail for problem in problems},
            },
        }
    elif is_open.exists():
        event = {"event_action": "resolve", "dedup_key": key}
    else:
        return None
    outcome = PagerDutyClient(settings.watchdog_routing_key, settings.pagerduty_events_url).send(event)
    if outcome.kind != "sent":
        return outcome.detail
    if problems:
        settings.home.mkdir(parents=True, exist_ok=True)
        is_open.touch()
    else:
        is_open.unlink()
    return None
