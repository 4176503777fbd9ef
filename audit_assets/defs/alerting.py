"""The sensor that tells: it empties the ledger's outbox into Slack, PagerDuty and tickets, or onto the console, and
reads back who took what was told."""

from datetime import UTC, datetime

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor
from rich.console import Console

from audit_assets.alerting.acknowledgements import read_back
from audit_assets.alerting.deliverer import SENSOR_BUDGET, deliver, waiting
from audit_assets.alerting.routes import routes_of
from audit_assets.alerting.senders import senders_of
from audit_assets.alerting.ticket_senders import ticket_senders
from audit_assets.defs.resources import Surroundings

EVERY_SECONDS = 15


@sensor(
    minimum_interval_seconds=EVERY_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Sends what the outbox holds: to PagerDuty, Slack and tickets, or to the console where none is set. "
    "Then reads from PagerDuty who took it, where a token allows.",
)
def alert_deliveries(context: SensorEvaluationContext, surroundings: Surroundings) -> SkipReason:
    until = _now() + SENSOR_BUDGET
    slack, pagerduty, incidents = surroundings.slack(), surroundings.pagerduty(), surroundings.incidents()
    settings, console = surroundings.settings(), Console(width=100)
    routing = routes_of(settings)
    senders = {
        **senders_of(slack.client() if slack else None, pagerduty.client() if pagerduty else None, console),
        **ticket_senders(settings, console),
    }
    with surroundings.ledger() as ledger:
        told = deliver(ledger, senders, routing, _now)
        read = read_back(ledger, incidents, routing, _now, until) if incidents else None
        with ledger.transaction() as connection:
            left = waiting(connection)
    still = ", ".join(f"{number} {status}" for status, number in sorted(left.items()))
    said = f"{told.sent} sent, {told.again} to try again, {told.held} held, {told.parked} parked, {told.dead} given up"
    return SkipReason(f"{said}; waiting: {still or 'nothing'}{f'; {read.said}' if read else ''}")


def _now() -> datetime:
    return datetime.now(UTC)
