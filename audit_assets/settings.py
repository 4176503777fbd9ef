"""The environment variables as one frozen value: addresses and secrets. Everything else is in YAML."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from audit_assets.request_guard import parse_host

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DASHBOARDS_PORT = 8050

_CHANNEL = r"^(#[a-z0-9][a-z0-9_-]{0,78}|[CG][A-Z0-9]{7,})$"

Destination = Literal["duckdb", "bigquery", "stdout"]


class SettingsError(Exception):
    """An invalid setting. The message names the variable and the fix, never its value."""


def _from_project_root(value: Any) -> Any:
    """Resolves relative paths against the project root, whatever the working folder."""
    return PROJECT_ROOT / Path(str(value)).expanduser()


ProjectPath = Annotated[Path, BeforeValidator(_from_project_root)]


def _web_address(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http:// or https:// address")
    return value.strip().rstrip("/")


def _slack_base_url(value: str) -> str:
    return f"{_web_address(value)}/"


def _events_url(value: str) -> str:
    """Accepts the address with or without its path: PagerDuty's documentation shows both."""
    return _web_address(value).removesuffix("/v2/enqueue").rstrip("/")


def _secret_address(value: SecretStr) -> SecretStr:
    """An address that may contain a token, as webhook addresses do: never log it."""
    return SecretStr(_web_address(value.get_secret_value()))


SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]


def _hosts(value: str) -> str:
    for host in filter(None, map(str.strip, value.split(","))):
        parse_host(host)
    return value


