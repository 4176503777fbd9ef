"""The time from the commit of a row at the source to its visibility, and the cost in CPU and disk.

`audit dev` runs with its web server, daemon, sensor and schedules on a private home. One process commits rows at the
source, another reads the published snapshot every second. A row's age is the time from just after its commit to the
read that first finds it. CPU covers the whole process tree below `audit dev`, including ended processes, without
Postgres, the writer and the reader, while rows were committed. In `BACKFILL`, 60 days are materialized again at the
same time, and only rows committed during the backfill count. In `HOUR`, micro-batches are kept for ten minutes instead
of hours, and disk usage is read after an upkeep run at both ends, the first one after ten minutes. Both ends then have
the same retained runs, so that the growth is what upkeep does not free.
"""

import subprocess
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from benchmarks.ages import Ages, ages_of, figures_of
from benchmarks.figure import BenchmarkError, Figure, at_most
from benchmarks.home import make_home, source, temporary_folder
from benchmarks.serving import Dev, disk_mb, end, run_dev, start_process, wait
from benchmarks.source_rows import fill

_DAYS = 60
_SEEN_WITHIN = 240.0
_CPU_AIM = at_most(40)
_FLAT = at_most(10)  # MB per hour: noise of file systems and partly filled pages
_ROW_FILES = ("warehouse.duckdb", "published")


@dataclass(frozen=True)
class Sizes:
    """Rows of history at the source, live rows per second, and seconds of live rows; whether 60 days are backfilled at
    the same time; whether disk usage is compared between two upkeep runs, the first after `settling` seconds."""

    history: int
    rate: int
    seconds: float
    backfill: bool = False
    upkeep: bool = False
    settling: float = 0.0


FULL = Sizes(history=480_000, rate=50, seconds=600)
HOUR = replace(FULL, seconds=3600, upkeep=True, settling=720)
BACKFILL = replace(FULL, backfill=True)
QUICK = Sizes(history=20_000, rate=50, seconds=90)
QUICK_BACKFILL = replace(QUICK, seconds=150, backfill=True)


@dataclass(frozen=True)
class Span:
    """The measurements at both ends of the time in which rows were committed. CPU in seconds, disk in MB by entry."""

    wall: float
    cpu: float
    memory_mb: float
    disk_before: dict[str, float]
    disk_after: dict[str, float]
    backfilled: tuple[float, float] | None


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder, source(folder) as url:
        fill(url, sizes.history, 700, _DAYS, datetime.now(UTC))
        home = replace(make_home(folder / "home", url), dagster_port=free_port())
        if sizes.upkeep:
            home = replace(home, policy_file=_short_retention(folder))
        with run_dev(home, folder) as dev:
            dev.wait_for_rows(sizes.history)
            span, ages = _observed(dev, url, folder, sizes)
    return figures_of(ages, span.backfilled is not None) + _costs(span, sizes)


def _observed(dev: Dev, url: str, folder: Path, sizes: Sizes) -> tuple[Span, Ages]:
    home = dev.home
    committed, seen = folder / "committed", folder / "seen"
    since = datetime.now(UTC).date().isoformat()
    seconds = str(sizes.settling + sizes.seconds)
    reader = start_process("benchmarks.watching", str(home.snapshot_folder), since, str(seen), home=home)
    writer = start_process("benchmarks.committing", url, str(sizes.rate), seconds, str(committed), home=home)
    try:
        time.sleep(sizes.settling)
        if sizes.upkeep:
            dev.run_job("upkeep")
        began, cpu, disk = time.time(), dev.cpu_seconds(), disk_mb(home.folder)
        backfilled = _backfill(dev, writer) if sizes.backfill else None
        if writer.wait() != 0:
            raise BenchmarkError("the writer of live rows failed")
        ended, cpu = time.time(), dev.cpu_seconds() - cpu
        memory = dev.memory_mb()
        if sizes.upkeep:
            dev.run_job("upkeep")
        span = Span(ended - began, cpu, memory, disk, disk_mb(home.folder), backfilled)
        wait(_SEEN_WITHIN, lambda: _lines(seen) >= _lines(committed))
    finally:
        for process in (writer, reader):
            end(process)
    return span, ages_of(committed.read_text(), seen.read_text(), span.backfilled)


def _backfill(dev: Dev, writer: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Runs a backfill. Returns the epoch seconds of its launch and its end."""
    time.sleep(15)  # so that some rows are committed before it
    today = datetime.now(UTC).date()
    began = time.time()
    backfill = dev.start_backfill([(today - timedelta(days=ago)).isoformat() for ago in range(_DAYS - 1, -1, -1)])
    while dev.backfill_runs(backfill):
        if writer.poll() is not None:
            raise BenchmarkError("the backfill ended after the committed rows: increase the seconds")
        time.sleep(1)
    status = dev.backfill_status(backfill)
    if status != "COMPLETED_SUCCESS":
        raise BenchmarkError(f"the backfill ended with {status}")
    return began, time.time()


def _costs(span: Span, sizes: Sizes) -> tuple[Figure, ...]:
    grown = {name: span.disk_after.get(name, 0.0) - span.disk_before.get(name, 0.0) for name in span.disk_after}
    parts = ", ".join(
        f"{name} {mb:+.1f}" for name, mb in sorted(grown.items(), key=lambda part: -part[1]) if abs(mb) > 0.05
    )
    hours = span.wall / 3600
    trail = sum(mb for name, mb in grown.items() if name not in _ROW_FILES)
    cpu = Figure(
        "CPU of the whole tree below `audit dev`", 100 * span.cpu / span.wall, "% of a core",
        None if span.backfilled else _CPU_AIM, f"{span.cpu:.0f} CPU s in {span.wall:.0f} s",
    )  # fmt: skip
    upkeep = "between two upkeep runs" if sizes.upkeep else "no upkeep in between; --hour compares after upkeep"
    return (
        cpu,
        Figure("memory of the tree (PSS)", span.memory_mb, "MB", None, "at the end"),
        Figure(
            "growth of AI_AUDIT_HOME", sum(grown.values()) / hours, "MB/h", None,
            f"{upkeep}; {sum(span.disk_before.values()):.0f} MB before; MB by part: {parts}",
        ),
        Figure(
            "growth of all but the rows", trail / hours, "MB/h", _FLAT if sizes.upkeep else None,
            f"without {' and '.join(_ROW_FILES)}, which get {sizes.rate * 3600:,} rows per hour",
        ),
    )  # fmt: skip


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _short_retention(folder: Path) -> Path:
    """The project's sync policy, with micro-batches kept for ten minutes instead of hours."""
    text = (PROJECT_ROOT / "observability/sync.yaml").read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("keep_micro_batches:"))
    path = folder / "sync.yaml"
    path.write_text(text.replace(line, "  keep_micro_batches: 10m"))
    return path
