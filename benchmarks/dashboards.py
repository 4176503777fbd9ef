"""What a reader of the dashboards waits for: `audit dashboards serve` over a home the pipeline has made, and Chromium.

The server is warm (each page was asked for once), the browser is cold: a new one with an empty profile for every visit.
"""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from urllib.error import URLError

from audit_assets.settings import PROJECT_ROOT
from audit_assets.simulate import postgres
from audit_assets.simulate.server_process import free_port
from audit_assets.warehouse.snapshot import open_snapshot
from benchmarks.figure import Aim, BenchmarkError, Figure, at_most
from benchmarks.home import Home, made_home, refuse_configured_source, temporary_folder
from benchmarks.process import run
from benchmarks.scaled_snapshot import Scale, scale_up
from benchmarks.visiting import Change, Visit, changes, visit


@dataclass(frozen=True)
class Sizes:
    """Days of traffic, rows of an average day, and how often each page is visited."""

    days: int
    rows_per_day: int
    rounds: int
    scale: Scale | None = None  # how much larger the snapshot is made for the second part


FULL = Sizes(days=90, rows_per_day=5_950, rounds=10, scale=Scale(days=731, copies=10))
QUICK = Sizes(days=15, rows_per_day=300, rounds=2)

OVERVIEW_WITHIN, PAGE_WITHIN, FILTER_WITHIN = 1.5, 2.0, 0.7
SCALED_WITHIN = 3.0
LIGHTEST = 1.5  # MB


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = made_home(folder / "home")
        refuse_configured_source()
        made = ["--days", str(sizes.days), "--rows-per-day", str(sizes.rows_per_day)]
        try:
            run([sys.executable, "-m", "audit_assets.cli", "demo", "--no-serve", *made], home.environment)
        finally:
            postgres.remove(home.folder / "postgres")
        figures = measure_home(home, sizes.rounds)
        return (*figures, *_scaled(home, folder, sizes)) if sizes.scale else figures


def _scaled(home: Home, folder: Path, sizes: Sizes) -> tuple[Figure, ...]:
    """The pages over the same snapshot with ten times the workspaces, and two years of days, shown as a whole."""
    assert sizes.scale is not None
    large = made_home(folder / "large")
    scale_up(home.snapshot_folder, large.snapshot_folder, sizes.scale)
    interactions, days, capabilities, workspaces = held_by(large.snapshot_folder)
    asked = f"from={datetime.now(UTC).date() - timedelta(days=days - 1)}"
    figures: list[Figure] = []
    with served(large) as url:
        for name, path in (("Overview", "/"), ("Workspace", "/workspace"), ("Capability", "/capability")):
            for range_, query in (("7 days", ""), ("all days", f"?{asked}")):
                visit(url + path + query)
                visits = [visit(url + path + query) for _ in range(max(1, sizes.rounds // 3))]
                figures.append(painted(f"scaled: {name}, {range_}", visits, at_most(SCALED_WITHIN)))
    how = f"{days} days, {capabilities} capabilities, {workspaces:,} workspaces; copies of the real snapshot's weeks"
    figures.append(Figure("scaled: interactions counted in it", interactions, "", None, how))
    return tuple(figures)


def measure_home(home: Home, rounds: int) -> tuple[Figure, ...]:
    """The figures of the dashboards over a home that is there."""
    held = held_by(home.snapshot_folder)
    with served(home) as url:
        pages = {
            "Overview": ("/", OVERVIEW_WITHIN),
            "Workspace": ("/workspace", PAGE_WITHIN),
            "Capability": ("/capability", PAGE_WITHIN),
            "Overview of 90 days": ("/?range=90d", PAGE_WITHIN),
        }
        for path, _ in pages.values():
            visit(url + path)
        visits = {name: [visit(url + path) for _ in range(rounds)] for name, (path, _) in pages.items()}
        chosen = changes(url + "/", rounds)
    figures = [
        painted(f"{name}, request to painted", visits[name], at_most(within)) for name, (_, within) in pages.items()
    ]
    figures.append(changed(chosen, at_most(FILTER_WITHIN)))
    figures.append(wire(visits["Overview"], at_most(LIGHTEST)))
    figures.append(
        Figure("interactions shown", held[0], "", None, f"{held[1]} days, {held[2]} capabilities, {held[3]} workspaces")
    )
    return tuple(figures)


def painted(name: str, visits: Sequence[Visit], aim: Aim) -> Figure:
    """The median of visits in seconds, the worst beside, and where the time went (medians)."""

    def of(field: str) -> float:
        return median(getattr(one, field) for one in visits)

    took = [one.painted / 1000 for one in visits]
    where = (
        f"in sight {of('seen'):.0f} ms; "
        f"asked for its content at {of('asked_at'):.0f} ms, of the server {of('server'):.0f} ms, "
        f"answered at {of('answered_at'):.0f} ms; CPU of scripts {of('script'):.0f} ms, of layout {of('layout'):.0f} ms"
    )
    return Figure(name, median(took), "s", aim, f"median of {len(took)}, worst {max(took):.2f} s; {where}")


def changed(chosen: Sequence[Change], aim: Aim) -> Figure:
    took = [one.painted / 1000 for one in chosen]
    server = median(one.server for one in chosen)
    how = f"median of {len(took)} clicks on a capability, worst {max(took):.2f} s; of the server {server:.0f} ms"
    return Figure("a filter, click to painted", median(took), "s", aim, how)


def wire(visits: Sequence[Visit], aim: Aim) -> Figure:
    heaviest = ", ".join(f"{name or 'page'} {size / 1000:.0f} kB" for name, size in visits[0].heaviest)
    how = f"{visits[0].requests} answers as sent, headers too; {heaviest}"
    return Figure("first visit, over the wire", max(one.wire for one in visits) / 1e6, "MB", aim, how)


def held_by(folder: Path) -> tuple[int, int, int, int]:
    """What the snapshot holds: interactions, days, capabilities, workspaces."""
    with open_snapshot(folder, ["ai_audit_workspace_counts"]) as connection:
        ((interactions, days, capabilities, workspaces),) = connection.execute(
            """select cast(sum(interaction_count) as bigint), count(distinct date), count(distinct capability),
                count(distinct workspace_id) from analytics.ai_audit_workspace_counts"""
        ).fetchall()
    return interactions, days, capabilities, workspaces


@contextmanager
def served(home: Home) -> Generator[str]:
    """The address of `audit dashboards serve` over `home`; ended afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "audit_assets.cli", "dashboards", "serve", "--port", str(port)]
    log = home.folder / "dashboards.log"
    with log.open("wb") as printed:
        server = subprocess.Popen(command, cwd=PROJECT_ROOT, env=home.environment, stdout=printed, stderr=printed)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 120
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > until:
                raise BenchmarkError(f"the dashboards do not answer: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _answers(url: str) -> bool:
    with suppress(URLError, ConnectionError), urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        return answer.status == 200
    return False
