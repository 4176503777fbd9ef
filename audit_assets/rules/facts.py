"""The tables a rule may watch: their columns as judging sees them, their grain and which rows are judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

import polars as pl

WindowName = Literal["running_and_last_closed_day", "last_closed_day", "last_closed_step", "now"]

DAY = timedelta(days=1)
STEP = timedelta(minutes=15)
OUTCOME_STEP = timedelta(minutes=5)

_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """One table: a row per `time` (a UTC day, the start of a step, or the moment of judging) and instance."""

    name: str
    time: str
    width: timedelta  # how long one row's window is
    windows: tuple[WindowName, ...]
    dimensions: tuple[str, ...]
    schema: Mapping[str, pl.DataType]
    whole_day: tuple[str, ...] = ()  # figures of a whole day: a drop may not compare a running day with them

    @property
    def environment(self) -> str | None:
        """The column that says which environment a row belongs to, or None where the table holds only one."""
        return "environment" if "environment" in self.schema else None

    @property
    def conditions_may_name(self) -> tuple[str, ...]:
        """The columns of a condition: all but times, since a condition does no arithmetic on times."""
        return tuple(name for name, dtype in self.schema.items() if not dtype.is_temporal())

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that tell instances apart: the environment where there is one, and the dimensions."""
        return (*([self.environment] if self.environment else []), *self.dimensions)

    def empty(self) -> pl.DataFrame:
        """No rows, typed as expressions see them: every figure a float, so that no count overflows."""
        return pl.DataFrame(
            schema={
                name: pl.Float64() if self.schema[name].is_numeric() else self.schema[name]
                for name in self.conditions_may_name
            }
        )


def _table(
    name: str,
    time: str,
    width: timedelta,
    windows: tuple[WindowName, ...],
    dimensions: tuple[str, ...],
    schema: dict[str, pl.DataType],
    whole_day: tuple[str, ...] = (),
) -> WatchedTable:
    return WatchedTable(name, time, width, windows, dimensions, MappingProxyType(schema), whole_day)


def _floats(*names: str) -> dict[str, pl.DataType]:
    return {name: pl.Float64() for name in names}


def _counts(*names: str) -> dict[str, pl.DataType]:
    return {name: pl.Int64() for name in names}


_PLACE: dict[str, pl.DataType] = {"date": pl.Date(), "step_start": _INSTANT, "environment": pl.String()}
_CAPABILITY: dict[str, pl.DataType] = {"capability": pl.String()}

_ANOMALIES = _table(
    name="ai_audit_capability_anomalies",
    time="date",
    width=DAY,
    windows=("running_and_last_closed_day", "last_closed_day"),
    dimensions=("capability",),
    schema={
        "date": pl.Date(),
        **_CAPABILITY,
        **_counts("interaction_count"),
        **_floats("median_7d", "median_14d", "mean_7d", "stddev_7d", "z_score", "like_day_median"),
        **_counts("like_day_count"),
        **_floats("deviation_percent"),
        "deviation_state": pl.String(),
        "evaluation_status": pl.String(),
        "severity": pl.String(),
        "reason": pl.String(),
    },
)

# What the calls of a step are compared with; see dbt/macros/expectations.sql.
_EXPECTATIONS: dict[str, pl.DataType] = {
    "local_date": pl.Date(),
    **_counts("step_of_day"),
    **_counts("seconds_into_day", "day_count"),
    "day_is_over": pl.Boolean(),
    **_floats("day_median_14d"),
    **_counts("comparable_days"),
    **_floats("expected_count", "expected_since_last", "business_minutes_silent"),
    # Calls of the hours up to the end of the step, what these hours usually have, and their extremes over 14 days.
    **_counts("count_1h", "count_2h", "count_6h", "highest_step_2h"),
    **_floats("usual_1h", "usual_2h", "usual_6h", "ratio_2h", "ratio_6h", "low_share_6h"),
    **_counts("lowest_2h", "lowest_2nd_1h", "lowest_3rd_1h", "lowest_2nd_2h", "lowest_3rd_6h", "lowest_day"),
    **_counts("highest_1h", "highest_2nd_1h", "highest_6h", "day_before_1h", "week_before_2h"),
    # The most extreme of any hours of the 14 days.
    **_counts("peak_1h", "peak_2nd_1h", "peak_2nd_2h", "peak_2nd_6h"),
    **_floats("low_ratio_2nd_2h", "low_ratio_2nd_6h"),
}
_WHOLE_DAY = ("day_median_14d",)

