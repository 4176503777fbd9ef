"""Rows on their way into BigQuery: normalised by DuckDB in this process, refused there, and written as Parquet.

So every destination holds the same bytes, and what travels to Google is what the warehouse keeps.
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

from audit_assets.warehouse.protocol import Incoming
from audit_assets.warehouse.raw import days_in, fetched, registered
from audit_assets.warehouse.rejects import counted_by_reason, refuse_doubles_among_arrived
from audit_assets.warehouse.schema import RAW_COLUMNS

_MEMORY = "256MB"
_COLUMNS = ", ".join(RAW_COLUMNS)


@dataclass(frozen=True)
class Arrived:
    """A Parquet file of rows to be staged: how many were read, those refused by reason, the UTC days of the good ones,
    and a digest of the file, by which the jobs that load it are called."""

    path: Path
    read: int
    rejected: Mapping[str, int]
    days: tuple[date, ...]
    digest: str

    @property
    def refused(self) -> int:
        return sum(self.rejected.values())


@contextmanager
def arrived(incoming: Incoming, still_doubled: Collection[tuple[str, str]] = ()) -> Generator[Arrived]:
    """The rows as a file that is gone afterwards. Ids held twice among them, and rows (id, hash) that are known to be
    `still_doubled`, are refused as duplicate_id."""
    with _folder() as folder, _local(folder) as connection:
        with registered(connection, incoming.rows):
            connection.execute(f"create table arrived as {incoming.normalising_sql}")
        refuse_doubles_among_arrived(connection)
        for source_id, row_hash in still_doubled:
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
        yield Arrived(path, read, rejected, tuple(sorted(days)), _digest(path))


@contextmanager
def arrived_new(incoming: Incoming) -> Generator[Arrived | None]:
    """The same for a long stream that is thought to be all good: it goes to the file as it comes. None where a row is
    refused or an id doubled."""
    with _folder() as folder, _local(folder) as connection:
        path = folder / "rows.parquet"
        with registered(connection, incoming.rows):
            connection.execute(
                f"copy (select {_COLUMNS}, reject_reason, created_at_text from ({incoming.normalising_sql}))"
                f" to '{path}' (format parquet, compression zstd)"
            )
        held = f"read_parquet('{path}')"
        read, refused, ids = fetched(
            connection, f"select count(*), count(reject_reason), count(distinct id) from {held}"
        )
        if refused or ids != read:
            yield None
            return
        days = days_in(connection, f"select distinct cast(created_at as date) from {held}")
        yield Arrived(path, read, {}, tuple(sorted(days)), _digest(path))


@contextmanager
def written(rows: pa.Table) -> Generator[Arrived]:
    """A table of another kind as such a file."""
    with _folder() as folder, _local(folder) as connection:
        path = folder / "rows.parquet"
        with registered(connection, rows):
            connection.execute(f"copy incoming to '{path}' (format parquet, compression zstd)")
        yield Arrived(path, rows.num_rows, {}, (), _digest(path))


def selected(incoming: Incoming) -> pa.Table:
    """The rows of `incoming` as they are normalised, in memory: for tables as small as that of the workspaces."""
    with _folder() as folder, _local(folder) as connection, registered(connection, incoming.rows):
        return connection.sql(incoming.normalising_sql).to_arrow_table()


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
