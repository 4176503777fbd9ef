"""Ingest speed, compared with the source's own speed and with a peer.

The project: the first load of `audit_assets.ingest.sync.sync` from Postgres into an empty DuckDB file, with all fields
of the raw table including the prompt's length, each load in a new process. The baseline: psql with `COPY (all columns)
TO STDOUT (FORMAT binary)` to /dev/null, the minimum cost of reading the table. The peer: dlt with connectorx into
DuckDB. Runs alternate (copy, ours, peer, copy, ours, peer, …). Ratios are of medians; the peak is the maximum.
"""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from audit_assets.demo.postgres_files import bundled_install
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most, ratio_of_medians, spread
from benchmarks.home import NOW, make_home, source, temporary_folder
from benchmarks.peer import PeerRounds
from benchmarks.process import ProcessResult, run, run_module
from benchmarks.source_rows import SourceRows, fill

DAYS = 60


@dataclass(frozen=True)
class Sizes:
    """The number of rows of about 700 B and of about 8 KB (0: skipped), rounds of each, and whether the peer runs."""

    small_rows: int
    large_rows: int
    rounds: int
    with_peer: bool = True


FULL = Sizes(small_rows=2_000_000, large_rows=150_000, rounds=3)
QUICK = Sizes(small_rows=100_000, large_rows=10_000, rounds=2)


@dataclass(frozen=True)
class Taken:
    """The seconds of each round, and the project's peak memory (MB)."""

    filled: SourceRows
    copies: tuple[float, ...]
    deltas: tuple[float, ...]
    fulls: tuple[float, ...]
    peak_mb: float


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder, source(folder) as url:
        peer, no_peer = PeerRounds(), PeerRounds("the peer is not run on these rows")
        if sizes.with_peer:
            peer.install(folder)
        small = _take(folder / "small", url, fill(url, sizes.small_rows, 700, DAYS, NOW), sizes.rounds, peer)
        figures = (
            *_against_copy(small, 1.2),
            Figure("peak memory, first load", small.peak_mb, "MB", at_most(500), "largest ru_maxrss of its process"),
            _against_peer(small, peer),
        )
        if sizes.large_rows == 0:
            return figures
        large = _take(folder / "large", url, fill(url, sizes.large_rows, 8_000, DAYS, NOW), sizes.rounds, no_peer)
    return (
        *figures,
        *_against_copy(large, 1.4),
        Figure("peak memory, first load of large rows", large.peak_mb, "MB", at_most(500), "as above"),
    )


def _against_copy(taken: Taken, aim: float) -> tuple[Figure, ...]:
    of = f"{taken.filled.rows:,} rows × {taken.filled.json_bytes:.0f} B"
    copies = f"copy {spread(taken.copies)}"
    return (
        Figure(
            f"first load / binary COPY, {of}",
            ratio_of_medians(taken.deltas, taken.copies),
            "×",
            at_most(aim),
            f"delta from an empty warehouse {spread(taken.deltas)}; {copies}",
        ),
        Figure(
            f"full repair into nothing / binary COPY, {of}",
            ratio_of_medians(taken.fulls, taken.copies),
            "×",
            None,
            f"--mode full, which also looks for duplicates {spread(taken.fulls)}; {copies}",
        ),
    )


def _against_peer(taken: Taken, peer: PeerRounds) -> Figure:
    name, aim = "dlt 1.31 with connectorx / ours, same rows", at_least(3)
    if peer.problem is not None or not all(peer.seconds.values()):
        return Figure(name, None, "×", aim, peer.problem or "not part of this run")
    faster = min(peer.seconds.values(), key=median)
    each = "; ".join(f"dlt {mode} {spread(seconds)}" for mode, seconds in peer.seconds.items())
    detail = f"its faster mode; {each}; its peak {peer.peak_mb:.0f} MB; ours {spread(taken.deltas)}"
    return Figure(name, ratio_of_medians(faster, taken.deltas), "×", aim, detail)


def _take(folder: Path, url: str, filled: SourceRows, rounds: int, peer: PeerRounds) -> Taken:
    copies: list[float] = []
    deltas: list[float] = []
    fulls: list[float] = []
    peaks: list[float] = []
    _copy(url)  # warms the cache equally for all
    for number in range(rounds):
        copies.append(_copy(url))
        for mode, seconds in (("delta", deltas), ("full", fulls)):
            ended = _first_load(folder / f"{mode}-{number}", url, mode, filled.rows)
            seconds.append(float(ended.output["seconds"]))
            peaks.append(ended.peak_mb)
        peer.take(url, number, filled.rows)
    return Taken(filled, tuple(copies), tuple(deltas), tuple(fulls), max(peaks))


def _copy(url: str) -> float:
    """The seconds that psql takes to read and discard the table, including some milliseconds for its start."""
    psql = str(bundled_install() / "bin/psql")
    command = [psql, "--no-psqlrc", "-d", url, "-c", "copy ai_audit_logs to stdout (format binary)"]
    return run(command, {}, stdout=subprocess.DEVNULL).wall


def _first_load(folder: Path, url: str, mode: str, rows: int) -> ProcessResult:
    home = make_home(folder, url)
    ended = _removing(folder, partial(run_module, "benchmarks.one_sync", mode, environment=home.environment))
    if ended.output["rows"] != rows:
        raise BenchmarkError(f"the sync added {ended.output['rows']} rows of {rows}")
    return ended


def _removing(folder: Path, load: Callable[[], ProcessResult]) -> ProcessResult:
    """Runs `load` and returns its result. Deletes `folder` before the next load."""
    try:
        return load()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
