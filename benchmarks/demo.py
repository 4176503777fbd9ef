"""What a newcomer waits for: `make demo SERVE=0` in a fresh data folder, everything installed.

Wall time of the command from its start to its end: Postgres made and filled with 60 days of traffic, sync, models,
snapshot, rules, all through the Dagster job. Afterwards the instance and the counts are read by another process.
"""

import sys
from dataclasses import dataclass

from audit_assets.simulate import postgres
from benchmarks.figure import Figure, at_most
from benchmarks.home import made_home, refuse_configured_source, temporary_folder
from benchmarks.process import run, run_module


@dataclass(frozen=True)
class Sizes:
    """Days of traffic and rows of an average day."""

    days: int
    rows_per_day: int


FULL = Sizes(days=60, rows_per_day=8_000)
QUICK = Sizes(days=15, rows_per_day=300)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = made_home(folder / "home")
        refuse_configured_source()
        arguments = ["--days", str(sizes.days), "--rows-per-day", str(sizes.rows_per_day)]
        demo = [sys.executable, "-m", "audit_assets.cli", "demo", "--no-serve", *arguments]
        try:
            ended = run(demo, home.environment)
            reckoned = run_module("benchmarks.one_reckoning", str(sizes.days), environment=home.environment).said
        finally:
            postgres.remove(home.folder / "postgres")
    held = reckoned["days_held"]
    lacking = {key: days for key, days in held.items() if days < sizes.days}
    rows = reckoned["source_rows"]
    return (
        Figure(
            "make demo SERVE=0, fresh data folder", ended.wall, "s", at_most(90),
            f"{sizes.days} days, {rows:,} rows; {ended.cpu:.0f} CPU s, peak {ended.peak_mb:.0f} MB",
        ),
        Figure(
            f"partitioned assets without all {sizes.days} days", len(lacking), "assets", at_most(0),
            f"of {len(held)}" + (f"; {lacking}" if lacking else ""),
        ),
        Figure(
            "checks without an evaluation", len(reckoned["unevaluated"]), "checks", at_most(0),
            f"of {reckoned['checks']}" + "".join(f"; {name}" for name in reckoned["unevaluated"]),
        ),
        Figure(
            "days on which source, raw rows and daily facts differ", reckoned["differing_days"], "days", at_most(0),
            f"of {rows:,} rows",
        ),
    )  # fmt: skip
