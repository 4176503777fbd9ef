"""What is due, sent and read back by the command line: without Dagster, with the same clients."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from rich.console import Console

from audit_assets.alerting.acknowledgements import ReadBack, read_back
from audit_assets.alerting.deliverer import SENSOR_BUDGET, Delivered, deliver, waiting
from audit_assets.alerting.ledger import open_ledger
from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.pagerduty_incidents import incidents_of
from audit_assets.alerting.routes import routes_of
from audit_assets.alerting.senders import senders_of
from audit_assets.alerting.slack_client import SlackClient
from audit_assets.alerting.ticket_senders import ticket_senders
from audit_assets.settings import Settings


def deliver_due(
    settings: Settings, console: Console, budget: timedelta = SENSOR_BUDGET
) -> tuple[Delivered, Mapping[str, int]]:
    """What became of the rows that were due, and how many are left, by status. Raises LedgerError."""
    token = settings.slack_token if settings.send else None
    key = settings.pagerduty_routing_key if settings.send else None
    senders = senders_of(
        SlackClient(token, settings.slack_base_url) if token else None,
        PagerDutyClient(key, settings.pagerduty_events_url) if key else None,
        console,
    )
    senders = {**senders, **ticket_senders(settings, console)}
    with open_ledger(settings.ledger_url) as ledger:
        done = deliver(ledger, senders, routes_of(settings), lambda: datetime.now(UTC), budget)
        with ledger.transaction() as connection:
            return done, waiting(connection)


def read_back_due(settings: Settings, until: datetime) -> ReadBack:
    """Who has taken what was sent to PagerDuty; nobody is asked at `until` (UTC) or later, or without a token. Raises
    LedgerError."""
    incidents = incidents_of(settings)
    if incidents is None:
        return ReadBack()
    with open_ledger(settings.ledger_url) as ledger:
        return read_back(ledger, incidents, routes_of(settings), lambda: datetime.now(UTC), until)
