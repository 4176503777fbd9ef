"""What the definitions need from outside Dagster: settings, the sync policy and the warehouse, read when asked for."""

from dagster import ConfigurableResource

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
