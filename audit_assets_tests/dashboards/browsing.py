"""The dashboards in a real browser: a server for a home, Chromium, and a reader who uses the pages."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.error import URLError
from urllib.parse import parse_qs, urlencode, urlsplit

from audit_assets.dashboards.capture import ARGUMENTS, PAINTED, find_chromium
from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.environments import Home

TITLES = {"/": "Overview", "/workspace": "Workspace", "/capability": "Capability", "/audit-log": "Audit log"}
WITHIN = 60_000  # ms; a machine that is busy with other tests is slow

# The links of a chart's bars and their positions on the screen: [link, x, y, height] for each day of each bar.
_BARS = """(id) => {
  const chart = document.querySelector(`#${id} .js-plotly-plot`);
  const box = chart.getBoundingClientRect(), layout = chart._fullLayout, found = [];
  chart.calcdata.forEach((points) => points.forEach((point) => {
    const trace = points[0].trace;
    if (trace.type !== "bar" || !trace.customdata) return;
    const x = box.left + layout.xaxis._offset + layout.xaxis.c2p(point.p);
    const y = box.top + layout.yaxis._offset + layout.yaxis.c2p(point.b + point.s / 2);
    const height = Math.abs(layout.yaxis.c2p(point.b) - layout.yaxis.c2p(point.b + point.s));
    found.push([trace.customdata[point.i], x, y, height]);
  }));
  return found;
}"""
_DRAWN = """(id) => document.querySelector(`#${id} .js-plotly-plot`).data
  .filter((one) => one.type === "bar").reduce((sum, one) => sum + Array.from(one.y).reduce((a, b) => a + b, 0), 0)"""


@dataclass
class Reader:
    """A browser session with empty storage."""

    site: str
    page: Any
    page_errors: list[str] = field(default_factory=list[str])  # page errors and console errors
    outside: list[str] = field(default_factory=list[str])  # requests to other hosts

    def open(self, address: str) -> None:
        """Opens a URL and waits until its tiles are rendered."""
        self.page.goto(self.site + address)
        self.wait_until_painted()

    def wait_until_painted(self) -> None:
        self.until(PAINTED)

    def until(self, condition: str) -> None:
        """Waits until an expression is true in the page. Playwright's own waiting evaluates it within the page, which
        the pages' content security policy forbids."""
        ends = time.monotonic() + WITHIN / 1000
        while not self._holds(condition):
            assert time.monotonic() < ends, f"{self.page.url}: not {condition}"
            self.page.wait_for_timeout(50)

    def _holds(self, condition: str) -> bool:
        from playwright.sync_api import Error

        try:
            return bool(self.page.evaluate(condition))
        except Error as error:
            if "context was destroyed" in error.message:  # the page is being left
                return False
            raise

    def wait_for_page(self, path: str, **query: str) -> None:
        """Waits until the URL, title, dates and filters are those of the page with this query."""
        until = time.monotonic() + WITHIN / 1000
        while not self._is_at(path, query):
            assert time.monotonic() < until, f"{self.page.url} is not {path} with {query}"
            self.page.wait_for_timeout(50)
        self.page.locator("h1", has_text=TITLES[path]).wait_for()
        for name, value in query.items():
            if name in ("from", "to"):
                self.until(f"document.querySelector('#date-{name}').value === '{value}'")
            elif name != "range":
                text = f"{name.capitalize()}: {value}"
                self.page.locator("details.filter summary").get_by_text(text, exact=True).wait_for()
        self.wait_until_painted()

    def wait_for_filter_cleared(self, name: str) -> None:
        """Waits until a filter is removed from the URL and from the page."""
        self.until(f"!new URLSearchParams(location.search).has('{name}')")
        self.page.locator("details.filter summary", has_text=f"{name.capitalize()}: all").wait_for()
        self.wait_until_painted()

    def _is_at(self, path: str, query: dict[str, str]) -> bool:
        given = self.query()
        return self.path() == path and all(given.get(name) == [value] for name, value in query.items())

    def path(self) -> str:
        return urlsplit(str(self.page.url)).path

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(str(self.page.url)).query)

    def filters(self, name: str) -> str:
        """The selected values shown in a filter's summary."""
        text = self.page.locator("details.filter summary", has_text=f"{name}: ").inner_text()
        return text.strip().removeprefix(f"{name}: ")

    def choose(self, name: str, value: str) -> None:
        """Opens a filter's list and clicks a value."""
        self.page.locator("details.filter summary", has_text=f"{name}: ").click()
        self.page.locator("details.filter[open] .options a", has=self.page.get_by_text(value, exact=True)).click()

    def tiles(self) -> dict[str, str]:
        """The page's tiles, each with its text."""
        return dict(self.page.eval_on_selector_all("section.tile", "all => all.map((one) => [one.id, one.innerText])"))

    def column(self, tile: str, heading: str) -> list[str]:
        """The texts of a column of a tile's table, from top to bottom."""
        headings = self.page.locator(f"#{tile} thead th").all_inner_texts()
        return self.page.locator(f"#{tile} tbody td:nth-child({headings.index(heading) + 1})").all_inner_texts()

    def unavailable(self) -> list[str]:
        return self.page.eval_on_selector_all(
            "section.tile:has(.broken)", "all => all.map((one) => `${one.id}: ${one.innerText}`)"
        )

    def bars(self, tile: str) -> list[tuple[str, float, float, float]]:
        """The link of each bar of a chart, with the center of the bar and its height in pixels."""
        self.page.locator(f"#{tile}").scroll_into_view_if_needed()
        return [(link, x, y, height) for link, x, y, height in self.page.evaluate(_BARS, tile)]

    def wait_for_bar_sum(self, tile: str, total: float) -> None:
        """Waits until all bars of a chart sum to `total`; a chart is updated shortly after its page."""
        until = time.monotonic() + 10
        while (sum_of_bars := self.page.evaluate(_DRAWN, tile)) != total:
            assert time.monotonic() < until, f"{tile} draws {sum_of_bars}, not {total}"
            self.page.wait_for_timeout(50)

    def cut_off(self) -> list[str]:
        """Tiles that hide part of their content."""
        hidden = "(one) => getComputedStyle(one).overflowY !== 'visible' && one.scrollHeight > one.clientHeight + 1"
        return self.page.eval_on_selector_all("section.tile", f"all => all.filter({hidden}).map((one) => one.id)")

    def theme(self) -> str:
        return self.page.evaluate("document.documentElement.getAttribute('data-bs-theme')")

    def toggle_theme(self) -> None:
        before = self.theme()
        self.page.locator("#theme-toggle").click()
        self.until(f"document.documentElement.getAttribute('data-bs-theme') !== '{before}'")
        self.page.wait_for_timeout(400)  # color transition

    def accessibility_violations(self) -> list[str]:
        """Serious and critical accessibility violations found by axe."""
        from axe_playwright_python.sync_playwright import Axe

        found = cast("list[dict[str, Any]]", Axe().run(self.page).response["violations"])
        return [
            f"{one['id']}: {one['help']} ({node['target']}: {node['failureSummary']})"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:4]
        ]


