"""The cost of a micro-batch as history grows: 5,000 new rows with 10M rows of history, compared with 1M.

Runs whole batches (sync, models with their tests, snapshot, rules) through the Dagster job like the sensor's runs: mode
delta, today's partition, each in a new process, against the same Postgres. Both histories cover the same days, so that
the larger one also has ten times the rows in the current day. Batches alternate, and the order changes each round.
Figures are medians. History is written directly into the warehouse; the first batch builds all of it.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from audit_assets.demo.source_tables import connect
from benchmarks.figure import BenchmarkError, Figure, at_most, ratio_of_medians, spread
from benchmarks.history import make_history
from benchmarks.home import NOW, Home, make_home, source, temporary_folder
from benchmarks.process import ProcessResult, run_module
from benchmarks.source_rows import add_rows

_PHASES = {
    "sync": ("sync_ai_audit_logs",),
    "models": ("models",),
    "publish": ("published_snapshot",),
}


@dataclass(frozen=True)
class Sizes:
    """Rows of the large and the small history over `days`, new rows per batch, and measured rounds."""

    large: int
    small: int
    days: int
    batch: int
    rounds: int


FULL = Sizes(large=10_000_000, small=1_000_000, days=120, batch=5_000, rounds=5)
QUICK = Sizes(large=200_000, small=20_000, days=20, batch=500, rounds=1)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder, source(folder) as url:
        homes = {
            f"{rows:,} rows": _prepared(folder / str(rows), url, rows, sizes.days)
            for rows in (sizes.large, sizes.small)
        }
        taken: dict[str, list[ProcessResult]] = {name: [] for name in homes}
        for number in range(sizes.rounds):
            with connect(url) as connection, connection.cursor() as cursor:
                now = NOW + timedelta(minutes=number + 1)
                add_rows(cursor, sizes.batch, f"batch-{number}-", at=now)
            for name in sorted(homes, reverse=number % 2 == 0):
                taken[name].append(_batch(homes[name], now, sizes.batch))
    (large, at_large), (small, at_small) = taken.items()
    against = f"{sizes.batch:,} new rows, {large} of history / {small}"
    walls = [[ended.wall for ended in batches] for batches in (at_large, at_small)]
    cpus = [[ended.cpu for ended in batches] for batches in (at_large, at_small)]
    return (
        Figure(
            f"micro-batch, wall: {against}", ratio_of_medians(*walls), "×", at_most(1.3),
            f"{large}: {spread(walls[0])}; {small}: {spread(walls[1])}",
        ),
        Figure(
            f"micro-batch, CPU: {against}", ratio_of_medians(*cpus), "×", at_most(1.3),
            f"{large}: {spread(cpus[0])}; {small}: {spread(cpus[1])}",
        ),
        Figure(f"micro-batch at {large}, wall", median(walls[0]), "s", None, _phases(at_large)),
        Figure(f"micro-batch at {small}, wall", median(walls[1]), "s", None, _phases(at_small)),
    )  # fmt: skip


def _prepared(folder: Path, url: str, rows: int, days: int) -> Home:
    """A home whose history has been built and published by a batch that is not measured."""
    home = make_home(folder, url)
    make_history(home, rows, days, NOW)
    run_module("benchmarks.one_batch", NOW.isoformat(), environment=home.environment)
    return home


def _batch(home: Home, now: datetime, rows: int) -> ProcessResult:
    ended = run_module("benchmarks.one_batch", now.isoformat(), environment=home.environment)
    synced = json.loads(home.state_file.read_text())["records_synced"]
    if synced != rows:
        raise BenchmarkError(f"the batch synced {synced} rows instead of {rows}")
    return ended


def _phases(batches: list[ProcessResult]) -> str:
    """The medians of the parts of a batch, in order."""
    parts = {"process start": [ended.output["began"] - ended.began for ended in batches]}
    for phase, steps in _PHASES.items():
        parts[phase] = [sum(ended.output["steps"].get(step, 0.0) for step in steps) for ended in batches]
    named = {step for steps in _PHASES.values() for step in steps}
    parts["checks"] = [
        sum(seconds for step, seconds in ended.output["steps"].items() if step not in named) for ended in batches
    ]
    known = [sum(values[number] for values in parts.values()) for number in range(len(batches))]
    parts["rest"] = [ended.wall - of_parts for ended, of_parts in zip(batches, known, strict=True)]
    return ", ".join(f"{part} {median(values):.2f} s" for part, values in parts.items())
