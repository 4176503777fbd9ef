"""The Dagster resources: the clock, the source, the warehouse, the alert ledger, Slack and PagerDuty.

A resource without config of its own reads the environment when a run needs it, so that secrets are in no run config.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster import ConfigurableResource, InitResourceContext
from dagster_pagerduty import PagerDutyService
from dagster_slack import SlackResource
from pydantic import Field, SecretStr
from slack_sdk.web.client import WebClient

from audit_assets.alerting.channels.pagerduty import (
    PagerDutyClient,
    PagerDutyIncidents,
    incidents_client,
    pagerduty_client,
)
from audit_assets.alerting.channels.slack import SlackClient, slack_client
from audit_assets.alerting.ledger.tables import Ledger, open_ledger
from audit_assets.clock import Clock, fixed_clock
from audit_assets.defs.liveness import hold_run_lock
from audit_assets.ingest.policy import read_policy
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.protocol import Warehouse


class RunResource(ConfigurableResource[Any]):
    """A resource of a run, which holds the run's lock from before its first step."""

    def setup_for_execution(self, context: InitResourceContext) -> None:
        if context.run is not None:
            hold_run_lock(read_settings(), context.run.run_id)


class RunClock(RunResource):
    """The clock of a run."""

    fixed_now: str | None = Field(
        default=None,
        description="Time the run takes as now, as 2026-11-25T08:06:00Z, instead of the clocks of this machine and of "
        "the source. For demos and tests, which set it in the run config; do not set it in a deployment.",
    )

    def clock(self) -> Clock:
        return fixed_clock(self.fixed_now)

    def now(self) -> datetime:
        """The current time (UTC) of that clock."""
        return self.clock()()


class PostgresSource(RunResource):
    """The application's Postgres."""

    url: str | None = Field(
        default=None,
        description="URL of the source, best as EnvVar; AI_AUDIT_SOURCE_URL by default, or the embedded Postgres.",
    )

    def address(self) -> str:
        """The URL, which may contain a password: never log it. Raises SettingsError if there is no source."""
        return self.url if self.url is not None else read_settings().source_url


class WarehouseResource(RunResource):
    """The warehouse that AI_AUDIT_WAREHOUSE_DESTINATION names."""

    duckdb_path: str | None = Field(
        default=None, description="Path of the DuckDB file; AI_AUDIT_DUCKDB_PATH by default."
    )
    duckdb_memory: str | None = Field(
        default=None, description="DuckDB's memory limit, as 4GB; AI_AUDIT_DUCKDB_MEMORY by default."
    )

    def open(self, timeout_seconds: float = 600.0) -> Warehouse:
        """The warehouse. Waits for its lock for at most `timeout_seconds`."""
        settings = self.settings()
        return open_warehouse(settings, read_policy(settings.policy_file).bigquery, timeout_seconds=timeout_seconds)

    def settings(self) -> Settings:
        """The environment's settings with this resource's config, for dbt, which opens the warehouse itself."""
        path = Path(self.duckdb_path).absolute() if self.duckdb_path else None
        return _settings_with(configured_duckdb_path=path, duckdb_memory=self.duckdb_memory)


class AlertLedger(RunResource):
    """The database of episodes and deliveries."""

    url: str | None = Field(
        default=None,
        description="URL of the ledger, best as EnvVar; AI_AUDIT_LEDGER_URL by default, or a local SQLite.",
    )

    def open(self) -> Ledger:
        """Opens the ledger. Raises LedgerError."""
        return open_ledger(self.url if self.url is not None else read_settings().ledger_url)


class SlackWithBaseUrl(SlackResource):
    """dagster-slack's resource with a base URL, a timeout in seconds, and a client that never posts twice."""

    token: str = Field(default="", description="The bot's token, best as EnvVar; SLACK_BOT_TOKEN by default.")
    base_url: str | None = Field(default=None, description="URL of Slack's Web API; SLACK_BASE_URL by default.")
    timeout: float = Field(default=10.0, gt=0, description="Timeout of a call in seconds.")

    def client(self) -> SlackClient | None:
        """The client that the alerts are sent with; None if there is no token or AI_AUDIT_SEND is 0."""
        client = slack_client(self._settings())
        return client and replace(client, timeout=self.timeout)

    def get_client(self) -> WebClient:
        """slack_sdk's client like the parent's, but without the handler that posts again after a dropped connection."""
        settings = self._settings()
        token = settings.slack_token.get_secret_value() if settings.slack_token else None
        base_url = f"{settings.slack_base_url.rstrip('/')}/"
        return WebClient(token, base_url=base_url, timeout=max(1, round(self.timeout)), retry_handlers=[])

    def _settings(self) -> Settings:
        return _settings_with(slack_token=_secret(self.token), slack_base_url=self.base_url)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _masked(super().__repr_args__(), "token")


class PagerDutyWithLinks(PagerDutyService):
    """dagster-pagerduty's resource with a base URL, a timeout in seconds, and links in events."""

    routing_key: str = Field(
        default="", description="The integration's key, best as EnvVar; PAGERDUTY_ROUTING_KEY by default."
    )
    events_url: str | None = Field(
        default=None, description="URL of PagerDuty's Events API v2; PAGERDUTY_EVENTS_URL by default."
    )
    timeout: float = Field(default=10.0, gt=0, description="Timeout of a call in seconds.")

    def client(self) -> PagerDutyClient | None:
        """The client that the alerts are sent with; None if there is no routing key or AI_AUDIT_SEND is 0."""
        client = pagerduty_client(
            _settings_with(pagerduty_routing_key=_secret(self.routing_key), pagerduty_events_url=self.events_url)
        )
        return client and replace(client, timeout=self.timeout)

    def incidents(self) -> PagerDutyIncidents | None:
        """The client of PagerDuty's REST API; None if PAGERDUTY_API_TOKEN is not set or AI_AUDIT_SEND is 0."""
        return incidents_client(read_settings())

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _masked(super().__repr_args__(), "routing_key")


def _settings_with(**given: Any) -> Settings:
    """The environment's settings, replaced by the values of a resource's config that are not None."""
    return read_settings().model_copy(update={name: value for name, value in given.items() if value is not None})


def _secret(value: str) -> SecretStr | None:
    return SecretStr(value) if value else None


def _masked(arguments: Iterable[tuple[str | None, Any]], secret: str) -> list[tuple[str | None, Any]]:
    return [(name, SecretStr("secret") if name == secret else value) for name, value in arguments]


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources by name. `bigquery` is among them if it is the warehouse."""
    resources: dict[str, Any] = {
        "clock": RunClock(),
        "source": PostgresSource(),
        "warehouse": WarehouseResource(),
        "ledger": AlertLedger(),
        "slack": SlackWithBaseUrl(),
        "pagerduty": PagerDutyWithLinks(),
    }
    if settings.engine == "bigquery":
        from audit_assets.defs.google import bigquery_resources  # imports Google's clients, which takes seconds

        resources |= bigquery_resources(settings)
    return resources
