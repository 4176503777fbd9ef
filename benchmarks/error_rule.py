"""False pages and detection delay of the error rule: rows with a known true error rate, processed by the project's own
models and the rule from its file.

False pages: months of calls of which 1 % fail, at 20 to 100,000 calls per day, uniform over the day or concentrated in
working hours; each episode is a false page. Bursts: an hour at 8 % on a day of 2,700 calls, once a week, so that they
do not become the usual rate. A burst is found if an episode opens between its start and a quarter of an hour after its
end. DuckDB generates the rows from one seed.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import duckdb
import polars as pl

from audit_assets.backtest.replay import InstanceHistory, backtest
from audit_assets.ingest.policy import Statuses
from audit_assets.rules.business_clock import read_calendar
from audit_assets.rules.load import load_rules
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.dbt_environment import QUIET, dbt_arguments
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.schema import RAW_COLUMNS, SCHEMA
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most
from benchmarks.home import make_home, temporary_folder

_START = datetime(2026, 6, 1, tzinfo=UTC)
_BASE_DAYS = 14  # days of history before the measurement, for the usual rate
_BURST_HOUR = 18  # UTC: within working hours in Los Angeles


@dataclass(frozen=True)
class Sizes:
    """Days that are judged; (calls per day, number of series) for false pages; the number of series with bursts."""

    days: int
    series: tuple[tuple[int, int], ...]
    burst_series: int


FULL = Sizes(60, ((20, 12), (200, 12), (2_700, 12), (20_000, 3), (100_000, 1)), 12)
QUICK = Sizes(7, ((20, 2), (200, 2), (2_700, 2)), 2)

_BURST_EVERY = 7  # days

_SHAPES = ("flat", "work")


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = make_home(folder / "home")
        days = _BASE_DAYS + sizes.days
        with DuckDBWarehouse(home.duckdb_path, home.lock_path).connection("benchmark rows") as connection:
            connection.execute("select setseed(0.26)")
            for shape in _SHAPES:
                for rate, series in sizes.series:
                    for number in range(series):
                        _insert(connection, f"false-{shape}-{rate}-{number}", rate, days, shape, burst=False)
                for number in range(sizes.burst_series):
                    _insert(connection, f"burst-{shape}-{number}", 2_700, days, shape, burst=True)
        _build(home.environment, folder / "target", _START + timedelta(days=days))
        with duckdb.connect(str(home.duckdb_path), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            facts = pl.DataFrame(connection.table(f"{SCHEMA}.ai_audit_capability_outcomes").to_arrow_table())
    return _figures(facts, _START + timedelta(days=days), sizes)


def _insert(connection: duckdb.DuckDBPyConnection, name: str, rate: int, days: int, shape: str, burst: bool) -> None:
    """Inserts the calls of one capability: a random number per day with mean `rate`, at hours that follow `shape`."""
    hour = (
        "24 * random()"
        if shape == "flat"
        else "case when random() < 0.85 then 15 + 11 * random() else 24 * random() end"
    )
    begin, end = _BURST_HOUR, _BURST_HOUR + 1
    bursting = f"{burst} and hour >= {begin} and hour < {end} and day >= {_BASE_DAYS} and day % {_BURST_EVERY} = 0"
    failing = f"case when {bursting} then 0.08 else 0.01 end"
    values = {
        **dict.fromkeys(RAW_COLUMNS, "null"),
        "id": f"'{name}-' || i",
        "workflow_id": "'w' || cast(50 * random() * random() as integer)",
        "capability": f"'{name}'",
        "provider": "'openai'",
        "created_at": "$start + to_microseconds(cast((day * 24 + hour) * 3.6e9 as bigint))",
        "status": f"case when random() < {failing} then 'error' else 'success' end",
        "row_hash": "''",
        "synced_at": "$start",
    }
    listed = ", ".join(f"{values[column]} as {column}" for column in RAW_COLUMNS)
    # Binomial: twice as many possible calls, each made with probability one half.
    connection.execute(
        f"""insert into {SCHEMA}.ai_audit_logs ({", ".join(RAW_COLUMNS)})
        select {listed} from (
            select i, i // {2 * rate} as day, {hour} as hour from range({2 * rate * days}) as t(i) where random() < 0.5
        )""",
        {"start": _START},
    )


def _build(environment: dict[str, str], target: Path, now: datetime) -> None:
    command = [
        sys.executable, "-c", "import sys; from dbt.cli.main import cli; cli()", "run", "--full-refresh",
        "--select", "+ai_audit_capability_outcomes", *dbt_arguments(target), *QUIET,
    ]  # fmt: skip
    window = {"AI_AUDIT_BUILD_NOW": now.strftime("%Y-%m-%dT%H:%M:%SZ"), **Statuses().environment()}
    ended = subprocess.run(command, cwd=PROJECT_ROOT, env={**environment, **window}, capture_output=True, text=True)
    if ended.returncode != 0:
        raise BenchmarkError(f"the models do not build:\n{(ended.stdout + ended.stderr)[-1500:]}")


def _figures(facts: pl.DataFrame, until: datetime, sizes: Sizes) -> tuple[Figure, ...]:
    alerts = PROJECT_ROOT / "observability/alerts"
    rule = load_rules(alerts / "ai-audit").rule("error_surge")
    if rule is None:
        raise BenchmarkError("error_surge does not load; run `audit rules check`")
    calendar, since = read_calendar(alerts / "calendar.yaml"), _START + timedelta(days=_BASE_DAYS)
    histories = {
        form: {one.instance[1]: one for one in backtest(rule, facts, until, calendar, form, since).instances}
        for form in ("fires_when", "literal")
    }
    figures: list[Figure] = []
    for shape in _SHAPES:
        for rate, series in sizes.series:
            names = [f"false-{shape}-{rate}-{number}" for number in range(series)]
            pages = [
                len(histories["fires_when"][name].episodes) if name in histories["fires_when"] else 0 for name in names
            ]
            literal = [
                len(histories["literal"][name].episodes) if name in histories["literal"] else 0 for name in names
            ]
            months = sizes.days / 30 * series
            name = f"false pages per month, 1 % errors, {rate:,} calls per day, {shape}"
            figures.append(
                Figure(
                    name, sum(pages) / months, "", at_most(1),
                    f"{sum(pages)} in {months:.0f} months of calls; literal condition {sum(literal) / months:.1f}",
                )
            )  # fmt: skip
        figures += _bursts(histories["fires_when"], shape, sizes)
    return tuple(figures)


def _bursts(histories: Mapping[str, InstanceHistory], shape: str, sizes: Sizes) -> list[Figure]:
    delays: list[float] = []
    bursts = 0
    for number in range(sizes.burst_series):
        history = histories.get(f"burst-{shape}-{number}")
        opened = [episode.opened_at for episode in history.episodes] if history is not None else []
        for day in range(_BASE_DAYS, _BASE_DAYS + sizes.days, _BURST_EVERY):
            bursts += 1
            start = _START + timedelta(days=day, hours=_BURST_HOUR)
            after = [(at - start) / timedelta(minutes=1) for at in opened if at is not None]
            found = [minutes for minutes in after if 0 < minutes <= 75]
            delays += found[:1]
    within = sum(delay <= 20 for delay in delays) / bursts
    calls = 2_700 / 72 if shape == "flat" else 2_700 * 0.85 / 33  # in 20 minutes
    name = f"8 % for an hour at 2,700 calls per day, {shape}"
    return [
        Figure(f"recall: {name}", len(delays) / bursts, "", at_least(0.9), f"{len(delays)} of {bursts}"),
        Figure(
            f"delay, median: {name}", median(delays) if delays else None, "min", at_most(20),
            f"{within:.0%} of all bursts are found within 20 minutes, which have {calls:.0f} calls",
        ),
    ]  # fmt: skip
