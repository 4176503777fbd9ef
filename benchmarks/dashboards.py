"""Page load times of the dashboards: `audit dashboards serve` over a home that the pipeline has built, and Chromium.

The server is warm (each page was requested once). The browser is cold: each visit uses a new one with an empty profile.
"""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from urllib.error import URLError

from audit_assets.demo import postgres
from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import open_snapshot
from benchmarks.figure import Aim, BenchmarkError, Figure, at_most
from benchmarks.home import NOW, NOW_OPTION, Home, make_home, refuse_configured_source, temporary_folder
from benchmarks.process import run
from benchmarks.scaled_snapshot import Scale, scale_up
from benchmarks.visiting import Change, Visit, changes, visit


@dataclass(frozen=True)
class Sizes:
    """Days of traffic, average rows per day, and visits per page."""

    days: int
    rows_per_day: int
    rounds: int
    scale: Scale | None = None  # the scale of the snapshot in the second part


FULL = Sizes(days=90, rows_per_day=5_950, rounds=10, scale=Scale(days=731, copies=10))
QUICK = Sizes(days=15, rows_per_day=300, rounds=2)

OVERVIEW_WITHIN, PAGE_WITHIN, FILTER_WITHIN = 1.5, 2.0, 0.7
SCALED_WITHIN = 3.0
LIGHTEST = 1.5  # MB


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with temporary_folder() as folder:
        home = make_home(folder / "home")
        refuse_configured_source()
        options = ["--days", str(sizes.days), "--rows-per-day", str(sizes.rows_per_day)]
        demo = [sys.executable, "-m", "audit_assets.cli", *NOW_OPTION, "demo", "--no-serve", *options]
        try:
            run(demo, home.environment)
        finally:
            postgres.remove(home.folder / "postgres")
        figures = measure_home(home, sizes.rounds)
        return (*figures, *_scaled(home, folder, sizes)) if sizes.scale else figures


def _scaled(home: Home, folder: Path, sizes: Sizes) -> tuple[Figure, ...]:
    """The pages over the same snapshot with ten times the workspaces and two years of days, including all days at
    once."""
    assert sizes.scale is not None
    large = make_home(folder / "large")
    scale_up(home.snapshot_folder, large.snapshot_folder, sizes.scale)
    interactions, days, capabilities, workspaces = snapshot_totals(large.snapshot_folder)
    all_days = f"from={NOW.date() - timedelta(days=days - 1)}"
    figures: list[Figure] = []
    with serve_home(large) as url:
        for name, path in (("Overview", "/"), ("Workspace", "/workspace"), ("Capability", "/capability")):
            for range_, query in (("7 days", ""), ("all days", f"?{all_days}")):
                visit(url + path + query)
                visits = [visit(url + path + query) for _ in range(max(1, sizes.rounds // 3))]
                figures.append(painted_figure(f"scaled: {name}, {range_}", visits, at_most(SCALED_WITHIN)))
    how = f"{days} days, {capabilities} capabilities, {workspaces:,} workspaces; copies of the real snapshot's weeks"
    figures.append(Figure("scaled: interactions counted in it", interactions, "", None, how))
    return tuple(figures)


def measure_home(home: Home, rounds: int) -> tuple[Figure, ...]:
    """The figures of the dashboards over an existing home."""
    totals = snapshot_totals(home.snapshot_folder)
    with serve_home(home) as url:
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
        painted_figure(f"{name}, request to painted", visits[name], at_most(within))
        for name, (_, within) in pages.items()
    ]
    figures.append(filter_figure(chosen, at_most(FILTER_WITHIN)))
    figures.append(size_figure(visits["Overview"], at_most(LIGHTEST)))
    interactions, days, capabilities, workspaces = totals
    how = f"{days} days, {capabilities} capabilities, {workspaces} workspaces"
    figures.append(Figure("interactions shown", interactions, "", None, how))
    return tuple(figures)


def painted_figure(name: str, visits: Sequence[Visit], aim: Aim) -> Figure:
    """The median of visits in seconds, with the worst and a breakdown of the time (medians)."""

    def of(field: str) -> float:
        return median(getattr(visit, field) for visit in visits)

    took = [visit.painted / 1000 for visit in visits]
    where = (
        f"above the fold {of('seen'):.0f} ms; "
        f"content requested at {of('asked_at'):.0f} ms, server {of('server'):.0f} ms, "
        f"received at {of('answered_at'):.0f} ms; CPU of scripts {of('script'):.0f} ms, of layout {of('layout'):.0f} ms"
    )
    return Figure(name, median(took), "s", aim, f"median of {len(took)}, worst {max(took):.2f} s; {where}")


def filter_figure(chosen: Sequence[Change], aim: Aim) -> Figure:
    took = [change.painted / 1000 for change in chosen]
    server = median(change.server for change in chosen)
    how = f"median of {len(took)} clicks on a capability, worst {max(took):.2f} s; server {server:.0f} ms"
    return Figure("a filter, click to painted", median(took), "s", aim, how)


def size_figure(visits: Sequence[Visit], aim: Aim) -> Figure:
    heaviest = ", ".join(f"{name or 'page'} {size / 1000:.0f} kB" for name, size in visits[0].heaviest)
    how = f"{visits[0].requests} responses as sent, with headers; {heaviest}"
    return Figure("first visit, over the wire", max(visit.wire for visit in visits) / 1e6, "MB", aim, how)


def snapshot_totals(folder: Path) -> tuple[int, int, int, int]:
    """The numbers of interactions, days, capabilities and workspaces in the snapshot."""
    with open_snapshot(folder, ["ai_audit_workspace_counts"]) as connection:
        ((interactions, days, capabilities, workspaces),) = connection.execute(
            """select cast(sum(interaction_count) as bigint), count(distinct date), count(distinct capability),
                count(distinct workspace_id) from analytics.ai_audit_workspace_counts"""
        ).fetchall()
    return interactions, days, capabilities, workspaces


@contextmanager
def serve_home(home: Home) -> Generator[str]:
    """Runs `audit dashboards serve` over `home` and yields its URL."""
    port = free_port()
    command = [sys.executable, "-m", "audit_assets.cli", *NOW_OPTION, "dashboards", "serve", "--port", str(port)]
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
