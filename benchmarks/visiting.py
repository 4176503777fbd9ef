"""Measures first visits of the dashboards in a browser.

Uses Chromium with a new, empty profile for each visit, so that nothing is cached. Times are measured by the page's own
clock, from its request to the frame after its last tile is drawn.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from audit_assets.dashboards.capture import ARGUMENTS, PAINTED, PAINTED_IN_SIGHT, ChromiumError, find_chromium
from benchmarks.figure import BenchmarkError

WIDTH, HEIGHT = 1440, 1000
_WITHIN = 60_000  # ms

# Records when the frame after the one with the last tile has been shown, and likewise for the last visible tile.
_CLOCK = f"""(() => {{
  const shown = (name) => requestAnimationFrame(() => setTimeout(() => {{ window[name] ??= performance.now(); }}));
  const look = () => {{
    if (document.body && {PAINTED_IN_SIGHT}) shown("seenAt");
    if (document.body && {PAINTED}) shown("paintedAt");
    else requestAnimationFrame(look);
  }};
  requestAnimationFrame(look);
}})();"""

# From a click on a filter link to the frame of the last change to the page, ignoring the age of the data, which updates
# every second.
_CHANGE = f"""async (href) => {{
  const link = [...document.querySelectorAll("details.filter a")].find((one) => one.getAttribute("href") === href);
  const begun = performance.now();
  let last = begun;
  const seen = new MutationObserver((changes) => {{
    const of = (change) => change.target.nodeType === 1 ? change.target : change.target.parentElement;
    if (changes.every((change) => of(change)?.closest(".age"))) return;
    last = performance.now();
    requestAnimationFrame(() => setTimeout(() => {{ last = performance.now(); }}));
  }});
  seen.observe(document.body, {{subtree: true, childList: true, characterData: true, attributes: true}});
  link.click();
  const chosen = () => document.querySelector("details.filter a[aria-checked='true']") !== null;
  const wanted = new URL(href, location.href).searchParams.has("capability");
  for (;;) {{
    await new Promise((resolve) => setTimeout(resolve, 50));
    const now = performance.now();
    if (chosen() === wanted && {PAINTED} && last > begun && now - last > 600) break;
    if (now - begun > {_WITHIN}) return null;
  }}
  seen.disconnect();
  const asked = performance.getEntriesByType("resource").filter((one) => one.startTime >= begun);
  return [last - begun, asked.reduce((sum, one) => sum + one.responseStart - one.requestStart, 0)];
}}"""

_TIMES = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
  .map((one) => [one.name, one.startTime, one.responseStart - one.requestStart, one.responseEnd])"""


@dataclass(frozen=True)
class Visit:
    """The times of a visit in milliseconds: until painted, of the server for the page's content, and of CPU for scripts
    and layout. `wire` is in bytes as sent."""

    painted: float
    seen: float  # until everything visible without scrolling was painted
    server: float
    asked_at: float  # when the page's content was requested, after all scripts had run
    answered_at: float
    script: float
    layout: float
    wire: int
    requests: int
    heaviest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Change:
    """Milliseconds from the click to the last change, and milliseconds of the server."""

    painted: float
    server: float


@contextmanager
def _page() -> Generator[Any]:
    from playwright.sync_api import sync_playwright

    try:
        chromium = find_chromium()
    except ChromiumError as error:
        raise BenchmarkError(str(error)) from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        try:
            # Waiting evaluates strings in the page, which its content security policy would forbid.
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, bypass_csp=True)
            page = context.new_page()
            page.set_default_timeout(_WITHIN)
            yield page
        finally:
            browser.close()


def visit(url: str) -> Visit:
    """Measures the first visit of a new browser to `url`."""
    with _page() as page:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        # CPU of the page's own thread only.
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        addresses: dict[str, str] = {}
        sizes: dict[str, int] = {}

        def note_address(event: Mapping[str, Any]) -> None:
            addresses[event["requestId"]] = event["request"]["url"]

        def note_size(event: Mapping[str, Any]) -> None:
            sizes[event["requestId"]] = int(event["encodedDataLength"])

        session.on("Network.requestWillBeSent", note_address)
        session.on("Network.loadingFinished", note_size)
        page.add_init_script(_CLOCK)
        page.goto(url)
        page.wait_for_function("window.paintedAt !== undefined")
        seen, painted = page.evaluate("[window.seenAt, window.paintedAt]")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        page.wait_for_load_state("networkidle")
        asked = [one[1:] for one in page.evaluate(_TIMES) if "/_dash-update-component" in one[0] and one[1] < painted]
    named = sorted(((addresses.get(one, "?"), size) for one, size in sizes.items()), key=lambda one: -one[1])
    asked_at, server, answered_at = max(asked, key=lambda one: one[1], default=(0.0, 0.0, 0.0))
    return Visit(
        painted=painted,
        seen=seen,
        server=server,
        asked_at=asked_at,
        answered_at=answered_at,
        script=1000 * metrics["ScriptDuration"],
        layout=1000 * (metrics["LayoutDuration"] + metrics["RecalcStyleDuration"]),
        wire=sum(sizes.values()),
        requests=len(sizes),
        heaviest=tuple((address.split("?")[0].rsplit("/", 1)[-1], size) for address, size in named[:6]),
    )


def changes(url: str, rounds: int) -> list[Change]:
    """Measures the choice of a capability in the filter of the page at `url`, `rounds` times with different ones. Each
    choice is reverted."""
    taken: list[Change] = []
    with _page() as page:
        page.add_init_script(_CLOCK)
        page.goto(url)
        page.wait_for_function("window.paintedAt !== undefined")
        for number in range(rounds):
            page.wait_for_timeout(300)
            hrefs = page.eval_on_selector_all(
                "details.filter:first-of-type a[aria-checked='false']",
                "all => all.map((one) => one.getAttribute('href'))",
            )
            if not hrefs:
                raise BenchmarkError(f"{url} offers no capability to choose")
            change = page.evaluate(_CHANGE, hrefs[number % len(hrefs)])
            if change is None:
                raise BenchmarkError(f"{url} is incomplete {_WITHIN // 1000} s after a click on a filter")
            taken.append(Change(*change))
            back = page.get_attribute("details.filter a[aria-checked='true']", "href")
            if page.evaluate(_CHANGE, back) is None:
                raise BenchmarkError(f"{url} does not revert a filter")
    return taken
