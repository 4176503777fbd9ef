"""The tables a rule may watch: their columns, their grain and which rows are evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import polars as pl

from audit_assets.rules.business_clock import BusinessCalendar, business_minutes
from audit_assets.warehouse.schema import ColumnTypes, contract

WindowName = Literal["running_and_last_closed_day", "last_closed_day", "last_closed_step", "now"]

DAY = timedelta(days=1)
STEP = timedelta(minutes=15)
OUTCOME_STEP = timedelta(minutes=5)

REGISTRY, SYNC_STATE = "ai_audit_capabilities", "ai_audit_sync_state"
NEW_CAPABILITIES = ("new_capabilities_1h", "new_capabilities_1d")  # columns of the sync row, counted in the registry

_GRIDS = ("ai_audit_capability_grid", "ai_audit_total_grid")
_INSTANT = pl.Datetime("us", "UTC")
_TYPES: Mapping[str, pl.DataType] = {
    "bigint": pl.Int64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "double": pl.Float64(),
    "timestamptz": _INSTANT,
    "varchar": pl.String(),
}


@dataclass(frozen=True)
class WatchedTable:
    """A table with one row per `time` (a UTC day, the start of a step, or the time of evaluation) and instance. A mart
    has the columns of its dbt contract and those that are computed from `now`; other tables have only the latter."""

    name: str
    time: str
    width: timedelta  # how long one row's window is
    windows: tuple[WindowName, ...]
    dimensions: tuple[str, ...]
    computed: Mapping[str, pl.DataType] = field(default_factory=dict[str, pl.DataType])
    is_mart: bool = True
    whole_day: tuple[str, ...] = ()  # figures of a whole day; a drop may not compare a running day with them

    @cached_property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Column → type, in the order of the contract."""
        columns = contract(self.name) if self.is_mart else dict[str, ColumnTypes]()
        return MappingProxyType({name: _TYPES[types.duckdb] for name, types in columns.items()} | dict(self.computed))

    @property
    def environment(self) -> str | None:
        """The column with a row's environment, or None if the table has only one environment."""
        return "environment" if "environment" in self.schema else None

    @property
    def conditions_may_name(self) -> tuple[str, ...]:
        """The columns a condition may use: all but times, because a condition does no arithmetic on times."""
        return tuple(name for name, dtype in self.schema.items() if not dtype.is_temporal())

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that identify an instance: the environment, if there is one, and the dimensions."""
        return (*([self.environment] if self.environment else []), *self.dimensions)

    def empty(self) -> pl.DataFrame:
        """An empty frame with the types that expressions see: every figure is a float, so that no count overflows."""
        return pl.DataFrame(
            schema={
                name: pl.Float64() if self.schema[name].is_numeric() else self.schema[name]
                for name in self.conditions_may_name
            }
        )


def _floats(*names: str) -> dict[str, pl.DataType]:
    return {name: pl.Float64() for name in names}


def _counts(*names: str) -> dict[str, pl.DataType]:
    return {name: pl.Int64() for name in names}


_ANOMALIES = WatchedTable(
    name="ai_audit_capability_anomalies",
    time="date",
    width=DAY,
    windows=("running_and_last_closed_day", "last_closed_day"),
    dimensions=("capability",),
)

_GRID = WatchedTable(
    name="ai_audit_capability_grid",
    time="step_start",
    width=STEP,
    windows=("last_closed_step",),
    dimensions=("capability",),
    computed=_floats("business_minutes_silent"),
    whole_day=("day_median_14d",),
)

_TOTAL_GRID = replace(_GRID, name="ai_audit_total_grid", dimensions=())

_CAPABILITY_OUTCOMES = WatchedTable(
    name="ai_audit_capability_outcomes",
    time="step_start",
    width=OUTCOME_STEP,
    windows=("last_closed_step",),
    dimensions=("capability",),
)

_TOTAL_OUTCOMES = replace(_CAPABILITY_OUTCOMES, name="ai_audit_total_outcomes", dimensions=())

_REGISTRY = WatchedTable(
    name="ai_audit_capabilities",
    time="judged_at",
    width=timedelta(),
    windows=("now",),
    dimensions=("capability",),
    computed={"judged_at": _INSTANT, **_floats("minutes_since_first_seen", "minutes_since_registered")},
)

_SYNC_STATE = WatchedTable(
    name="ai_audit_sync_state",
    time="judged_at",
    width=timedelta(),
    windows=("now",),
    dimensions=(),
    is_mart=False,
    computed={
        "judged_at": _INSTANT,
        "environment": pl.String(),
        "ever_synced": pl.Boolean(),
        **_floats("minutes_since_sync", "business_minutes_since_sync", "minutes_behind_source"),
        **_counts("failed_in_a_row"),
        "failed_mode": pl.String(),
        "last_error": pl.String(),
        **_floats("hours_since_repair"),
        **_floats("minutes_since_failure", "oldest_write_minutes", "lookback_minutes"),
        **_floats("clock_skew_seconds", "replay_lag_minutes"),
        **_counts("held_removals", "days_with_held_removals", "days_that_differ"),
        "sessions_visible": pl.Boolean(),
        "is_replica": pl.Boolean(),
        "in_business_hours": pl.Boolean(),
        **_counts(*NEW_CAPABILITIES),
    },
)


_ASSET_CHECKS = WatchedTable(
    name="asset_checks",
    time="judged_at",
    width=timedelta(),
    windows=("now",),
    dimensions=("asset",),
    is_mart=False,
    computed={
        "judged_at": _INSTANT,
        "environment": pl.String(),
        "asset": pl.String(),
        **_counts("failing_checks", "failing_days", "failing_rows"),
    },
)

_PIPELINE_RUNS = WatchedTable(
    name="pipeline_runs",
    time="judged_at",
    width=timedelta(),
    windows=("now",),
    dimensions=("run",),
    is_mart=False,
    computed={"judged_at": _INSTANT, "environment": pl.String(), "run": pl.String(), **_counts("failed_runs")},
)

# Facts that are read from Dagster, not from a warehouse table.
DAGSTER_TABLES = frozenset({"asset_checks", "pipeline_runs"})


_ALL = (
    _ANOMALIES,
    _GRID,
    _TOTAL_GRID,
    _CAPABILITY_OUTCOMES,
    _TOTAL_OUTCOMES,
    _REGISTRY,
    _SYNC_STATE,
    _ASSET_CHECKS,
    _PIPELINE_RUNS,
)
TABLES: Mapping[str, WatchedTable] = MappingProxyType({table.name: table for table in _ALL})


def add_time_facts(
    tables: Mapping[str, pl.DataFrame],
    now: datetime,
    calendar: BusinessCalendar,
    step: timedelta | None = None,
) -> dict[str, pl.DataFrame]:
    """`tables` of the warehouse, with the columns that depend on `now` (UTC). `step` is the step length of the grids if
    it is not the project's own."""
    known = dict(tables)
    for name in _GRIDS:
        if name in known:
            known[name] = add_silence(known[name], step or TABLES[name].width, calendar)
    if SYNC_STATE in known:
        known[SYNC_STATE] = add_new_capabilities(known[SYNC_STATE], known.get(REGISTRY))
    if REGISTRY in known:
        known[REGISTRY] = registry_at(known[REGISTRY], now)
    return known


