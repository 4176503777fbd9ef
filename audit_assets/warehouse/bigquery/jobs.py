"""BigQuery jobs: idempotent names, bounded retries, and results as Arrow columns.

The client creates a Python value per cell, at 27 µs each, so that 16,000 rows of a grid took 21 s. This module casts a
page column by column instead.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import polars as pl
import pyarrow as pa

from audit_assets.warehouse.bigquery.client import BigQueryOptions, TableLocation
from audit_assets.warehouse.bigquery.errors import TRANSIENT, google_errors

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud import bigquery
    from google.cloud.bigquery import SchemaField
    from google.cloud.bigquery.table import RowIterator


_OLD_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}


def decoded(rows: "RowIterator") -> pa.Table:
    """The rows as Arrow, times in UTC. Results with lists or records, which our queries do not have, are decoded by the
    client."""
    fields = list(rows.schema)
    kinds = [_kind(field) for field in fields]
    if None in kinds:
        return cast("pa.Table", rows.to_arrow(create_bqstorage_client=False))
    types = {field.name: kind for field, kind in zip(fields, kinds, strict=True) if kind is not None}
    pages = cast("Iterable[Any]", rows.pages)
    parts = [_page(page.raw_page.get("rows") or (), types) for page in pages]
    frame = pl.concat(parts) if parts else _page((), types)
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _kind(field: "SchemaField") -> str | None:
    kind = _OLD_NAMES.get(field.field_type, field.field_type)
    return kind if kind in _CASTS and field.mode != "REPEATED" else None


def _page(rows: Iterable[Mapping[str, Any]], types: Mapping[str, str]) -> pl.DataFrame:
    """One page of rows: each row is {"f": [{"v": text or null}, …]}, with times in microseconds."""
    cells = [[cell["v"] for cell in row["f"]] for row in rows]
    columns = list(zip(*cells, strict=True)) or [()] * len(types)
    texts = [pl.Series(name, values, pl.String) for name, values in zip(types, columns, strict=True)]
    return pl.DataFrame(texts).select(_CASTS[kind](pl.col(name)) for name, kind in types.items())


def _number(text: pl.Expr) -> pl.Expr:
    return text.replace({"Infinity": "inf", "-Infinity": "-inf"}).cast(pl.Float64)


_CASTS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "STRING": lambda text: text,
    "INT64": lambda text: text.cast(pl.Int64),
    "FLOAT64": _number,
    "BOOL": lambda text: text == "true",
    "TIMESTAMP": lambda text: text.cast(pl.Int64).cast(pl.Datetime("us", "UTC")),
    "DATE": lambda text: text.str.to_date("%Y-%m-%d"),
}


# How long a request is retried if the network or the service fails; Google's default is ten minutes.
_RETRY_SECONDS = 30.0
_REQUEST_SECONDS = 60.0
_JOB_SECONDS = 900.0
_ATTEMPTS = 3

Connect: TypeAlias = "Callable[[], bigquery.Client]"


class Jobs:
    """Runs statements and loads in one dataset. Every error is a WarehouseError with the fix."""

    def __init__(self, connect: Connect, location: TableLocation, options: BigQueryOptions) -> None:
        self.location, self.options = location, options
        self._connect = connect
        self._client: bigquery.Client | None = None

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query; `parameters` maps names to lists of text."""
        with google_errors(self.location):
            return [tuple(row.values()) for row in cast("Iterable[Any]", self._query(sql, parameters))]

    def arrow(self, sql: str, parameters: Mapping[str, Sequence[str]] | None = None) -> pa.Table:
        """The rows of a query as Arrow, times in UTC."""
        with google_errors(self.location):
            # Over REST: the Storage API needs another permission, and is meant for larger results.
            return decoded(self._query(sql, parameters))

    def script(self, sql: str, name: str) -> None:
        """Runs statements as the job `name`, at most once, however often the request is sent."""
        from google.cloud import bigquery

        def begin(job_id: str) -> "bigquery.QueryJob":
            return self._open().query(
                sql, job_id=job_id, job_config=self._query_config(), job_retry=None, retry=_retry(),
                timeout=_REQUEST_SECONDS, api_method=bigquery.enums.QueryApiMethod.INSERT,
            )  # fmt: skip

        with google_errors(self.location):
            self._end(begin, name)

    @contextmanager
    def staged(self, path: Path, name: str, columns: Mapping[str, str], now: datetime) -> Generator[str]:
        """Loads a Parquet file into a staging table, by a job named after `name`, at most once. Yields the table name.

        The table is deleted when the block succeeds; otherwise BigQuery deletes it once it expires. `columns` maps name
        to type.
        """
        from google.cloud import bigquery

        table = f"staging_{name.replace('-', '_')}"
        schema = [bigquery.SchemaField(column, kind) for column, kind in columns.items()]
        staging = bigquery.Table(self.location.path(table), schema)
        staging.expires = now + self.options.keep_staging
        staging.labels = dict(self.options.labels)
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            schema=schema,
            labels=dict(self.options.labels),
        )

        def begin(job_id: str) -> "bigquery.LoadJob":
            with path.open("rb") as file:
                return self._open().load_table_from_file(
                    file, staging.reference, job_id=job_id, job_config=config, timeout=_REQUEST_SECONDS
                )

        with google_errors(self.location):
            self._open().create_table(staging, exists_ok=True, retry=_retry(), timeout=_REQUEST_SECONDS)
            self._end(begin, f"load-{name}")
        yield table
        with google_errors(self.location):
            self._open().delete_table(staging, not_found_ok=True, retry=_retry(), timeout=_REQUEST_SECONDS)

    def tables(self) -> frozenset[str]:
        """The names of the dataset's tables; empty if there is no dataset."""
        from google.api_core.exceptions import NotFound

        with google_errors(self.location):
            try:
                found: list[Any] = list(
                    self._open().list_tables(self._dataset, retry=_retry(), timeout=_REQUEST_SECONDS)
                )
            except NotFound:
                return frozenset()
        return frozenset(table.table_id for table in found)

    def columns(self, table: str) -> frozenset[str]:
        """The names of a table's columns."""
        with google_errors(self.location):
            found = self._open().get_table(self.location.path(table), retry=_retry(), timeout=_REQUEST_SECONDS)
        return frozenset(field.name for field in cast("list[SchemaField]", found.schema))

    def make_dataset(self) -> None:
        """Creates the dataset if it is missing."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        with google_errors(self.location):
            try:
                self._open().get_dataset(self._dataset, retry=_retry(), timeout=_REQUEST_SECONDS)
            except NotFound:
                dataset = bigquery.Dataset(self._dataset)
                dataset.location = self.location.location
                dataset.labels = dict(self.options.labels)
                self._open().create_dataset(dataset, exists_ok=True, retry=_retry(), timeout=_REQUEST_SECONDS)

    @property
    def _dataset(self) -> str:
        return f"{self.location.project}.{self.location.dataset}"

    def _open(self) -> "bigquery.Client":
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _query(self, sql: str, parameters: Mapping[str, Sequence[str]] | None) -> "RowIterator":
        from google.cloud import bigquery

        config = self._query_config()
        config.query_parameters = [
            bigquery.ArrayQueryParameter(name, "STRING", list(values)) for name, values in (parameters or {}).items()
        ]
        job = self._open().query(sql, job_config=config, retry=_retry(), timeout=_REQUEST_SECONDS, job_retry=None)
        return job.result(retry=_retry(), timeout=_JOB_SECONDS)

    def _query_config(self) -> "bigquery.QueryJobConfig":
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(labels=dict(self.options.labels))
        if self.options.maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self.options.maximum_bytes_billed
        return config

    def _end(self, begin: Callable[[str], Any], name: str) -> None:
        """Starts the job `name` and waits until it succeeds. A job that failed without effect, because of a transient
        error of the service, is repeated under the next name; any other error is raised."""
        from google.api_core.exceptions import Conflict, GoogleAPICallError

        for attempt in range(1, _ATTEMPTS + 1):
            job_id = name if attempt == 1 else f"{name}-{attempt}"
            try:
                job = begin(job_id)
            except Conflict:  # an earlier request succeeded, and only its response was lost
                job = self._open().get_job(job_id, location=self.location.location, retry=_retry())
            try:
                job.result(retry=_retry(), timeout=_JOB_SECONDS)
                return
            except GoogleAPICallError:
                ended = cast("Mapping[str, Any]", job.error_result or {})
                if ended.get("reason") not in TRANSIENT or attempt == _ATTEMPTS:
                    raise
                time.sleep(2.0**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _retry() -> "Retry":
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_SECONDS)


def literal(moment: datetime) -> str:
    """A timestamp literal."""
    return f"timestamp '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"
