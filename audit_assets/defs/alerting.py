"""The delivery sensor: sends the ledger's outbox to Slack, PagerDuty and tickets, or to the console, and reads
acknowledgements back."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor
from rich.console import Console

from audit_assets.alerting.channels.senders import build_senders, build_ticket_senders
from audit_assets.alerting.delivery.acknowledgements import poll_acknowledgements
from audit_assets.alerting.delivery.deliverer import SENSOR_BUDGET, count_waiting, deliver
from audit_assets.alerting.inputs import load_routing
from audit_assets.defs.resources import Surroundings

EVERY_SECONDS = 15


@sensor(
    minimum_interval_seconds=EVERY_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Sends the deliveries in the outbox to PagerDuty, Slack and tickets, or to the console if none is "
    "configured. Then reads acknowledgements from PagerDuty if a token is set.",
)
def alert_deliveries(context: SensorEvaluationContext, surroundings: Surroundings) -> SkipReason:
    now = surroundings.clock()
    until = now() + SENSOR_BUDGET
    slack, pagerduty, incidents = surroundings.slack(), surroundings.pagerduty(), surroundings.incidents()
    settings, console = surroundings.settings(), Console(width=100)
    routing = load_routing(settings)
    senders = {
        **build_senders(slack.client() if slack else None, pagerduty.client() if pagerduty else None, console),
        **build_ticket_senders(settings, console),
    }
    with surroundings.ledger() as ledger:
        counts = deliver(ledger, senders, routing, now)
        read = poll_acknowledgements(ledger, incidents, routing, now, until) if incidents else None
        with ledger.transaction() as connection:
            left = count_waiting(connection)
    still_waiting = ", ".join(f"{number} {status}" for status, number in sorted(left.items()))
    summary = (
        f"{counts.sent} sent, {counts.retried} to retry, {counts.suppressed} held, {counts.parked} parked, "
        f"{counts.dead} given up; waiting: {still_waiting or 'none'}"
    )
    return SkipReason(f"{summary}{f'; {read.summary}' if read else ''}")