def add_new_capabilities(sync: pl.DataFrame, registry: pl.DataFrame | None) -> pl.DataFrame:
    """The sync facts with the number of capabilities of the live environment that were registered in the hour and in
    the 24 hours before each row. Capabilities of the first load and of history are not counted. Null if there is no
    registry yet."""
    if registry is None:
        return sync.with_columns(pl.lit(None, pl.Int64).alias(name) for name in NEW_CAPABILITIES)
    is_news = ~pl.col("registered_silently") & (pl.col("environment") == "live")
    registered = registry.filter(is_news).get_column("registered_at").dt.epoch("us").sort()
    at = sync.get_column("judged_at").dt.epoch("us")
    known = registered.search_sorted(at, side="right")
    return sync.with_columns(
        (known - registered.search_sorted(at - length // timedelta(microseconds=1), side="right"))
        .cast(pl.Int64)
        .alias(name)
        for name, length in zip(NEW_CAPABILITIES, (timedelta(hours=1), timedelta(days=1)), strict=True)
    )


def add_silence(grid: pl.DataFrame, width: timedelta, calendar: BusinessCalendar) -> pl.DataFrame:
    """`grid` with `business_minutes_silent`: business minutes from the end of the newest step with calls to the end of
    this step; null if no call is known."""
    silent_since = grid.get_column("last_interaction_at").dt.cast_time_unit("us") + width
    ends = grid.get_column("step_start").dt.cast_time_unit("us") + width
    return grid.with_columns(business_minutes(calendar, silent_since, ends).alias("business_minutes_silent"))


def registry_at(registry: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The registry of capabilities at `now` (UTC): how long ago each was first seen and registered, in minutes."""
    return registry.with_columns(
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("judged_at"),
        _minutes_since("first_seen_at", pl.lit(now)).alias("minutes_since_first_seen"),
        _minutes_since("registered_at", pl.lit(now)).alias("minutes_since_registered"),
    )


def registry_history(registry: pl.DataFrame) -> pl.DataFrame:
    """The registry for a backtest: each capability at the time it was registered."""
    return registry.with_columns(
        pl.col("registered_at").dt.cast_time_unit("us").alias("judged_at"),
        _minutes_since("first_seen_at", pl.col("registered_at")).alias("minutes_since_first_seen"),
        pl.lit(0.0).alias("minutes_since_registered"),
    )


def _minutes_since(column: str, now: pl.Expr) -> pl.Expr:
    return (now - pl.col(column)).dt.total_microseconds() / 60e6
