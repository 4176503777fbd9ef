"""Takes screenshots of the tabs with the locally installed Chromium."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError

from audit_assets.dashboards.definition.load import TABS
from audit_assets.private_files import users_umask

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


_READS, _WRITES = 3, 4  # the file descriptors on which Chromium reads commands and writes responses


class Tab:
    """One page of a running Chromium."""

    def __init__(self, to_chromium: int, from_chromium: int) -> None:
        self._to, self._from = to_chromium, from_chromium
        self._number, self._buffer, self._session = 0, b"", ""

    def open(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a DevTools method and returns its result. Raises ChromiumError."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._to, json.dumps(request).encode() + b"\0")
        while True:
            response = self._next()
            if response.get("id") == self._number:
                break
        if "error" in response:
            raise ChromiumError(f"Chromium rejected {method}: {response['error'].get('message')}")
        return response["result"]

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, or of the promise it returns. Raises ChromiumError."""
        response = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in response:
            raise ChromiumError(f"the script failed in the page: {response['exceptionDetails'].get('text')}")
        return response["result"].get("value")

    def wait(self, condition: str, seconds: float, problem: str) -> None:
        """Waits until the expression is true. Raises ChromiumError with `problem` after `seconds`."""
        until = time.monotonic() + seconds
        while not self.evaluate(condition):
            if time.monotonic() > until:
                raise ChromiumError(f"{problem} after {seconds:.0f} s")
            time.sleep(0.1)

    def size(self, width: int, height: int) -> None:
        """Sets the page's size in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self) -> bytes:
        """A screenshot of the page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = os.read(self._from, 1 << 20)
            if not more:
                raise ChromiumError("Chromium exited; to see why, run chromium --headless --no-sandbox")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium_tab(program: str, more: Sequence[str] = ()) -> Generator[Tab]:
    """A page in a new Chromium process with an empty profile; both are removed afterwards."""
    reads, to_chromium = os.pipe()
    from_chromium, writes = os.pipe()
    with tempfile.TemporaryDirectory(prefix="audit-chromium-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "profile").mkdir()
        command = [program, *ARGUMENTS, *more, f"--user-data-dir={folder}/profile", "--remote-debugging-pipe"]
        process = _started(command, reads, writes)
        os.close(reads)
        os.close(writes)
        try:
            tab = Tab(to_chromium, from_chromium)
            tab.open()
            yield tab
        finally:
            os.close(to_chromium)  # Chromium exits when its pipe closes
            os.close(from_chromium)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(command: Sequence[str], reads: int, writes: int) -> subprocess.Popen[bytes]:
    """Starts Chromium with its ends of the pipes on the file descriptors it expects."""
    shell = f'exec "$@" {_READS}<&{reads} {_WRITES}>&{writes}'
    return subprocess.Popen(
        # bash, because dash supports only file descriptors of one digit.
        ["bash", "-c", shell, "chromium", *command],
        pass_fds=(reads, writes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


Theme = Literal["light", "dark"]

_MAX_HEIGHT = 8000  # pixels; a page has about 2,000
_PAGE_TIMEOUT = 60.0  # seconds; the first page has a cold server
_STOP_TIMEOUT = 20.0  # seconds
# The tiles scroll below the header. In a window as tall as all tiles, nothing scrolls.
_HEIGHT = "Math.ceil(document.querySelector('main.board').getBoundingClientRect().bottom) + 28"
_SETTLED = "document.fonts.ready.then(() => new Promise((done) => setTimeout(() => done(true), 800)))"
_THEME = "document.documentElement.getAttribute('data-bs-theme')"


class CaptureError(Exception):
    """The screenshots cannot be taken. The message gives the reason and the fix."""


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
    with _served(fixed_now) as url, chromium_tab(program, [f"--window-size={width},1000"]) as tab:
        for page in TABS:
            path = folder / f"{page.capitalize()}.png"
            screenshot = _screenshot(tab, f"{url}/{page}", theme, width)
            with users_umask():
                path.write_bytes(screenshot)
            taken.append(path)
    return taken


def _screenshot(tab: Tab, url: str, theme: Theme, width: int) -> bytes:
    tab.size(width, 1000)
    tab.call("Page.navigate", url=url)
    tab.wait(PAINTED, _PAGE_TIMEOUT, f"{url} did not finish loading")
    if tab.evaluate(_THEME) != theme:
        tab.evaluate("document.querySelector('#theme-toggle').click()")
        tab.wait(f"{_THEME} === '{theme}'", 10, f"the theme is not {theme}")
    tab.evaluate(_SETTLED)
    tab.size(width, min(int(tab.evaluate(_HEIGHT)), _MAX_HEIGHT))
    tab.evaluate(_SETTLED)
    tab.wait(PAINTED, 10, f"{url} did not finish loading")
    broken = tab.evaluate("document.querySelectorAll('.broken').length")
    if broken:
        raise CaptureError(f"{broken} tiles of {url} are unavailable; run `audit dashboards serve` to see why")
    return tab.screenshot()


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
    with suppress(URLError, ConnectionError), urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
        return response.status == 200
    return False
