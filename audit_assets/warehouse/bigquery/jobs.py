"""Jobs of BigQuery, each asked for under a name of its own where it changes something: asked again, it is fetched."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from audit_assets.warehouse.bigquery.client import Place
from audit_assets.warehouse.bigquery.decoding import decoded
from audit_assets.warehouse.bigquery.errors import TRANSIENT, told
from audit_assets.warehouse.bigquery.terms import BigQueryTerms

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud import bigquery
    from google.cloud.bigquery.table import RowIterator

# A request is repeated for so long where the network or the service fails; Google's own default is ten minutes.
_RETRY_SECONDS = 30.0
_REQUEST_SECONDS = 60.0
_JOB_SECONDS = 900.0
_ATTEMPTS = 3

Connect: TypeAlias = "Callable[[], bigquery.Client]"


class Jobs:
    """Runs statements and loads in one dataset. Every error is a WarehouseError with its mend."""

    def __init__(self, connect: Connect, place: Place, terms: BigQueryTerms) -> None:
        self.place, self.terms = place, terms
        self._connect = connect
        self._client: bigquery.Client | None = None

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query; `parameters`: lists of texts by name."""
        with told(self.place):
            return [tuple(row.values()) for row in self._asked(sql, parameters)]

    def arrow(self, sql: str, parameters: Mapping[str, Sequence[str]] | None = None) -> pa.Table:
        """The rows of a query as Arrow, times in UTC."""
        with told(self.place):
            # Over REST: the storage API is another service, with another permission, for results beyond these.
            return decoded(self._asked(sql, parameters))

    def script(self, sql: str, name: str) -> None:
        """Runs statements as the job `name`, at most once however often the request is sent."""
        from google.cloud import bigquery

        def begin(job_id: str) -> "bigquery.QueryJob":
            return self._open().query(
                sql, job_id=job_id, job_config=self._query_config(), job_retry=None, retry=_retry(),
                timeout=_REQUEST_SECONDS, api_method=bigquery.enums.QueryApiMethod.INSERT,
            )  # fmt: skip

        with told(self.place):
            self._end(begin, name)

    @contextmanager
    def staged(self, path: Path, name: str, columns: Mapping[str, str], now: datetime) -> Generator[str]:
        """The name of a table that holds the rows of a Parquet file, loaded by a job called after `name`, at most once.

        It goes when the block has ended well; where that fails or is killed, BigQuery deletes it in its time.
        `columns`: name to type.
        """
        from google.cloud import bigquery

        table = f"staging_{name.replace('-', '_')}"
        schema = [bigquery.SchemaField(column, kind) for column, kind in columns.items()]
        staging = bigquery.Table(self.place.path(table), schema)
        staging.expires = now + self.terms.keep_staging
        staging.labels = dict(self.terms.labels)
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            schema=schema,
            labels=dict(self.terms.labels),
        )

        def begin(job_id: str) -> "bigquery.LoadJob":
            with path.open("rb") as file:
                return self._open().load_table_from_file(
                    file, staging.reference, job_id=job_id, job_config=config, timeout=_REQUEST_SECONDS
                )

        with told(self.place):
            self._open().create_table(staging, exists_ok=True, retry=_retry(), timeout=_REQUEST_SECONDS)
            self._end(begin, f"load-{name}")
        yield table
        with told(self.place):
            self._open().delete_table(staging, not_found_ok=True, retry=_retry(), timeout=_REQUEST_SECONDS)

    def tables(self) -> frozenset[str]:
        """The names of the dataset's tables; none where there is no dataset."""
        from google.api_core.exceptions import NotFound

        with told(self.place):
            try:
                found = list(self._open().list_tables(self._dataset, retry=_retry(), timeout=_REQUEST_SECONDS))
            except NotFound:
                return frozenset()
        return frozenset(table.table_id for table in found)

    def make_dataset(self) -> None:
        """The dataset, where it is missing."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        with told(self.place):
            try:
                self._open().get_dataset(self._dataset, retry=_retry(), timeout=_REQUEST_SECONDS)
            except NotFound:
                dataset = bigquery.Dataset(self._dataset)
                dataset.location = self.place.location
                dataset.labels = dict(self.terms.labels)
                self._open().create_dataset(dataset, exists_ok=True, retry=_retry(), timeout=_REQUEST_SECONDS)

    @property
    def _dataset(self) -> str:
        return f"{self.place.project}.{self.place.dataset}"

    def _open(self) -> "bigquery.Client":
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _asked(self, sql: str, parameters: Mapping[str, Sequence[str]] | None) -> "RowIterator":
        from google.cloud import bigquery

        config = self._query_config()
        config.query_parameters = [
            bigquery.ArrayQueryParameter(name, "STRING", list(values)) for name, values in (parameters or {}).items()
        ]
        job = self._open().query(sql, job_config=config, retry=_retry(), timeout=_REQUEST_SECONDS, job_retry=None)
        return job.result(retry=_retry(), timeout=_JOB_SECONDS)

    def _query_config(self) -> "bigquery.QueryJobConfig":
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(labels=dict(self.terms.labels))
        if self.terms.maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self.terms.maximum_bytes_billed
        return config

    def _end(self, begin: Callable[[str], Any], name: str) -> None:
        """Waits until the job `name` has ended well. One that ended without having done anything, for a reason of the
        service's own, is asked for again under the next name; any other error is the caller's."""
        from google.api_core.exceptions import Conflict, GoogleAPICallError

        for attempt in range(1, _ATTEMPTS + 1):
            job_id = name if attempt == 1 else f"{name}-{attempt}"
            try:
                job = begin(job_id)
            except Conflict:  # an earlier request came through, and only its answer was lost
                job = self._open().get_job(job_id, location=self.place.location, retry=_retry())
            try:
                job.result(retry=_retry(), timeout=_JOB_SECONDS)
                return
            except GoogleAPICallError:
                ended = job.error_result or {}
                if ended.get("reason") not in TRANSIENT or attempt == _ATTEMPTS:
                    raise
                time.sleep(2.0**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _retry() -> "Retry":
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_SECONDS)


def literal(moment: datetime) -> str:
    """An instant as a statement names it."""
    return f"timestamp '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"
