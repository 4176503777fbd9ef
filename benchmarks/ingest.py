"""How fast rows come in, against the source's own speed and against a peer.

Ours: the first load of `audit_assets.ingest.sync.sync` from Postgres into an empty DuckDB file, every field of the
raw table with the prompt's length, each load in a process of its own. Against: `COPY (all columns) TO STDOUT (FORMAT
binary)` to /dev/null by psql, the least that reading the table can cost; and dlt with connectorx into DuckDB.
Runs are taken in turn (copy, ours, peer, copy, ours, peer, …); ratios are of medians; the peak is the largest.
"""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from audit_assets.simulate.binaries import bundled_install
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most, ratio_of_medians, spread
from benchmarks.home import made_home, source, temporary_folder
from benchmarks.peer import PeerRounds
from benchmarks.process import Ended, run, run_module
from benchmarks.source_rows import SourceRows, fill

DAYS = 60


@dataclass(frozen=True)
class Sizes:
    """Rows of about 700 B and of about 8 KB (0: leave these out), rounds of each, and whether the peer is run."""

    small_rows: int
    large_rows: int
    rounds: int
    with_peer: bool = True


FULL = Sizes(small_rows=2_000_000, large_rows=150_000, rounds=3)
QUICK = Sizes(small_rows=100_000, large_rows=10_000, rounds=2)


@dataclass(frozen=True)
class Taken:
    """Seconds of each round, and what ours peaked at (MB)."""

    filled: SourceRows
    copies: tuple[float, ...]
    deltas: tuple[float, ...]
    fulls: tuple[float, ...]
    peak_mb: float


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder, source(folder) as url:
        peer, nobody = PeerRounds(), PeerRounds("the peer is not run on these rows")
        if sizes.with_peer:
            peer.install(folder)
        small = _take(folder / "small", url, fill(url, sizes.small_rows, 700, DAYS), sizes.rounds, peer)
        figures = (
            *_against_copy(small, 1.2),
            Figure("peak memory, first load", small.peak_mb, "MB", at_most(500), "largest ru_maxrss of its process"),
            _against_peer(small, peer),
        )
        if sizes.large_rows == 0:
            return figures
        large = _take(folder / "large", url, fill(url, sizes.large_rows, 8_000, DAYS), sizes.rounds, nobody)
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
            f"--mode full, which also looks for doubles {spread(taken.fulls)}; {copies}",
        ),
    )


def _against_peer(taken: Taken, peer: PeerRounds) -> Figure:
    name, aim = "dlt 1.31 with connectorx / ours, same rows", at_least(3)
    if peer.problem is not None or not all(peer.seconds.values()):
        return Figure(name, None, "×", aim, peer.problem or "left out of this run")
    quicker = min(peer.seconds.values(), key=median)
    each = "; ".join(f"dlt {way} {spread(seconds)}" for way, seconds in peer.seconds.items())
    told = f"its quicker way; {each}; its peak {peer.peak_mb:.0f} MB; ours {spread(taken.deltas)}"
    return Figure(name, ratio_of_medians(quicker, taken.deltas), "×", aim, told)


def _take(folder: Path, url: str, filled: SourceRows, rounds: int, peer: PeerRounds) -> Taken:
    copies: list[float] = []
    deltas: list[float] = []
    fulls: list[float] = []
    peaks: list[float] = []
    _copy(url)  # the table is in memory, or not, for all alike
    for number in range(rounds):
        copies.append(_copy(url))
        for mode, seconds in (("delta", deltas), ("full", fulls)):
            ended = _first_load(folder / f"{mode}-{number}", url, mode, filled.rows)
            seconds.append(float(ended.said["seconds"]))
            peaks.append(ended.peak_mb)
        peer.take(url, number, filled.rows)
    return Taken(filled, tuple(copies), tuple(deltas), tuple(fulls), max(peaks))


def _copy(url: str) -> float:
    """Seconds of psql throwing the table away; its start is some milliseconds of that."""
    psql = str(bundled_install() / "bin/psql")
    command = [psql, "--no-psqlrc", "-d", url, "-c", "copy ai_audit_logs to stdout (format binary)"]
    return run(command, {}, stdout=subprocess.DEVNULL).wall


def _first_load(folder: Path, url: str, mode: str, rows: int) -> Ended:
    home = made_home(folder, url)
    ended = _removing(folder, partial(run_module, "benchmarks.one_sync", mode, environment=home.environment))
    if ended.said["rows"] != rows:
        raise BenchmarkError(f"the sync added {ended.said['rows']} rows of {rows}")
    return ended


def _removing(folder: Path, load: Callable[[], Ended]) -> Ended:
    """What `load` gives; its files are gone before the next one writes."""
    try:
        return load()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
