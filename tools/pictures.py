"""Takes screenshots of Dagster's UI over demo data for the documentation: `make pictures` writes
docs/assets/dagster/*.png.

Needs the system's Chromium; playwright is installed without a browser.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

from audit_assets.dashboards.capture import ARGUMENTS, ChromiumError, find_chromium
from audit_assets.demo import postgres as embedded
from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from tools.dev_server import Dev, dev, until

FOLDER = PROJECT_ROOT / "docs/assets/dagster"
WIDTH, HEIGHT = 1600, 1000
LARGEST = 300_000
DAYS = 20


@dataclass(frozen=True)
class Shot:
    """One screenshot: its file, the page's path, texts that must be present, and what is clicked before it is taken."""

    name: str
    path: str
    shows: str
    clicks: tuple[str, ...] = ()


SHOTS = (
    Shot("asset-graph", "/assets/published_snapshot?view=lineage&lineageScope=upstream&lineageDepth=9", "marts"),
    Shot("asset-catalog", "/assets", "ai_audit_daily"),
    Shot("freshness", "/assets/ai_audit_logs", "Freshness policy"),
    Shot("mart", "/assets/ai_audit_daily", "One row per day"),
    Shot("partitions", "/assets/ai_audit_logs?view=partitions&partition={yesterday}", "records_synced"),
    Shot("checks", "/assets/ai_audit_capability_grid?view=checks&checkDetail=volume_spike", "Latest execution"),
    Shot(
        "drill", "/assets/ai_audit_capabilities?view=checks&checkDetail=new_capability", "Latest execution",
        ("Execution history",),
    ),
    Shot("runs", "/runs", "audit_sync"),
    Shot("backfills", "/runs?view=backfills", "7 partitions"),
    Shot("timeline", "/overview/activity/timeline", "audit_sync", ("1hr",)),
    Shot("automation", "/automation", "nightly_repair"),
)  # fmt: skip


@contextmanager
def _served(folder: Path) -> Generator[Dev]:
    """Fills a separate home with the demo's data, runs `audit dev`, a backfill over some days, and a drill."""
    home = folder / "home"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AI_AUDIT_", "DAGSTER_HOME"))
    }
    environment = inherited | {
        "AI_AUDIT_HOME": str(home),
        "AI_AUDIT_STATE_FILE": str(home / "state.json"),
        "AI_AUDIT_DAGSTER_URL": f"http://localhost:{free_port()}",
        "DAGSTER_HOME": str(home / "dagster"),
    }

    def run(command: str) -> None:
        arguments = [sys.executable, "-m", "audit_assets.cli", *command.split()]
        subprocess.run(arguments, env=environment, stdout=subprocess.DEVNULL, check=True)

    try:
        run(f"demo --no-serve --days {DAYS} --rows-per-day 1500")
        with dev(environment, folder / "dev.log") as running:
            today = datetime.now(UTC).date()
            days = [(today - timedelta(days=number)).isoformat() for number in range(12, 5, -1)]
            backfill = running.backfill(days, running.assets(by_day=True))
            until(lambda: running.backfill_status(backfill)[0] != "REQUESTED", 300)
            # The next run judges the rules; until then their checks are shown as not evaluated.
            judged = len(_batches(running))
            until(lambda: len(_batches(running)) > judged, 300)
            run("simulate new-capability")
            yield running
    finally:
        embedded.remove(home / "postgres")


def _batches(running: Dev) -> list[str]:
    return [run["runId"] for run in running.runs(audit__mode="delta") if run["status"] == "SUCCESS"]


def take(url: str, folder: Path, report: Callable[[str], None], only: frozenset[str] = frozenset()) -> list[Path]:
    """Takes every screenshot of the UI at `url`. Returns the files."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light").new_page()
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(url) else route.abort())
        for shot in SHOTS:
            if only and shot.name not in only:
                continue
            page.goto(url + shot.path.format(yesterday=datetime.now(UTC).date() - timedelta(days=1)))
            page.get_by_text(shot.shows).first.wait_for(timeout=60_000)
            for words in shot.clicks:
                page.get_by_text(words, exact=True).first.click()
            page.wait_for_timeout(4_000)  # the layout of graphs is computed after their texts are present
            path = folder / f"{shot.name}.png"
            page.screenshot(path=path)
            _shrink(path)
            taken.append(path)
            report(f"{path.name}: {path.stat().st_size // 1000} kB")
        browser.close()
    return taken


def _shrink(path: Path) -> None:
    """Reduces the picture to 128 colors if Pillow is installed. The UI uses few colors."""
    try:
        pillow = import_module("PIL.Image")
    except ImportError:
        return
    with pillow.open(path) as image:
        small = image.convert("RGB").quantize(128)
    small.save(path, optimize=True)


def main() -> int:
    try:
        find_chromium()
    except ChromiumError as error:
        print(error, file=sys.stderr)
        return 1
    # In the system's temporary folder, because sockets need short paths.
    with tempfile.TemporaryDirectory(prefix="audit-pictures-") as folder, _served(Path(folder)) as running:
        taken = take(running.url, FOLDER, lambda line: print(line, flush=True), frozenset(sys.argv[1:]))
    heavy = [path.name for path in taken if path.stat().st_size > LARGEST]
    if heavy:
        print(f"above {LARGEST // 1000} kB: {', '.join(heavy)}", file=sys.stderr)
    return 1 if heavy else 0


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    sys.exit(main())
