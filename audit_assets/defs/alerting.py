"""The delivery sensor: sends the ledger's outbox to Slack, PagerDuty and tickets, or to the console, and reads
acknowledgements back."""

from dagster import DefaultSensorStatus, SensorDefinition, SkipReason, sensor
from rich.console import Console

from audit_assets.alerting.channels.senders import build_senders, build_ticket_senders
from audit_assets.alerting.delivery.acknowledgements import poll_acknowledgements
from audit_assets.alerting.delivery.deliverer import SENSOR_BUDGET, count_waiting, deliver
from audit_assets.alerting.inputs import load_routing
from audit_assets.defs.resources import AlertLedger, PagerDutyWithLinks, RunClock, SlackWithBaseUrl
from audit_assets.settings import Settings

EVERY_SECONDS = 15


def delivery_sensor(settings: Settings) -> SensorDefinition:
    """The sensor that delivers the outbox."""

    @sensor(
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Sends the deliveries in the outbox to PagerDuty, Slack and tickets, or to the console if none is "
        "configured. Then reads acknowledgements from PagerDuty if a token is set.",
    )
    def alert_deliveries(
        clock: RunClock, ledger: AlertLedger, slack: SlackWithBaseUrl, pagerduty: PagerDutyWithLinks
    ) -> SkipReason:
        now = clock.clock()
        until = now() + SENSOR_BUDGET
        routing, console, incidents = load_routing(settings), Console(width=100), pagerduty.incidents()
        senders = {
            **build_senders(slack.client(), pagerduty.client(), console),
            **build_ticket_senders(settings, console),
        }
        with ledger.open() as opened:
            counts = deliver(opened, senders, routing, now)
            read = poll_acknowledgements(opened, incidents, routing, now, until) if incidents else None
            with opened.transaction() as connection:
                left = count_waiting(connection)
        still_waiting = ", ".join(f"{number} {status}" for status, number in sorted(left.items()))
        summary = (
            f"{counts.sent} sent, {counts.retried} to retry, {counts.suppressed} held, {counts.parked} parked, "
            f"{counts.dead} given up; waiting: {still_waiting or 'none'}"
        )
        return SkipReason(f"{summary}{f'; {read.summary}' if read else ''}")

    return alert_deliveries
