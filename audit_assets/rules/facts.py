"""The tables a rule may watch: their columns as judging sees them, their grain and which rows are judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal

import polars as pl

WindowName = Literal["running_and_last_closed_day", "last_closed_step"]

DAY = timedelta(days=1)
STEP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """One mart: a row per `time` (a UTC day or the start of a step) and instance."""

    name: str
    time: str
    width: timedelta  # how long one row's window is
    windows: tuple[WindowName, ...]
    dimensions: tuple[str, ...]
    schema: Mapping[str, pl.DataType]

    @property
    def environment(self) -> str | None:
        """The column that says which environment a row belongs to, or None where the mart holds only one."""
        return "environment" if "environment" in self.schema else None

    @property
    def conditions_may_name(self) -> tuple[str, ...]:
        """The columns of a condition: all but times, since a condition does no arithmetic on times."""
        return tuple(name for name, dtype in self.schema.items() if not dtype.is_temporal())

    def empty(self) -> pl.DataFrame:
        """No rows, typed as expressions see them: every figure a float, so that no count overflows."""
        return pl.DataFrame(
            schema={
                name: pl.Float64() if self.schema[name].is_numeric() else self.schema[name]
                for name in self.conditions_may_name
            }
        )


def judged_span(window: WindowName, now: datetime) -> tuple[datetime, datetime]:
    """The window judged at `now`, [start, end) in UTC.

    Days: the running one and the last closed one, since a running day can already be a spike (it only grows).
    Steps: the last one that is complete; the running one is left out, for the first three calls of which one
    failed would be an error rate of a third. Raises ValueError where `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone; give it in UTC")
    at = now.astimezone(UTC)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "running_and_last_closed_day":
        return midnight - DAY, midnight + DAY
    running_step = midnight + (at - midnight) // STEP * STEP
    return running_step - STEP, running_step


def _table(
    name: str,
    time: str,
    width: timedelta,
    windows: tuple[WindowName, ...],
    dimensions: tuple[str, ...],
    schema: dict[str, pl.DataType],
) -> WatchedTable:
    return WatchedTable(name, time, width, windows, dimensions, MappingProxyType(schema))


_ANOMALIES = _table(
    name="ai_audit_capability_anomalies",
    time="date",
    width=DAY,
    windows=("running_and_last_closed_day",),
    dimensions=("capability",),
    schema={
        "date": pl.Date(),
        "capability": pl.String(),
        "interaction_count": pl.Int64(),
        "median_7d": pl.Float64(),
        "median_14d": pl.Float64(),
        "mean_7d": pl.Float64(),
        "stddev_7d": pl.Float64(),
        "z_score": pl.Float64(),
        "like_day_median": pl.Float64(),
        "like_day_count": pl.Int64(),
        "deviation_percent": pl.Float64(),
        "deviation_state": pl.String(),
        "evaluation_status": pl.String(),
        "severity": pl.String(),
        "reason": pl.String(),
    },
)

_GRID = _table(
    name="ai_audit_capability_grid",
    time="step_start",
    width=STEP,
    windows=("last_closed_step",),
    dimensions=("capability",),
    schema={
        "step_start": pl.Datetime("us", "UTC"),
        "date": pl.Date(),
        "capability": pl.String(),
        "environment": pl.String(),
        "interaction_count": pl.Int64(),
        "success_count": pl.Int64(),
        "error_count": pl.Int64(),
        "unknown_count": pl.Int64(),
        "workspace_count": pl.Int64(),
    },
)

TABLES: Mapping[str, WatchedTable] = MappingProxyType({table.name: table for table in (_ANOMALIES, _GRID)})
