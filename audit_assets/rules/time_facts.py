"""Facts that hang on the business clock or on the moment of judging: rules do no arithmetic on times, so it is done
here; pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl

from audit_assets.rules.business_clock import business_minutes
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.facts import TABLES

_GRIDS = ("ai_audit_capability_grid", "ai_audit_total_grid")
_REGISTRY = "ai_audit_capabilities"


def with_time_facts(
    tables: Mapping[str, pl.DataFrame],
    now: datetime,
    calendar: BusinessCalendar,
    step: timedelta | None = None,
) -> dict[str, pl.DataFrame]:
    """`tables` as the warehouse holds them, with the columns rules need of the clock at `now` (UTC). `step` is how long
    one of the grids is where it is not the project's own."""
    known = dict(tables)
    for name in _GRIDS:
        if name in known:
            known[name] = with_silence(known[name], step or TABLES[name].width, calendar)
    if _REGISTRY in known:
        known[_REGISTRY] = registry_at(known[_REGISTRY], now)
    return known


def with_silence(grid: pl.DataFrame, width: timedelta, calendar: BusinessCalendar) -> pl.DataFrame:
    """`grid` with `business_minutes_silent`: business minutes from the end of the newest step that had calls to the end
    of this one; null where no call is known of."""
    silent_since = grid.get_column("last_interaction_at").dt.cast_time_unit("us") + width
    ends = grid.get_column("step_start").dt.cast_time_unit("us") + width
    return grid.with_columns(business_minutes(calendar, silent_since, ends).alias("business_minutes_silent"))


def registry_at(registry: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The registry of capabilities at `now`: how long ago each was first seen and registered, in minutes."""
    return registry.with_columns(
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("judged_at"),
        _minutes_since("first_seen_at", pl.lit(now)).alias("minutes_since_first_seen"),
        _minutes_since("registered_at", pl.lit(now)).alias("minutes_since_registered"),
    )


def registry_history(registry: pl.DataFrame) -> pl.DataFrame:
    """The registry as a backtest replays it: each capability at the moment it was registered."""
    return registry.with_columns(
        pl.col("registered_at").dt.cast_time_unit("us").alias("judged_at"),
        _minutes_since("first_seen_at", pl.col("registered_at")).alias("minutes_since_first_seen"),
        pl.lit(0.0).alias("minutes_since_registered"),
    )


def _minutes_since(column: str, now: pl.Expr) -> pl.Expr:
    return (now - pl.col(column)).dt.total_microseconds() / 60e6