class Settings(BaseSettings):
    """Addresses, paths and secrets. With the defaults everything runs locally, embedded."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    home: ProjectPath = Field(PROJECT_ROOT / ".audit", validation_alias="AI_AUDIT_HOME")
    environment: str = Field("local", validation_alias="AI_AUDIT_ENV", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    configured_source_url: SecretStr | None = Field(None, validation_alias="AI_AUDIT_SOURCE_URL")
    destination: Destination = Field("duckdb", validation_alias="AI_AUDIT_WAREHOUSE_DESTINATION")
    configured_duckdb_path: ProjectPath | None = Field(None, validation_alias="AI_AUDIT_DUCKDB_PATH")
    duckdb_memory: str | None = Field(
        None, validation_alias="AI_AUDIT_DUCKDB_MEMORY", pattern=r"^[0-9]+(\.[0-9]+)? ?([KMG]B|[KMG]iB)$"
    )
    bigquery_project: str = Field(
        "mad-vibe-prod", validation_alias="AI_AUDIT_BIGQUERY_PROJECT", pattern=r"^[a-z][a-z0-9:.-]{4,61}[a-z0-9]$"
    )
    bigquery_dataset: str = Field(
        "analytics", validation_alias="AI_AUDIT_BIGQUERY_DATASET", pattern=r"^[A-Za-z0-9_]{1,1024}$"
    )
    bigquery_location: str = Field("US", validation_alias="AI_AUDIT_BIGQUERY_LOCATION", pattern=r"^[A-Za-z0-9-]+$")
    bigquery_endpoint: WebAddress | None = Field(None, validation_alias="AI_AUDIT_BIGQUERY_ENDPOINT")
    state_file: ProjectPath = Field(
        PROJECT_ROOT / ".cache/ai-audit-sync-state.json", validation_alias="AI_AUDIT_STATE_FILE"
    )
    policy_file: ProjectPath = Field(PROJECT_ROOT / "observability/sync.yaml", validation_alias="AI_AUDIT_SYNC_POLICY")
    rules_folder: ProjectPath = Field(PROJECT_ROOT / "observability/alerts/ai-audit", validation_alias="AI_AUDIT_RULES")
    calendar_file: ProjectPath = Field(
        PROJECT_ROOT / "observability/alerts/calendar.yaml", validation_alias="AI_AUDIT_CALENDAR"
    )
    routing_file: ProjectPath = Field(
        PROJECT_ROOT / "observability/alerts/routing.yaml", validation_alias="AI_AUDIT_ROUTING"
    )
    dashboards_folder: ProjectPath = Field(
        PROJECT_ROOT / "observability/dashboards/ai-audit", validation_alias="AI_AUDIT_DASHBOARDS"
    )
    configured_ledger_url: SecretStr | None = Field(None, validation_alias="AI_AUDIT_LEDGER_URL")
    dashboard_url: str = Field("", validation_alias="AI_AUDIT_DASHBOARD_URL")
    app_url: str = Field("", validation_alias="AI_AUDIT_APP_URL")
    docs_url: str = Field("docs", validation_alias="AI_AUDIT_DOCS_URL")
    dagster_url: str = Field("http://localhost:3333", validation_alias="AI_AUDIT_DAGSTER_URL")
    configured_hosts: Annotated[str, AfterValidator(_hosts)] = Field("", validation_alias="AI_AUDIT_ALLOWED_HOSTS")

    slack_token: SecretStr | None = Field(None, validation_alias="SLACK_BOT_TOKEN")
    slack_base_url: Annotated[str, AfterValidator(_slack_base_url)] = Field(
        "https://slack.com/api/", validation_alias="SLACK_BASE_URL"
    )
    pagerduty_routing_key: SecretStr | None = Field(None, validation_alias="PAGERDUTY_ROUTING_KEY")
    slack_channel: str | None = Field(None, validation_alias="AI_AUDIT_SLACK_CHANNEL", pattern=_CHANNEL)
    slack_compliance_channel: str | None = Field(
        None, validation_alias="AI_AUDIT_SLACK_COMPLIANCE_CHANNEL", pattern=_CHANNEL
    )
    send: bool = Field(True, validation_alias="AI_AUDIT_SEND")
    watchdog_routing_key: SecretStr | None = Field(None, validation_alias="AI_AUDIT_WATCHDOG_ROUTING_KEY")
    pagerduty_events_url: Annotated[str, AfterValidator(_events_url)] = Field(
        "https://events.pagerduty.com", validation_alias="PAGERDUTY_EVENTS_URL"
    )
    pagerduty_api_token: SecretStr | None = Field(None, validation_alias="PAGERDUTY_API_TOKEN")
    pagerduty_api_url: Annotated[str, AfterValidator(_web_address)] = Field(
        "https://api.pagerduty.com", validation_alias="PAGERDUTY_API_URL"
    )
    pagerduty_web_url: WebAddress | None = Field(None, validation_alias="PAGERDUTY_WEB_URL")
    pagerduty_service_id: str = Field("", validation_alias="PAGERDUTY_SERVICE_ID")

    jira_url: WebAddress | None = Field(None, validation_alias="JIRA_URL")
    jira_email: str = Field("", validation_alias="JIRA_EMAIL")
    jira_token: SecretStr | None = Field(None, validation_alias="JIRA_API_TOKEN")
    ticket_webhook_url: SecretAddress | None = Field(None, validation_alias="AI_AUDIT_TICKET_WEBHOOK_URL")
    ticket_webhook_token: SecretStr | None = Field(None, validation_alias="AI_AUDIT_TICKET_WEBHOOK_TOKEN")
    remediation_url: SecretAddress | None = Field(None, validation_alias="AI_AUDIT_REMEDIATION_URL")
    remediation_token: SecretStr | None = Field(None, validation_alias="AI_AUDIT_REMEDIATION_TOKEN")

    @property
    def allowed_hosts(self) -> list[str]:
        """Hosts, as `host` or `host:port`, that the web servers accept besides their own addresses."""
        return [host.strip() for host in self.configured_hosts.split(",") if host.strip()]

    @property
    def duckdb_path(self) -> Path:
        return self.configured_duckdb_path or self.home / "warehouse.duckdb"

    @property
    def lock_path(self) -> Path:
        """The lock is beside the file it guards, so that two homes that share a warehouse exclude each other."""
        return self.duckdb_path.with_name(self.duckdb_path.name + ".lock")

    @property
    def snapshot_folder(self) -> Path:
        return self.home / "published"

    @property
    def attempts_folder(self) -> Path:
        """Files of running syncs, and of syncs that ended without a row in the warehouse."""
        return self.home / "attempts"

    @property
    def ledger_url(self) -> str:
        """The alert ledger's database: SQLite in the home folder by default. It may contain a password: never log
        it."""
        if self.configured_ledger_url is not None:
            return self.configured_ledger_url.get_secret_value()
        return f"sqlite:///{self.home / 'alerts.db'}"

    @property
    def postgres_folder(self) -> Path:
        return self.home / "postgres"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def engine(self) -> Literal["duckdb", "bigquery"]:
        """The SQL dialect of the models and the dashboards; a sync to stdout uses neither."""
        return "bigquery" if self.destination == "bigquery" else "duckdb"

    @property
    def dbt_target(self) -> Path:
        """One folder per engine: dbt cannot reuse what it parsed for another engine."""
        return self.home / ("dbt" if self.engine == "duckdb" else f"dbt-{self.engine}")

    @property
    def source_url(self) -> str:
        """The application's Postgres, or the embedded one while it runs.

        Raises SettingsError if there is neither. The value may contain a password: never log it.
        """
        if self.configured_source_url is not None:
            if (self.postgres_folder / "server.json").exists():
                raise SettingsError(
                    f"{self.home} contains the embedded Postgres and the rows loaded from it, but AI_AUDIT_SOURCE_URL "
                    "names another source: give that one a home of its own with AI_AUDIT_HOME, or delete this one "
                    "with `make clean`"
                )
            return self.configured_source_url.get_secret_value()
        address = self.postgres_folder / "url"
        if address.exists():
            return address.read_text().strip()
        raise SettingsError(
            "there is no source: set AI_AUDIT_SOURCE_URL to the application's Postgres, "
            "or start the embedded one with `audit source start`"
        )


def read_settings(env_file: Path | None = PROJECT_ROOT / ".env") -> Settings:
    """Settings from the environment, which override those of `.env`. Raises SettingsError naming the variable."""
    try:
        return Settings(_env_file=env_file)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{name}: {first['msg']}; see .env.example for valid values") from None
