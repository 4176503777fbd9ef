"""BigQuery's client through Dagster's own resource; imported only if BigQuery is the warehouse."""

from collections.abc import Generator
from contextlib import contextmanager

from dagster_gcp import BigQueryResource
from google.cloud import bigquery

from audit_assets.warehouse.bigquery.client import TableLocation, open_client


class BigQueryAt(BigQueryResource):
    """The stock resource, with an optional `endpoint` of an emulator, which is used without credentials."""

    dataset: str
    endpoint: str | None = None

    @contextmanager
    def get_client(self) -> Generator[bigquery.Client]:
        if self.endpoint is None:
            with super().get_client() as client:
                yield client
        else:
            yield open_client(TableLocation(str(self.project), self.dataset, str(self.location), self.endpoint))


def client_at(place: TableLocation) -> bigquery.Client:
    """A client for the location, for code that does not import Dagster."""
    resource = BigQueryAt(
        project=place.project, location=place.location, dataset=place.dataset, endpoint=place.endpoint
    )
    with resource.get_client() as client:
        return client
