"""Rows of a Parquet file as frames of known columns, in batches bounded by size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from audit_assets.simulate.tables import LOG_COLUMNS

BATCH_BYTES = 32_000_000
BATCH_ROWS = 50_000


class LoadError(Exception):
    """A file that cannot be loaded at all. The message names file, column and mend; nothing was loaded."""


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """The file's rows: `n` (from 1), the columns of the source, and `reason` (`invalid_text` or null).

    Raises LoadError where it is no Parquet file or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow)
            seen = 0
            for batch in file.iter_batches(_batch_rows(file), columns=list(LOG_COLUMNS)):
                yield _frame(batch, seen)
                seen += batch.num_rows
    except FileNotFoundError:
        raise LoadError(f"{path}: there is no such file") from None
    except (OSError, pa.ArrowInvalid) as error:
        cause = str(error).strip().splitlines()[0]
        raise LoadError(f"{path}: not a readable Parquet file ({cause}); write it again") from None


def _check_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in LOG_COLUMNS if name not in schema.names]
    if missing:
        raise LoadError(
            f"{path}: lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} (it has "
            f"{', '.join(schema.names)}); rename or add, a column may be all null"
        )
    for name in LOG_COLUMNS:
        kind = schema.field(name).type
        if not (_is_text(kind) or (name == "created_at" and pa.types.is_timestamp(kind))):
            wanted = "a timestamp or text" if name == "created_at" else "text"
            raise LoadError(f"{path}: column {name} is {kind}; it must be {wanted}: cast it")


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
    """Rows a batch, fewer where they are wide: a file of 1 MB texts must not fill the memory."""
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
            if column.type.tz is not None:  # the same instants; polars knows no fixed offsets
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
    """A column as text, and which of its values are not UTF-8 (they become null; Parquet does not check)."""
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
