"""The warehouse that the settings name."""

from audit_assets.settings import Destination, Settings
from audit_assets.warehouse.bigquery.jobs import Connect
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.protocol import Warehouse


def open_warehouse(
    settings: Settings,
    terms: BigQueryTerms,
    destination: Destination | None = None,
    timeout_seconds: float = 600.0,
    connect: "Connect | None" = None,
) -> Warehouse:
    """DuckDB's or BigQuery's, as `destination` or else the settings say; nothing is opened yet. `connect` brings
    another client for BigQuery than the one with the caller's own credentials."""
    if (destination or settings.destination) != "bigquery":
        return DuckDBWarehouse(settings.duckdb_path, settings.lock_path, timeout_seconds)
    from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

    return BigQueryWarehouse(settings, terms, timeout_seconds, connect)
