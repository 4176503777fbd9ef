"""What the definitions need from outside Dagster: settings, the sync policy and the warehouse, read when asked for."""

from dagster import ConfigurableResource

from audit_assets.alerting.ledger import Ledger, open_ledger
from audit_assets.alerting.pagerduty_incidents import PagerDutyIncidents, incidents_of
from audit_assets.defs.messaging import PagerDutyWithLinks, SlackWithBaseUrl
from audit_assets.ingest.policy import SyncPolicy, read_policy
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.duckdb import DuckDBWarehouse


class Surroundings(ConfigurableResource):
    """The environment and the YAML as they are at the moment of asking; nothing is kept, no secret is shown."""

    def settings(self) -> Settings:
        return read_settings()

    def policy(self) -> SyncPolicy:
        return read_policy(self.settings().policy_file)

    def warehouse(self) -> DuckDBWarehouse:
        settings = self.settings()
        return DuckDBWarehouse(settings.duckdb_path, settings.lock_path)

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
