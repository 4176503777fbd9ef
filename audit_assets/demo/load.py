"""Loads a Parquet file into the source in bounded batches, and counts what is rejected by reason."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet as pq

from audit_assets.demo.row_validation import validate_rows
from audit_assets.demo.source_tables import LOG_COLUMNS, connect, server_address
from audit_assets.demo.writing import INSTANT

BATCH_BYTES = 32_000_000
BATCH_ROWS = 50_000


class LoadError(Exception):
    """A file that cannot be loaded at all. The message names the file, the column and the fix. No row was loaded."""


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Yields the file's rows with `n` (from 1), the columns of the source, and `reason` (`invalid_text` or null).

    Raises LoadError if it is not a Parquet file or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow)
            seen = 0
            for batch in file.iter_batches(_batch_rows(file), columns=list(LOG_COLUMNS)):
                yield _frame(batch, seen)
                seen += batch.num_rows
    except FileNotFoundError:
        raise LoadError(f"{path}: no such file") from None
    except (OSError, pa.ArrowInvalid) as error:
        cause = str(error).strip().splitlines()[0]
        raise LoadError(f"{path}: not a readable Parquet file ({cause}); write it again") from None


def _check_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in LOG_COLUMNS if name not in schema.names]
    if missing:
        raise LoadError(
            f"{path}: lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} (it has "
            f"{', '.join(schema.names)}); rename or add a column, which may be all null"
        )
    for name in LOG_COLUMNS:
        kind = schema.field(name).type
        if not (_is_text(kind) or (name == "created_at" and pa.types.is_timestamp(kind))):
            wanted = "a timestamp or text" if name == "created_at" else "text"
            raise LoadError(f"{path}: column {name} is {kind}; it must be {wanted}, so cast it")


def _is_text(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_null(kind)
    )


def _batch_rows(file: pq.ParquetFile) -> int:
    """The number of rows per batch; fewer if rows are wide, so that a file of 1 MB texts does not fill the memory."""
    metadata = file.metadata
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    wide = max(size // max(metadata.num_rows, 1), 1)
    return max(min(BATCH_ROWS, BATCH_BYTES // wide), 100)


def _frame(batch: pa.RecordBatch, seen: int) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {}
    broken = pl.repeat(False, batch.num_rows, eager=True)
    for name in LOG_COLUMNS:
        column = batch.column(name)
        if pa.types.is_timestamp(column.type):
            if column.type.tz is not None:  # same instants in UTC; polars does not support fixed offsets
                column = column.cast(pa.timestamp(column.type.unit, tz="UTC"))
            columns[name] = pl.Series(column)
        else:
            texts, undecodable = _texts(column)
            columns[name], broken = texts, broken | undecodable
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        pl.int_range(seen + 1, seen + len(frame) + 1, eager=True).alias("n"),
        pl.select(pl.when(broken).then(pl.lit("invalid_text"))).to_series().alias("reason"),
    )


def _texts(column: pa.Array) -> tuple[pl.Series, pl.Series]:
    """A column as text, and a mask of the values that are not UTF-8, which become null. Parquet does not check this."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    none_broken = pl.repeat(False, len(column), eager=True)
    if pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        return pl.Series(column).cast(pl.String), none_broken
    try:
        column.validate(full=True)
        return pl.Series(column).cast(pl.String), none_broken
    except pa.ArrowInvalid:
        decoded = [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]
        broken = pl.Series([text is None for text in decoded]) & pl.Series(column.is_valid())
        return pl.Series(decoded, dtype=pl.String), broken


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


_STAGING = """
create temp table load_staging (
  n bigint, id text, workflow_id text, capability text, provider text, created_at timestamptz,
  request_metadata text, response_metadata text
) on commit drop;
create temp table load_rejected (reason text) on commit drop;
"""
_TARGET = f"insert into ai_audit_logs ({', '.join(LOG_COLUMNS)})"
_INSERT_ALL = f"""
{_TARGET}
select id, workflow_id, capability, provider, created_at, request_metadata::jsonb, response_metadata::jsonb
from load_staging
order by n
on conflict (id) do nothing
"""
# Only for a batch that Postgres rejected. Only Postgres knows what its jsonb accepts (no \\u0000, no lone surrogates,
# numbers within bounds, limited depth), so this inserts row by row and records the errors.
_INSERT_EACH = f"""
do $$
declare
  r record;
begin
  for r in select * from load_staging order by n loop
    begin
      {_TARGET}
      values (r.id, r.workflow_id, r.capability, r.provider, r.created_at,
              r.request_metadata::jsonb, r.response_metadata::jsonb)
      on conflict (id) do nothing;
      if not found then
        insert into load_rejected values ('duplicate_id');
      end if;
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
      insert into load_rejected values (sqlstate);
    end;
  end loop;
end
$$
"""
_REASONS = {
    "duplicate_id": "duplicate_id",
    "22P02": "invalid_json",
    "22P05": "unstorable_character",
    "22003": "number_out_of_range",
    "54001": "nested_too_deep",
    "54000": "too_large",
}
_ROW_AT_FAULT = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.errors.ProgramLimitExceeded,
    psycopg2.errors.StatementTooComplex,
)


