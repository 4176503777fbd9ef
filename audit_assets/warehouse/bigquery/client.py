"""Where the tables are in BigQuery, and a client for them."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit_assets.settings import Settings
from audit_assets.warehouse.protocol import WarehouseError

if TYPE_CHECKING:
    from google.cloud import bigquery


@dataclass(frozen=True)
class Place:
    """Project, dataset and location. An `endpoint` is that of an emulator, which is asked without credentials."""

    project: str
    dataset: str
    location: str
    endpoint: str | None

    def table(self, name: str) -> str:
        """A table as a statement names it; the project is that of the job."""
        return f"`{self.dataset}`.`{name}`"

    def path(self, name: str) -> str:
        """A table as the API names it."""
        return f"{self.project}.{self.dataset}.{name}"

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}" + (f" at {self.endpoint}" if self.endpoint else "")


def place_of(settings: Settings) -> Place:
    """Where the settings say the tables are."""
    return Place(
        settings.bigquery_project, settings.bigquery_dataset, settings.bigquery_location, settings.bigquery_endpoint
    )


def open_client(place: Place) -> "bigquery.Client":
    """A client with the caller's own Google credentials, or none for an emulator. Raises WarehouseError where there are
    none to be found; nothing is asked yet."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    if place.endpoint is not None:
        return bigquery.Client(
            project=place.project,
            location=place.location,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=place.endpoint),
        )
    try:
        return bigquery.Client(project=place.project, location=place.location)
    except GoogleAuthError as error:
        raise WarehouseError(
            "there are no Google credentials for BigQuery: run `gcloud auth application-default login`, or name a "
            f"service account's key file in GOOGLE_APPLICATION_CREDENTIALS ({type(error).__name__})"
        ) from None


def in_dataset(sql: str, place: Place) -> str:
    """Our statements call the dataset `analytics`; it is the one the settings name."""
    return re.sub(r"\banalytics\.(?=\w)", f"`{place.dataset}`.", sql)