@dataclass(frozen=True)
class Browsing:
    """A running browser for the dashboards at `site`."""

    site: str
    chromium: Any

    @contextmanager
    def reader(self, width: int = 1440, height: int = 1000) -> Generator[Reader]:
        """A new session; requests to other hosts are recorded and blocked."""
        context = self.chromium.new_context(viewport={"width": width, "height": height})
        one = Reader(self.site, context.new_page())
        one.page.set_default_timeout(WITHIN)

        def answered(route: Any) -> None:
            address = route.request.url
            if address.startswith((f"{self.site}/", "data:", "blob:")):
                route.continue_()
            else:
                one.outside.append(address)
                route.abort()

        def failed(error: object) -> None:
            one.page_errors.append(str(error))

        def logged(text: Any) -> None:
            if text.type == "error":
                one.page_errors.append(text.text)

        context.route("**/*", answered)
        one.page.on("pageerror", failed)
        one.page.on("console", logged)
        try:
            yield one
        finally:
            context.close()


@contextmanager
def browsing(site: str) -> Generator[Browsing]:
    """Runs Chromium while the block runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        try:
            yield Browsing(site, chromium)
        finally:
            chromium.close()


@contextmanager
def served(home: Home) -> Generator[str]:
    """Runs `audit dashboards serve` for a home while the block runs; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = home.folder / "dashboards.log"
    command = [sys.executable, "-m", "audit_assets.cli", *home.now_option(), "dashboards", "serve", "--port", str(port)]
    with log.open("wb") as printed:
        server = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=home.process_environment(), stdout=printed, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + 120
        while not _answers(url):
            assert server.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except (
            subprocess.TimeoutExpired
        ):  # a suite in the background of a script ignores signals, and so do its children
            server.kill()
            server.wait()


def _answers(url: str) -> bool:
    with suppress(URLError, ConnectionError), urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        return answer.status == 200
    return False


def text_of(site: str, path: str) -> str:
    with urllib.request.urlopen(site + path, timeout=60) as answer:
        return answer.read().decode()


def rows_of(site: str, tile: str, **query: str) -> list[dict[str, str]]:
    """The rows of a tile from its CSV file."""
    query_string = f"?{urlencode(query)}" if query else ""
    return list(csv.DictReader(io.StringIO(text_of(site, f"/data/{tile}.csv{query_string}"))))
