"""BigQuery through Dagster's own resource; imported only if BigQuery is the warehouse."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from dagster_gcp import BigQueryResource
from google.cloud.bigquery import Client
from pydantic import Field

from audit_assets.defs.resources import WarehouseResource
from audit_assets.ingest.policy import read_policy
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.bigquery.client import TableLocation, location_of, open_client
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.protocol import Warehouse


class BigQueryAt(BigQueryResource):
    """The stock resource, with an optional `endpoint` of an emulator, which is used without credentials."""

    dataset: str
    endpoint: str | None = Field(default=None, description="Address of an emulator; Google's by default.")

    @contextmanager
    def get_client(self) -> Generator[Client]:
        if self.endpoint is None:
            with super().get_client() as client:
                yield client
        else:
            yield open_client(TableLocation(str(self.project), self.dataset, str(self.location), self.endpoint))


class BigQueryWarehouseResource(WarehouseResource):
    """BigQuery as the warehouse, with the client of the resource `bigquery`."""

    bigquery: BigQueryAt

    def open(self, timeout_seconds: float = 600.0) -> Warehouse:
        settings = read_settings()
        options = read_policy(settings.policy_file).bigquery
        return open_warehouse(settings, options, timeout_seconds=timeout_seconds, connect=self._client)

    def _client(self) -> Client:
        with self.bigquery.get_client() as client:
            return client


def bigquery_resources(settings: Settings) -> dict[str, Any]:
    """`bigquery` as the settings name it, and the `warehouse` that uses it."""
    location = location_of(settings)
    client = BigQueryAt(
        project=location.project, location=location.location, dataset=location.dataset, endpoint=location.endpoint
    )
    return {"bigquery": client, "warehouse": BigQueryWarehouseResource(bigquery=client)}
