"""Takes screenshots of the tabs with the locally installed Chromium."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx

from audit_assets.dashboards.definition.load import TABS
from audit_assets.private_files import users_umask

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_HINT = "install it (Debian, Ubuntu: `apt-get install chromium`) and run again"

# Runs as root, headless, and without requests to other hosts.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

# True as soon as every tile, or every visible tile, has its figure, its rows, its drawn chart, or a message instead. A
# drawn chart has the figure it was drawn from; the page's script draws visible charts first.
_WHOLE = """(() => {
  const tiles = [...document.querySelectorAll("main.board section.tile")].filter(%s);
  if (tiles.length === 0) return document.querySelector("main.board > .empty") !== null;
  const drawn = (chart) => chart.drawn === chart.dataset.figure && chart.querySelector(".main-svg > *") !== null;
  return tiles.every((tile) => {
    const charts = [...tile.querySelectorAll(".chart[data-figure]")];
    if (charts.length > 0) return charts.every(drawn);
    return tile.querySelector(".kpi-value, .gauge, table, .empty, .broken") !== null;
  });
})()"""
PAINTED = _WHOLE % "() => true"
PAINTED_IN_SIGHT = _WHOLE % "(tile) => tile.getBoundingClientRect().top < innerHeight"


class ChromiumError(Exception):
    """Chromium cannot be used. The message gives the reason and the fix."""


def find_chromium() -> str:
    """The path of the system's Chromium. Raises ChromiumError."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise ChromiumError(f"Chromium is missing: {INSTALL_HINT}")


class CaptureError(Exception):
    """The screenshots cannot be taken. The message gives the reason and the fix."""


Theme = Literal["light", "dark"]

_HEIGHT_AT_FIRST, _MAX_HEIGHT = 1000, 8000  # pixels; a page has about 2,000
_PAGE_TIMEOUT = 60.0  # seconds; the first page has a cold server
_STOP_TIMEOUT = 20.0  # seconds
# The tiles scroll below the header. In a window as tall as all tiles, nothing scrolls.
_HEIGHT = "Math.ceil(document.querySelector('main.board').getBoundingClientRect().bottom) + 28"
_SETTLED = "document.fonts.ready.then(() => new Promise((done) => setTimeout(() => done(true), 800)))"
_THEME = "document.documentElement.getAttribute('data-bs-theme')"


def capture(
    folder: Path, theme: Theme = "light", width: int = 1440, fixed_now: datetime | None = None
) -> Sequence[Path]:
    """Writes a screenshot of each tab to `folder`, as of `fixed_now` (UTC) if given, and returns the files. Raises
    ChromiumError and CaptureError.

    It starts its own server, which uses the home of this process's environment.
    """
    program = find_chromium()
    with users_umask():
        folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    with chromium_page(program, width) as page, _served(fixed_now) as url:
        for tab in TABS:
            path = folder / f"{tab.capitalize()}.png"
            screenshot = _screenshot(page, f"{url}/{tab}", theme, width)
            with users_umask():
                path.write_bytes(screenshot)
            taken.append(path)
    return taken


@contextmanager
def chromium_page(program: str, width: int) -> Generator["Page"]:
    """A page in a new Chromium with an empty profile; both are removed afterwards. Playwright's errors in the block are
    raised as CaptureError."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise CaptureError("Playwright is missing: install it with `pip install 'audit-assets[capture]'`") from None
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
            # Waiting evaluates strings in the page, which its content security policy would forbid.
            yield browser.new_page(viewport={"width": width, "height": _HEIGHT_AT_FIRST}, bypass_csp=True)
            browser.close()
    except Error as error:
        raise CaptureError(f"Chromium: {error.message.splitlines()[0]}") from error


def _screenshot(page: "Page", url: str, theme: Theme, width: int) -> bytes:
    page.set_viewport_size({"width": width, "height": _HEIGHT_AT_FIRST})
    page.goto(url, timeout=_PAGE_TIMEOUT * 1000)
    _wait_until_painted(page, url)
    if page.evaluate(_THEME) != theme:
        page.locator("#theme-toggle").click()
        page.wait_for_function(f"{_THEME} === '{theme}'", timeout=10_000)
    page.evaluate(_SETTLED)
    page.set_viewport_size({"width": width, "height": min(int(page.evaluate(_HEIGHT)), _MAX_HEIGHT)})
    page.evaluate(_SETTLED)
    _wait_until_painted(page, url)
    broken = page.locator(".broken").count()
    if broken:
        raise CaptureError(f"{broken} tiles of {url} are unavailable; run `audit dashboards serve` to see why")
    return page.screenshot()


def _wait_until_painted(page: "Page", url: str) -> None:
    from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

    try:
        page.wait_for_function(PAINTED, timeout=_PAGE_TIMEOUT * 1000)
    except PlaywrightTimeoutError:
        raise CaptureError(f"{url} did not finish loading after {_PAGE_TIMEOUT:.0f} s") from None


@contextmanager
def _served(fixed_now: datetime | None) -> Generator[str]:
    """Serves the dashboards on a free local port while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    clock = ["--now", fixed_now.isoformat()] if fixed_now else []
    command = [sys.executable, "-m", "audit_assets.cli", *clock, "dashboards", "serve", "--port", str(port)]
    with tempfile.TemporaryFile() as printed:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
        try:
            until = time.monotonic() + _PAGE_TIMEOUT
            while not _is_up(url):
                if server.poll() is not None or time.monotonic() > until:
                    printed.seek(0)
                    output = printed.read().decode(errors="replace").strip()
                    raise CaptureError(f"the dashboards do not respond: {output[-800:] or 'no server output'}")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:  # signals are ignored, as when started from some scripts
                server.kill()
                server.wait()


def _is_up(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/healthz", timeout=5, trust_env=False).status_code == 200
    return False
