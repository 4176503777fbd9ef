"""The cost of judging: all rules over 50 capabilities with loaded facts, and a backtest over two years.

The counts are synthetic (a daily shape, noise, a hundred spikes) and pass through the models like external counts.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from audit_assets.backtest.external_series import build_grids, read_counts
from audit_assets.rules.business_clock import read_calendar
from audit_assets.rules.facts import TABLES, add_time_facts
from audit_assets.rules.judge import judge_all
from audit_assets.rules.load import load_rules
from audit_assets.settings import PROJECT_ROOT
from benchmarks.figure import Figure, at_most, spread
from benchmarks.home import make_home, temporary_folder
from benchmarks.process import run_module

_STEPS = 96


@dataclass(frozen=True)
class Sizes:
    """Capabilities, days of history for the backtest, and rounds of live judging."""

    capabilities: int
    days: int
    rounds: int


FULL = Sizes(50, 730, 20)
QUICK = Sizes(5, 40, 3)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        live = _live(_counts(folder / "live.parquet", sizes.capabilities, 40), sizes.rounds)
        home = make_home(folder / "home")
        file = _counts(folder / "history.parquet", sizes.capabilities, sizes.days)
        ended = run_module(
            "audit_assets.cli", "rules", "backtest", "--counts", str(file), "--json", environment=home.environment
        )
    rows = sizes.capabilities * sizes.days * _STEPS
    return (
        Figure(
            f"all rules over {sizes.capabilities} capabilities", 1000 * median(live), "ms", at_most(200),
            f"with loaded facts of three days; {spread([1000 * each for each in live], 'ms')}",
        ),
        Figure(
            f"backtest of {sizes.days} days × {sizes.capabilities} capabilities", ended.wall, "s", at_most(60),
            f"{rows:,} steps, own and literal condition of each rule, from counts to figures: process, models, judging",
        ),
        Figure("peak memory of the backtest", ended.peak_mb, "MB", None, "as above"),
    )  # fmt: skip


def _counts(path: Path, capabilities: int, days: int) -> Path:
    rng = np.random.default_rng(7)
    hour = np.arange(days * _STEPS) / 4
    shape = 0.2 + np.exp(-(((hour % 24) - 13) ** 2) / 18) * np.where((hour // 24) % 7 < 5, 1.0, 0.3)
    frames: list[pl.DataFrame] = []
    for number in range(capabilities):
        expected = shape * rng.lognormal(2.5, 1.0) * rng.lognormal(0, 0.2, days).repeat(_STEPS)
        for start in rng.integers(0, days * _STEPS, max(days // 365, 1)):
            expected[start : start + 24] *= 3
        count = rng.poisson(expected)
        frames.append(pl.DataFrame({"series": f"c{number:02}", "bin": np.arange(len(count)), "count": count}))
    pl.concat(frames).write_parquet(path)
    return path


def _live(file: Path, rounds: int) -> list[float]:
    """The seconds of judging alone on the newest three days, as the asset check does it."""
    alerts = PROJECT_ROOT / "observability/alerts"
    rules, calendar = load_rules(alerts / "ai-audit"), read_calendar(alerts / "calendar.yaml")
    counts = read_counts(file, 15, "UTC")
    since = counts.until - timedelta(days=3)
    recent = {name: rows.filter(pl.col("step_start") >= since) for name, rows in build_grids(counts).items()}
    facts = add_time_facts(recent, counts.until, calendar)
    missing = {name: pl.DataFrame(schema=dict(TABLES[name].schema)) for name in TABLES if name not in facts}
    taken: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        judge_all(rules, {**missing, **facts}, counts.until, calendar)
        taken.append(time.perf_counter() - begun)
    return taken