_GRID = _table(
    name="ai_audit_capability_grid",
    time="step_start",
    width=STEP,
    windows=("last_closed_step",),
    dimensions=("capability",),
    schema={
        **_PLACE,
        **_CAPABILITY,
        **_counts("interaction_count", "success_count", "error_count", "unknown_count", "workspace_count"),
        **_EXPECTATIONS,
    },
    whole_day=_WHOLE_DAY,
)

_TOTAL_GRID = _table(
    name="ai_audit_total_grid",
    time="step_start",
    width=STEP,
    windows=("last_closed_step",),
    dimensions=(),
    schema={
        **_PLACE,
        **_counts("interaction_count", "success_count", "error_count", "unknown_count"),
        **_EXPECTATIONS,
    },
    whole_day=_WHOLE_DAY,
)

_OUTCOMES: dict[str, pl.DataType] = {
    **{
        name: pl.Int64()
        for span in ("15m", "60m")
        for name in (
            f"interaction_count_{span}",
            f"success_count_{span}",
            f"error_count_{span}",
            f"unknown_count_{span}",
            f"workspace_known_count_{span}",
        )
    },
    "errors_in_two_workspaces_15m": pl.Boolean(),
    "errors_in_two_workspaces_60m": pl.Boolean(),
    **_floats(
        "base_error_rate",
        "error_rate_15m",
        "error_rate_60m",
        "error_rate_15m_low",
        "error_rate_60m_low",
        "unknown_rate_60m",
    ),
}

_CAPABILITY_OUTCOMES = _table(
    name="ai_audit_capability_outcomes",
    time="step_start",
    width=OUTCOME_STEP,
    windows=("last_closed_step",),
    dimensions=("capability",),
    schema={**_PLACE, **_CAPABILITY, **_OUTCOMES},
)

_TOTAL_OUTCOMES = _table(
    name="ai_audit_total_outcomes",
    time="step_start",
    width=OUTCOME_STEP,
    windows=("last_closed_step",),
    dimensions=(),
    schema={**_PLACE, **_OUTCOMES},
)

_REGISTRY = _table(
    name="ai_audit_capabilities",
    time="judged_at",
    width=timedelta(),
    windows=("now",),
    dimensions=("capability",),
    schema={
        "judged_at": _INSTANT,
        "environment": pl.String(),
        **_CAPABILITY,
        "registered_silently": pl.Boolean(),
        **_floats("minutes_since_first_seen", "minutes_since_registered"),
    },
)

_SYNC_STATE = _table(
    name="ai_audit_sync_state",
    time="judged_at",
    width=timedelta(),
    windows=("now",),
    dimensions=(),
    schema={
        "judged_at": _INSTANT,
        "environment": pl.String(),
        "ever_synced": pl.Boolean(),
        **_floats("minutes_since_sync", "business_minutes_since_sync", "minutes_behind_source"),
        **_counts("failed_in_a_row"),
        **_floats("minutes_since_failure", "oldest_write_minutes", "lookback_minutes"),
        "sessions_visible": pl.Boolean(),
        "in_business_hours": pl.Boolean(),
    },
)


def _by_name(tables: Iterable[WatchedTable]) -> Mapping[str, WatchedTable]:
    return MappingProxyType({table.name: table for table in tables})


TABLES = _by_name(
    (
        _ANOMALIES,
        _GRID,
        _TOTAL_GRID,
        _CAPABILITY_OUTCOMES,
        _TOTAL_OUTCOMES,
        _REGISTRY,
        _SYNC_STATE,
    )
)