@dataclass(frozen=True)
class Rejected:
    """The number of rows rejected for a reason."""

    reason: str
    rows: int


@dataclass(frozen=True)
class LoadReport:
    """The row counts of a load: read = loaded + all rejected."""

    read: int
    loaded: int
    rejected: tuple[Rejected, ...]


def load_file(url: str, path: Path, progress: Callable[[int], None], naive_timezone: str | None = None) -> LoadReport:
    """Loads the rows of `path` into ai_audit_logs in one transaction: a failed load leaves no rows.

    A row is rejected if the table cannot store it: no id, a duplicate id, no instant, or text that is not JSON. Every
    other row is loaded, however unusual; the sync validates its content. Times without a zone are interpreted in
    `naive_timezone`, or rejected if that is None. `progress` is called with the number of rows of each batch.
    Raises LoadError, SourceError.
    """
    read = loaded = 0
    reasons: Counter[str] = Counter()
    with connect(url) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(_STAGING)
            for frame in frames(path):
                rows = validate_rows(frame, naive_timezone)
                rejected = rows.drop_nulls("reason")
                reasons.update(dict(rejected.group_by("reason").len().iter_rows()))
                loaded += _insert(cursor, rows.filter(pl.col("reason").is_null()), reasons)
                read += len(rows)
                progress(len(rows))
            if loaded:
                cursor.execute("analyze ai_audit_logs")
        except psycopg2.Error as error:
            raise LoadError(f"{path}: {_cause(error, url)}; nothing was loaded") from None
    ordered = tuple(Rejected(reason, rows) for reason, rows in reasons.most_common())
    return LoadReport(read, loaded, ordered)


def _insert(cursor: psycopg2.extensions.cursor, rows: pl.DataFrame, reasons: Counter[str]) -> int:
    buffer = io.BytesIO()
    rows.select("n", *LOG_COLUMNS).write_csv(buffer, include_header=False, datetime_format=INSTANT)
    buffer.seek(0)
    cursor.execute("truncate load_staging, load_rejected")
    cursor.copy_expert("copy load_staging from stdin (format csv)", buffer)
    cursor.execute("savepoint batch")
    try:
        cursor.execute(_INSERT_ALL)
        inserted = cursor.rowcount
        if inserted < len(rows):
            reasons["duplicate_id"] += len(rows) - inserted
    except _ROW_AT_FAULT:
        cursor.execute("rollback to savepoint batch")
        cursor.execute(_INSERT_EACH)
        cursor.execute("select reason, count(*) from load_rejected group by reason")
        inserted = len(rows)
        for reason, count in cursor.fetchall():
            reasons[_REASONS.get(reason, f"refused_{reason}")] += count
            inserted -= count
    cursor.execute("release savepoint batch")
    return inserted


def _cause(error: psycopg2.Error, url: str) -> str:
    """The cause and its fix. Only the first line of the error, because the others may quote a row."""
    message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    match error:
        case psycopg2.errors.InvalidColumnReference():
            fix = "ai_audit_logs needs a primary key or unique index on id, to detect duplicates"
        case psycopg2.errors.UndefinedTable():
            fix = "the source has no table ai_audit_logs: create it, or load into the embedded Postgres"
        case psycopg2.errors.InsufficientPrivilege():
            fix = "loading needs insert on ai_audit_logs and temp on the database: grant both"
        case psycopg2.errors.DiskFull():
            fix = "free space on the disk of the source and load again"
        case psycopg2.OperationalError():
            fix = "the connection was lost: start the source and load again"
        case _:
            fix = "see its log"
    return f"the source at {server_address(url)} reported an error ({message}): {fix}"
