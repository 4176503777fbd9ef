"""Validates which rows of a file the source table can store, with a reason for rejected ones. Pure. Postgres itself
validates JSON."""

from __future__ import annotations

import polars as pl

TEXT_COLUMNS = ("id", "workflow_id", "capability", "provider", "request_metadata", "response_metadata")
ID_LIMIT_BYTES = 2_000  # an index entry of Postgres has at most about 2,700
MICROS_PER_SECOND = 1_000_000
# The years 1 to 9999, in microseconds since 1970 UTC.
FIRST_MICROS = -62_135_596_800 * MICROS_PER_SECOND
LAST_MICROS = 253_402_300_800 * MICROS_PER_SECOND - 1
_PER_MICRO = {"ms": (1, 1_000), "us": (1, 1), "ns": (1_000, 1)}

_DAY_AND_CLOCK = r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?))?\s*"
_ZONE = r"(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?\s*$"
_INSTANT = _DAY_AND_CLOCK + _ZONE
_LONGEST_OFFSET_MINUTES = 15 * 60 + 59  # the maximum in Postgres


def validate_rows(rows: pl.DataFrame, naive_timezone: str | None) -> pl.DataFrame:
    """`rows` with created_at in UTC microseconds and a column `reason`, which is null for valid rows.

    `rows` has TEXT_COLUMNS as text, and created_at as text or as a datetime with or without a time zone. Times without
    a zone are interpreted in `naive_timezone`, or rejected if that is None.
    """
    timed = _with_instants(rows, naive_timezone)
    holds_nul = pl.any_horizontal(
        pl.col(name).str.contains("\0", literal=True).fill_null(value=False) for name in TEXT_COLUMNS
    )
    before = pl.col("reason")
    return timed.with_columns(
        pl.when(before == "invalid_text")
        .then(before)
        .when(pl.col("id").is_null())
        .then(pl.lit("missing_id"))
        .when(holds_nul)
        .then(pl.lit("nul_character"))
        .when(pl.col("id").str.len_bytes() > ID_LIMIT_BYTES)
        .then(pl.lit("id_too_long"))
        .otherwise(before)
        .alias("reason")
    )


def _with_instants(rows: pl.DataFrame, naive_timezone: str | None) -> pl.DataFrame:
    kind = rows.schema["created_at"]
    if isinstance(kind, pl.Datetime):
        return _from_datetimes(rows, kind, naive_timezone)
    return _from_text(rows, naive_timezone)


def _from_datetimes(rows: pl.DataFrame, kind: pl.Datetime, naive_timezone: str | None) -> pl.DataFrame:
    divisor, factor = _PER_MICRO[kind.time_unit]
    ticks = pl.col("created_at").to_physical()
    # Bounds are checked before the unit changes, because an overflowing multiplication wraps around silently.
    bounded = ticks.is_between(FIRST_MICROS * divisor // factor, LAST_MICROS * divisor // factor)
    micros = pl.when(bounded).then(ticks * factor // divisor).cast(pl.Datetime("us"))
    naive = kind.time_zone is None
    return rows.with_columns(
        pl.when(pl.col("created_at").is_null())
        .then(pl.lit("missing_time"))
        .when(pl.lit(naive and naive_timezone is None))
        .then(pl.lit("naive_time"))
        .when(~bounded)
        .then(pl.lit("time_out_of_range"))
        .otherwise(pl.col("reason"))
        .alias("reason"),
        (_localize(micros, naive_timezone) if naive else micros.dt.replace_time_zone("UTC")).alias("created_at"),
    ).pipe(_reject_missing_instants)


def _from_text(rows: pl.DataFrame, naive_timezone: str | None) -> pl.DataFrame:
    text = pl.col("created_at").cast(pl.String)
    day, clock, zone = (text.str.extract(_INSTANT, group) for group in (1, 2, 3))
    wall = pl.concat_str(
        day,
        pl.lit(" "),
        pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock.fill_null("00:00:00")),
    ).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    hours = zone.str.extract(r"^[+-](\d{2})", 1).cast(pl.Int64)
    minutes = zone.str.extract(r"^[+-]\d{2}:?(\d{2})$", 1).cast(pl.Int64).fill_null(0)
    size = (hours * 60 + minutes).fill_null(0)
    offset = pl.when(zone.str.starts_with("-")).then(-size).otherwise(size)
    instant = (wall - pl.duration(minutes=offset)).dt.replace_time_zone("UTC")
    parsed = rows.with_columns(
        pl.when(zone.is_null() & pl.lit(naive_timezone is not None))
        .then(_localize(wall, naive_timezone))
        .otherwise(pl.when(zone.is_not_null()).then(instant))
        .alias("instant"),
        wall.is_not_null().alias("is_time"),
        (zone.is_null() & pl.lit(naive_timezone is None)).alias("is_naive"),
        (size > _LONGEST_OFFSET_MINUTES).alias("is_far"),
    )
    micros = pl.col("instant").to_physical()
    return (
        parsed.with_columns(
            pl.when(text.is_null())
            .then(pl.lit("missing_time"))
            .when(~pl.col("is_time") | pl.col("is_far"))
            .then(pl.lit("invalid_time"))
            .when(pl.col("is_naive"))
            .then(pl.lit("naive_time"))
            .when(~micros.is_between(FIRST_MICROS, LAST_MICROS))
            .then(pl.lit("time_out_of_range"))
            .otherwise(pl.col("reason"))
            .alias("reason")
        )
        .with_columns(created_at=pl.col("instant"))
        .drop("instant", "is_time", "is_naive", "is_far")
        .pipe(_reject_missing_instants)
    )


def _localize(wall: pl.Expr, naive_timezone: str | None) -> pl.Expr:
    """Wall-clock times as instants. Null for times that the clock change skips, the earlier for ambiguous ones."""
    zone = naive_timezone or "UTC"
    return wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _reject_missing_instants(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.when(pl.col("reason").is_null() & pl.col("created_at").is_null())
        .then(pl.lit("invalid_time"))
        .otherwise(pl.col("reason"))
        .alias("reason")
    )
