"""What the models add to their own SQL: a rebuild of all marts from raw rows, against the same SQL in bare DuckDB.

Ours: `dbt run --full-refresh` in a started process, as runs do it, contracts and swaps included, data tests not.
Against: the SELECTs dbt compiled, as `create or replace table … as`, on the same file with the same memory limit and
threads. Taken in turn; the ratio is of medians. The process's start is told beside it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.figure import BenchmarkError, Figure, at_most, ratio_of_medians, spread
from benchmarks.history import make_history
from benchmarks.home import made_home, temporary_folder
from benchmarks.process import run_module


@dataclass(frozen=True)
class Sizes:
    """Raw rows, over `days`; rebuilds of each kind."""

    rows: int
    days: int
    rounds: int


FULL = Sizes(rows=10_000_000, days=120, rounds=3)
QUICK = Sizes(rows=200_000, days=20, rounds=2)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = made_home(folder / "home")
        make_history(home, sizes.rows, sizes.days, datetime.now(UTC))
        ended = run_module("benchmarks.one_rebuild", str(sizes.rounds), environment=home.environment)
    ours, bare = ended.said["dbt"], ended.said["bare"]
    if not ended.said["same"]:
        raise BenchmarkError("the bare statements did not leave the same rows as dbt: they are not the same work")
    return (
        Figure(
            f"rebuild of {ended.said['models']} models from {sizes.rows:,} raw rows / bare DuckDB",
            ratio_of_medians(ours, bare),
            "×",
            at_most(1.3),
            f"dbt {spread(ours)}; bare {spread(bare)}; difference of medians is dbt's own work on each model",
        ),
        Figure("peak memory of the rebuild", ended.peak_mb, "MB", None, "dbt and DuckDB in one process"),
    )
