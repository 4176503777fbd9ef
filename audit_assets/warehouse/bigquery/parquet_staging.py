"""Prepares rows for BigQuery: DuckDB normalizes and rejects them in this process, and writes them as Parquet.

So all destinations get the same bytes, and only what the warehouse keeps is sent to Google.
"""

import hashlib
import tempfile
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from audit_assets.warehouse.duckdb.statements import (
    counted_by_reason,
    days_in,
    fetch_counts,
    registered,
    reject_duplicates_among_arrived,
)
from audit_assets.warehouse.protocol import ExtractBatch
from audit_assets.warehouse.schema import RAW_COLUMNS

_MEMORY = "256MB"
_COLUMNS = ", ".join(RAW_COLUMNS)


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file of rows to stage: the number of rows read, rejected rows by reason, the UTC days of the valid
    rows, and a digest of the file, after which the jobs that load it are named."""

    path: Path
    read: int
    rejected: Mapping[str, int]
    days: tuple[date, ...]
    digest: str

    @property
    def rejected_rows(self) -> int:
        return sum(self.rejected.values())


@contextmanager
def stage_rows(batch: ExtractBatch, still_duplicated: Collection[tuple[str, str]] = ()) -> Generator[StagedFile]:
    """The rows as a temporary file, deleted at exit. Duplicate ids among them, and the rows (id, hash) in
    `still_duplicated`, are rejected as duplicate_id."""
    with _folder() as folder, _local(folder) as connection:
        with registered(connection, batch.rows):
            connection.execute(f"create table arrived as {batch.normalizing_sql}")
        reject_duplicates_among_arrived(connection)
        for source_id, row_hash in still_duplicated:
            connection.execute(
                "update arrived set reject_reason = 'duplicate_id'"
                " where reject_reason is null and id = ? and row_hash = ?",
                [source_id, row_hash],
            )
        read, rejected = counted_by_reason(connection)
        path = folder / "rows.parquet"
        connection.execute(
            f"""copy (
                select {_COLUMNS}, reject_reason, coalesce(created_at_text, created_at::varchar) as created_at_text
                from arrived order by created_at, id
            ) to '{path}' (format parquet, compression zstd)"""
        )
        days = days_in(connection, "select distinct cast(created_at as date) from arrived where reject_reason is null")
        yield StagedFile(path, read, rejected, tuple(sorted(days)), _digest(path))


@contextmanager
def stage_new_rows(batch: ExtractBatch) -> Generator[StagedFile | None]:
    """The same for a long stream that is expected to be valid, which is written to the file while it is read. Yields
    None if a row is rejected or an id is duplicated."""
    with _folder() as folder, _local(folder) as connection:
        path = folder / "rows.parquet"
        with registered(connection, batch.rows):
            connection.execute(
                f"copy (select {_COLUMNS}, reject_reason, created_at_text from ({batch.normalizing_sql}))"
                f" to '{path}' (format parquet, compression zstd)"
            )
        staged = f"read_parquet('{path}')"
        read, rejected_rows, ids = fetch_counts(
            connection, f"select count(*), count(reject_reason), count(distinct id) from {staged}"
        )
        if rejected_rows or ids != read:
            yield None
            return
        days = days_in(connection, f"select distinct cast(created_at as date) from {staged}")
        yield StagedFile(path, read, {}, tuple(sorted(days)), _digest(path))


@contextmanager
def stage_table(rows: pa.Table) -> Generator[StagedFile]:
    """Any table as such a file."""
    with _folder() as folder, _local(folder) as connection:
        path = folder / "rows.parquet"
        with registered(connection, rows):
            connection.execute(f"copy incoming to '{path}' (format parquet, compression zstd)")
        yield StagedFile(path, rows.num_rows, {}, (), _digest(path))


def normalized_rows(batch: ExtractBatch) -> pa.Table:
    """The normalized rows of `batch` in memory, for small tables such as that of the workspaces."""
    with _folder() as folder, _local(folder) as connection, registered(connection, batch.rows):
        return connection.sql(batch.normalizing_sql).to_arrow_table()


@contextmanager
def _folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="audit-bigquery-") as folder:
        yield Path(folder)


@contextmanager
def _local(folder: Path) -> Generator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2, "temp_directory": str(folder)})
    try:
        connection.execute("set TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
