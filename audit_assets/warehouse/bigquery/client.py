"""The location of the tables in BigQuery, the options under `bigquery:` in observability/sync.yaml, and the client."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints

from audit_assets.config.validation import FrozenModel
from audit_assets.settings import Settings
from audit_assets.warehouse.protocol import WarehouseError

if TYPE_CHECKING:
    from google.cloud import bigquery


# Google's rule for labels: lower case, at most 63 characters.
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{0,63}$")]


class BigQueryOptions(FrozenModel):
    """`labels` of every table and job. `keep_raw` and `keep_staging`: how long raw rows (None: forever) and staging
    tables of killed syncs are kept. `maximum_bytes_billed` per job (None: no limit). `every`: the shortest interval of
    micro-batches, to stay within quotas."""

    labels: dict[Label, Label] = Field(default_factory=lambda: {"system": "ai-audit"})
    keep_raw: timedelta | None = None
    keep_staging: timedelta = timedelta(hours=6)
    maximum_bytes_billed: int | None = Field(default=None, ge=10_485_760)  # 10 MiB, the minimum that is billed
    every: timedelta = timedelta(minutes=2)


@dataclass(frozen=True)
class TableLocation:
    """Project, dataset and location. `endpoint` is an emulator, which is used without credentials."""

    project: str
    dataset: str
    location: str
    endpoint: str | None

    def table(self, name: str) -> str:
        """A table's name in a statement; the project is that of the job."""
        return f"`{self.dataset}`.`{name}`"

    def path(self, name: str) -> str:
        """A table's name in the API."""
        return f"{self.project}.{self.dataset}.{name}"

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}" + (f" at {self.endpoint}" if self.endpoint else "")


def location_of(settings: Settings) -> TableLocation:
    """The location of the tables in the settings."""
    return TableLocation(
        settings.bigquery_project, settings.bigquery_dataset, settings.bigquery_location, settings.bigquery_endpoint
    )


def open_client(location: TableLocation) -> "bigquery.Client":
    """A client with the caller's own Google credentials, or without credentials for an emulator. Sends no request yet.
    Raises WarehouseError if there are no credentials."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    if location.endpoint is not None:
        return bigquery.Client(
            project=location.project,
            location=location.location,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=location.endpoint),
        )
    try:
        return bigquery.Client(project=location.project, location=location.location)
    except GoogleAuthError as error:
        raise WarehouseError(
            "there are no Google credentials for BigQuery: run `gcloud auth application-default login`, or name a "
            f"service account's key file in GOOGLE_APPLICATION_CREDENTIALS ({type(error).__name__})"
        ) from None


def in_dataset(sql: str, location: TableLocation) -> str:
    """The statement with the dataset `analytics`, as ours name it, replaced by the dataset in the settings."""
    return re.sub(r"\banalytics\.(?=\w)", f"`{location.dataset}`.", sql)
