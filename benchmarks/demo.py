"""The duration of `make demo SERVE=0` in a fresh data folder, with everything installed.

Measures the wall time of the command: Postgres is created and filled with 60 days of traffic, then sync, models,
snapshot and rules run through the Dagster job. Afterwards another process reads the instance and the counts.
"""

import sys
from dataclasses import dataclass

from audit_assets.demo import postgres
from benchmarks.figure import Figure, at_most
from benchmarks.home import NOW_OPTION, make_home, refuse_configured_source, temporary_folder
from benchmarks.process import run, run_module


@dataclass(frozen=True)
class Sizes:
    """Days of traffic and average rows per day."""

    days: int
    rows_per_day: int


FULL = Sizes(days=60, rows_per_day=8_000)
QUICK = Sizes(days=15, rows_per_day=300)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = make_home(folder / "home")
        refuse_configured_source()
        arguments = ["--days", str(sizes.days), "--rows-per-day", str(sizes.rows_per_day)]
        demo = [sys.executable, "-m", "audit_assets.cli", *NOW_OPTION, "demo", "--no-serve", *arguments]
        try:
            ended = run(demo, home.environment)
            report = run_module("benchmarks.one_reconciliation", str(sizes.days), environment=home.environment).output
        finally:
            postgres.remove(home.folder / "postgres")
    materialized = report["materialized_days"]
    lacking = {key: days for key, days in materialized.items() if days < sizes.days}
    rows = report["source_rows"]
    return (
        Figure(
            "make demo SERVE=0, fresh data folder", ended.wall, "s", at_most(90),
            f"{sizes.days} days, {rows:,} rows; {ended.cpu:.0f} CPU s, peak {ended.peak_mb:.0f} MB",
        ),
        Figure(
            f"partitioned assets without all {sizes.days} days", len(lacking), "assets", at_most(0),
            f"of {len(materialized)}" + (f"; {lacking}" if lacking else ""),
        ),
        Figure(
            "checks without an evaluation", len(report["unevaluated"]), "checks", at_most(0),
            f"of {report['checks']}" + "".join(f"; {name}" for name in report["unevaluated"]),
        ),
        Figure(
            "days on which source, raw rows and daily facts differ", report["differing_days"], "days", at_most(0),
            f"of {rows:,} rows",
        ),
    )  # fmt: skip
