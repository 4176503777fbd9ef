"""Opens the warehouse that the settings name."""

from audit_assets.settings import Destination, Settings
from audit_assets.warehouse.bigquery.client import BigQueryOptions
from audit_assets.warehouse.bigquery.jobs import Connect
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import Warehouse


def open_warehouse(
    settings: Settings,
    options: BigQueryOptions,
    destination: Destination | None = None,
    timeout_seconds: float = 600.0,
    connect: "Connect | None" = None,
) -> Warehouse:
    """The DuckDB or BigQuery warehouse, by `destination` or else the settings. No connection is opened yet. `connect`
    returns a BigQuery client to use instead of one with the caller's own credentials."""
    if (destination or settings.destination) != "bigquery":
        return DuckDBWarehouse(settings.duckdb_path, settings.lock_path, timeout_seconds, settings.duckdb_memory)
    from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

    return BigQueryWarehouse(settings, options, timeout_seconds, connect)
