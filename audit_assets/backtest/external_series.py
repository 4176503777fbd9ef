"""External series (series, bin, count) run through the project's own models, as facts for a rule.

dbt runs the models as in production, on a temporary DuckDB file.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
from polars.exceptions import PolarsError

from audit_assets.rules.business_clock import BusinessCalendar
from audit_assets.rules.facts import add_time_facts
from audit_assets.warehouse.dbt_environment import QUIET, dbt_arguments, dbt_environment, release_warehouse
from audit_assets.warehouse.schema import SCHEMA

_BY_SERIES = "ai_audit_capability_grid"
_TOTAL = "ai_audit_total_grid"
GRIDS = (_BY_SERIES, _TOTAL)
# The model whose table is filled with the series instead, and the models between it and the grids.
_STEP_COUNTS = "int_ai_audit_step_counts"
_INTERMEDIATE = ("int_ai_audit_calendar_steps", "int_ai_audit_expected_counts")
# External series have counts only: every outcome is 0. A row of zero means that the step was observed.
_AS_STEP_COUNTS = """
    select
        cast(step_start as date) as date, 'live' as environment, capability, step_start, interaction_count,
        0::bigint as success_count, 0::bigint as error_count, 0::bigint as unknown_count, 0::bigint as workspace_count
    from counts
"""

# Start of numbered bins: a Monday, in UTC, so without time zone changes.
_ANCHOR = datetime(2001, 1, 1, tzinfo=UTC)


class CountsError(Exception):
    """A file of counts cannot be read, or the models cannot be run on it. The message gives the fix."""


@dataclass(frozen=True)
class ExternalSeries:
    """Counts by series and step, one row each. Step starts are UTC; `zone` is the time zone of local days."""

    rows: pl.DataFrame
    width: timedelta
    zone: str
    numbered: bool

    @property
    def until(self) -> datetime:
        """The end of the last step (UTC)."""
        last = self.rows.get_column("step_start").max()
        assert isinstance(last, datetime)  # a file without rows is rejected
        return last + self.width

    def bin_of(self, start: datetime) -> str:
        """The bin of the step that starts at `start` (UTC), as written in the file."""
        if self.numbered:
            return str((start - _ANCHOR) // self.width)
        return start.astimezone(ZoneInfo(self.zone)).isoformat()


def read_counts(path: Path, bin_minutes: int, zone: str) -> ExternalSeries:
    """Reads a Parquet or CSV file with the columns series, bin, count. Raises CountsError.

    A bin is a whole number (0 is a local midnight; numbered bins have no time zone changes) or a time with a time zone.
    """
    try:
        found = pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else pl.read_parquet(path)
    except FileNotFoundError:
        raise CountsError(f"{path}: no such file") from None
    except (PolarsError, OSError) as error:
        raise CountsError(f"{path}: is not a Parquet or CSV file: {str(error).splitlines()[0]}") from None
    missing = [name for name in ("series", "bin", "count") if name not in found.columns]
    if missing:
        raise CountsError(f"{path}: the column {missing[0]} is missing; series, bin and count are required")
    kind = found.schema["bin"]
    if not found.schema["count"].is_numeric():
        raise CountsError(f"{path}: count is {found.schema['count']}, but whole numbers are expected")
    width = timedelta(minutes=bin_minutes)
    if kind.is_integer():
        start = pl.lit(_ANCHOR).cast(pl.Datetime("us", "UTC")) + pl.col("bin").cast(pl.Int64) * width
    elif isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        start = pl.col("bin").dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    else:
        raise CountsError(f"{path}: bin is {kind}, but whole numbers from 0 or times with a time zone are expected")
    rows = found.select(
        pl.col("series").cast(pl.String).alias("capability"),
        start.alias("step_start"),
        pl.col("count").cast(pl.Int64, strict=False).alias("interaction_count"),
    )
    if rows.height == 0 or rows.null_count().sum_horizontal().item():
        raise CountsError(f"{path}: contains {'no rows' if rows.height == 0 else 'rows without series, bin or count'}")
    if rows.select((pl.col("step_start").dt.epoch("us") % (width // timedelta(microseconds=1)) != 0).any()).item():
        raise CountsError(f"{path}: bins are not {bin_minutes} minutes apart; set their width with --bin-minutes")
    summed = rows.group_by("capability", "step_start").agg(pl.col("interaction_count").sum())
    return ExternalSeries(summed, width, "UTC" if kind.is_integer() else zone, kind.is_integer())


def build_grids(counts: ExternalSeries) -> Mapping[str, pl.DataFrame]:
    """Builds the two grids of `counts` with the dbt models. Raises CountsError with dbt's message if they fail."""
    with tempfile.TemporaryDirectory(prefix="audit-counts-") as folder:
        path = Path(folder) / "warehouse.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")
            connection.register("counts", counts.rows.to_arrow())
            connection.execute(f"create table {SCHEMA}.{_STEP_COUNTS} as {_AS_STEP_COUNTS}")
        _run_models(path, counts)
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            found = {name: pl.DataFrame(connection.table(f"{SCHEMA}.{name}").to_arrow_table()) for name in GRIDS}
    # The models extend every series to the last step of all. Rows after the end of a series are unknown, not silence.
    ends = counts.rows.group_by("capability").agg(pl.col("step_start").max().alias("last_step"))
    by_series = found[_BY_SERIES].join(ends, on="capability").filter(pl.col("step_start") <= pl.col("last_step"))
    return {**found, _BY_SERIES: by_series.drop("last_step")}


def facts_of_counts(counts: ExternalSeries, until: datetime, calendar: BusinessCalendar) -> dict[str, pl.DataFrame]:
    """The facts of `counts` up to `until` (UTC), by table. Raises CountsError."""
    facts = add_time_facts(build_grids(counts), until, calendar, counts.width)
    del facts[_TOTAL]  # series from a file are not parts of a whole, so their total has no meaning
    return facts


def _run_models(path: Path, counts: ExternalSeries) -> None:
    from dbt.cli.main import dbtRunner

    now = counts.until - timedelta(seconds=1)
    minutes = counts.width // timedelta(minutes=1)
    variables = f"{{step_minutes: {minutes}, rules_timezone: {counts.zone}}}"
    arguments = ["run", "--full-refresh", "--select", *_INTERMEDIATE, *GRIDS, "--vars", variables, "--no-write-json"]
    window = {"AI_AUDIT_DUCKDB_PATH": str(path), "AI_AUDIT_BUILD_NOW": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    with dbt_environment(window):
        try:
            outcome = dbtRunner().invoke([*arguments, *dbt_arguments(path.parent / "target"), *QUIET])
        finally:
            release_warehouse()
    if not outcome.success:
        raise CountsError(f"the models failed on these counts: {outcome.exception or 'see the output above'}")
