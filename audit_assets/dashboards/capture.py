"""Pictures of the dashboards for the documents: a server of its own over the home's snapshot, Chromium before it."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.error import URLError

from audit_assets.dashboards.chromium import PAINTED, find_chromium
from audit_assets.dashboards.devtools import Tab, chromium_tab
from audit_assets.dashboards.load import TABS

Theme = Literal["light", "dark"]

_TALLEST = 8000  # pixels; a page is some 2,000
_WITHIN = 60.0  # seconds for a page to be whole, the first one with a cold server
_ENDS_WITHIN = 20.0
# The tiles scroll below the header: where the window is as tall as all of them, nothing scrolls.
_HEIGHT = "Math.ceil(document.querySelector('main.board').getBoundingClientRect().bottom) + 28"
_SETTLED = "document.fonts.ready.then(() => new Promise((done) => setTimeout(() => done(true), 800)))"
_THEME = "document.documentElement.getAttribute('data-bs-theme')"


class CaptureError(Exception):
    """The pages cannot be pictured. The message says why and what mends it."""


def capture(folder: Path, theme: Theme = "light", width: int = 1440) -> Sequence[Path]:
    """Writes a picture of each tab to `folder`; their files. Raises ChromiumError and CaptureError.

    The home is that of the process's environment, as the server of its own has it.
    """
    program = find_chromium()
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    with _served() as url, chromium_tab(program, [f"--window-size={width},1000"]) as tab:
        for page in TABS:
            path = folder / f"{page.capitalize()}.png"
            path.write_bytes(_picture(tab, f"{url}/{page}", theme, width))
            taken.append(path)
    return taken


def _picture(tab: Tab, url: str, theme: Theme, width: int) -> bytes:
    tab.size(width, 1000)
    tab.call("Page.navigate", url=url)
    tab.wait(PAINTED, _WITHIN, f"{url} is not whole")
    if tab.ask(_THEME) != theme:
        tab.ask("document.querySelector('#theme-toggle').click()")
        tab.wait(f"{_THEME} === '{theme}'", 10, f"the theme is not {theme}")
    tab.ask(_SETTLED)
    tab.size(width, min(int(tab.ask(_HEIGHT)), _TALLEST))
    tab.ask(_SETTLED)
    tab.wait(PAINTED, 10, f"{url} is not whole")
    broken = tab.ask("document.querySelectorAll('.broken').length")
    if broken:
        raise CaptureError(f"{broken} tiles of {url} are unavailable: see them with `audit dashboards serve`")
    return tab.picture()


@contextmanager
def _served() -> Generator[str]:
    """The dashboards at a free port of this machine, while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "audit_assets.cli", "dashboards", "serve", "--port", str(port)]
    with tempfile.TemporaryFile() as printed:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
        try:
            until = time.monotonic() + _WITHIN
            while not _answers(url):
                if server.poll() is not None or time.monotonic() > until:
                    printed.seek(0)
                    said = printed.read().decode(errors="replace").strip()
                    raise CaptureError(f"the dashboards do not answer: {said[-800:] or 'no word of why'}")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:  # started where signals are ignored, as from some scripts
                server.kill()
                server.wait()


def _answers(url: str) -> bool:
    with suppress(URLError, ConnectionError), urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        return answer.status == 200
    return False
