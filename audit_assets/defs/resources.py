"""The Dagster resource for everything outside Dagster: settings, sync policy, warehouse, ledger and clients."""

from datetime import datetime
from typing import TYPE_CHECKING

from dagster import ConfigurableResource, InitResourceContext
from pydantic import Field

from audit_assets.alerting.channels.pagerduty_incidents import PagerDutyIncidents, incidents_client
from audit_assets.alerting.ledger.tables import Ledger, open_ledger
from audit_assets.clock import Clock, fixed_clock
from audit_assets.defs.liveness import hold_run_lock
from audit_assets.defs.messaging import PagerDutyWithLinks, SlackWithBaseUrl
from audit_assets.ingest.policy import SyncPolicy, read_policy
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.bigquery.client import location_of
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.protocol import Warehouse

if TYPE_CHECKING:
    from google.cloud import bigquery


class Surroundings(ConfigurableResource):
    """Reads the environment and the YAML files on each call; keeps no state and exposes no secret."""

    fixed_now: str | None = Field(
        default=None,
        description="Time the run takes as now, as 2026-11-25T08:06:00Z, instead of the clocks of this machine and of "
        "the source. For demos and tests, which set it in the run config; do not set it in a deployment.",
    )

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Holds the run's lock. Dagster calls this before the run's first step."""
        if context.run is not None:
            hold_run_lock(self.settings(), context.run.run_id)

    def clock(self) -> Clock:
        """The run's clock."""
        return fixed_clock(self.fixed_now)

    def now(self) -> datetime:
        """The current time (UTC) of that clock."""
        return self.clock()()

    def settings(self) -> Settings:
        return read_settings()

    def policy(self) -> SyncPolicy:
        return read_policy(self.settings().policy_file)

    def warehouse(self, timeout_seconds: float = 600.0) -> Warehouse:
        settings = self.settings()

        def connect() -> "bigquery.Client":
            from audit_assets.defs.google import client_at  # imports Google's clients, which takes seconds

            return client_at(location_of(settings))

        return open_warehouse(settings, self.policy().bigquery, timeout_seconds=timeout_seconds, connect=connect)

    def ledger(self) -> Ledger:
        return open_ledger(self.settings().ledger_url)

    def slack(self) -> SlackWithBaseUrl | None:
        """None if no token is set or sending is off."""
        settings = self.settings()
        if settings.slack_token is None or not settings.send:
            return None
        return SlackWithBaseUrl(token=settings.slack_token.get_secret_value(), base_url=settings.slack_base_url)

    def pagerduty(self) -> PagerDutyWithLinks | None:
        """None if no routing key is set or sending is off."""
        settings = self.settings()
        if settings.pagerduty_routing_key is None or not settings.send:
            return None
        key = settings.pagerduty_routing_key.get_secret_value()
        return PagerDutyWithLinks(routing_key=key, events_url=settings.pagerduty_events_url)

    def incidents(self) -> PagerDutyIncidents | None:
        """None if no token for PagerDuty's REST API is set or sending is off."""
        return incidents_client(self.settings())
