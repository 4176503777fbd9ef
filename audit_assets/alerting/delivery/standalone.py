"""Sends due deliveries and polls acknowledgements without Dagster, with the same clients as the sensor."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from rich.console import Console

from audit_assets.alerting.channels.pagerduty import incidents_client, pagerduty_client
from audit_assets.alerting.channels.senders import build_senders, build_ticket_senders
from audit_assets.alerting.channels.slack import slack_client
from audit_assets.alerting.delivery.acknowledgements import AckPollResult, poll_acknowledgements
from audit_assets.alerting.delivery.deliverer import SENSOR_BUDGET, DeliveryCounts, count_waiting, deliver
from audit_assets.alerting.inputs import load_routing
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.clock import Clock
from audit_assets.settings import Settings


def deliver_due(
    settings: Settings, console: Console, clock: Clock, budget: timedelta = SENSOR_BUDGET
) -> tuple[DeliveryCounts, Mapping[str, int]]:
    """Sends due deliveries for at most `budget`. Returns the outcomes by count, and the rows left by status. Raises
    LedgerError."""
    senders = {
        **build_senders(slack_client(settings), pagerduty_client(settings), console),
        **build_ticket_senders(settings, console),
    }
    with open_ledger(settings.ledger_url) as ledger:
        done = deliver(ledger, senders, load_routing(settings), clock, budget)
        with ledger.transaction() as connection:
            return done, count_waiting(connection)


def poll_due_acknowledgements(settings: Settings, clock: Clock, until: datetime) -> AckPollResult:
    """Reads from PagerDuty who acknowledged which incident. Sends no request at `until` (UTC) or later, or without a
    token. Raises LedgerError."""
    incidents = incidents_client(settings)
    if incidents is None:
        return AckPollResult()
    with open_ledger(settings.ledger_url) as ledger:
        return poll_acknowledgements(ledger, incidents, load_routing(settings), clock, until)
