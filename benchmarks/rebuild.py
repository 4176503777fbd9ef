"""The overhead of dbt: a rebuild of all marts from raw rows, compared with the same SQL in bare DuckDB.

The project: `dbt run --full-refresh` in a running process, as Dagster runs do it, with contracts and swaps but without
data tests. The baseline: the compiled SELECTs as `create or replace table … as`, on the same file with the same memory
limit and threads. Runs alternate; the ratio is of medians.
"""

from dataclasses import dataclass

from benchmarks.figure import BenchmarkError, Figure, at_most, ratio_of_medians, spread
from benchmarks.history import make_history
from benchmarks.home import NOW, make_home, temporary_folder
from benchmarks.process import run_module


@dataclass(frozen=True)
class Sizes:
    """Raw rows over `days`, and rebuilds of each kind."""

    rows: int
    days: int
    rounds: int


FULL = Sizes(rows=10_000_000, days=120, rounds=3)
QUICK = Sizes(rows=200_000, days=20, rounds=2)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = make_home(folder / "home")
        make_history(home, sizes.rows, sizes.days, NOW)
        ended = run_module("benchmarks.one_rebuild", str(sizes.rounds), environment=home.environment)
    ours, bare = ended.output["dbt"], ended.output["bare"]
    if not ended.output["same"]:
        raise BenchmarkError("the bare statements and dbt produced different row counts, so they cannot be compared")
    return (
        Figure(
            f"rebuild of {ended.output['models']} models from {sizes.rows:,} raw rows / bare DuckDB",
            ratio_of_medians(ours, bare),
            "×",
            at_most(1.3),
            f"dbt {spread(ours)}; bare {spread(bare)}; difference of medians is dbt's own work on each model",
        ),
        Figure("peak memory of the rebuild", ended.peak_mb, "MB", None, "dbt and DuckDB in one process"),
    )
