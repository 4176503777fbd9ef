"""What the definitions need from outside Dagster: settings, the sync policy and the warehouse, read when asked for."""

from typing import TYPE_CHECKING

from dagster import ConfigurableResource

from audit_assets.alerting.ledger import Ledger, open_ledger
from audit_assets.alerting.pagerduty_incidents import PagerDutyIncidents, incidents_of
from audit_assets.defs.messaging import PagerDutyWithLinks, SlackWithBaseUrl
from audit_assets.ingest.policy import SyncPolicy, read_policy
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.bigquery.client import place_of
from audit_assets.warehouse.opening import open_warehouse
from audit_assets.warehouse.protocol import Warehouse

if TYPE_CHECKING:
    from google.cloud import bigquery


class Surroundings(ConfigurableResource):
    """The environment and the YAML as they are at the moment of asking; nothing is kept, no secret is shown."""

    def settings(self) -> Settings:
        return read_settings()

    def policy(self) -> SyncPolicy:
        return read_policy(self.settings().policy_file)

    def warehouse(self, timeout_seconds: float = 600.0) -> Warehouse:
        settings = self.settings()

        def connect() -> "bigquery.Client":
            from audit_assets.defs.google import client_at  # with Google's clients: seconds, and only where needed

            return client_at(place_of(settings))

        return open_warehouse(settings, self.policy().bigquery, timeout_seconds=timeout_seconds, connect=connect)

    def ledger(self) -> Ledger:
        return open_ledger(self.settings().ledger_url)

    def slack(self) -> SlackWithBaseUrl | None:
        """None where no token is set, or nothing is to be sent."""
        settings = self.settings()
        if settings.slack_token is None or not settings.send:
            return None
        return SlackWithBaseUrl(token=settings.slack_token.get_secret_value(), base_url=settings.slack_base_url)

    def pagerduty(self) -> PagerDutyWithLinks | None:
        """None where no key is set, or nothing is to be sent."""
        settings = self.settings()
        if settings.pagerduty_routing_key is None or not settings.send:
            return None
        key = settings.pagerduty_routing_key.get_secret_value()
        return PagerDutyWithLinks(routing_key=key, events_url=settings.pagerduty_events_url)

    def incidents(self) -> PagerDutyIncidents | None:
        """None where no token of PagerDuty's REST API is set, or nothing is to be sent."""
        return incidents_of(self.settings())
