"""Chromium as the system has it: where it is, how it is started without a screen, and when a page of ours is whole."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_GET_IT = "install it (Debian, Ubuntu: `apt-get install chromium`) and run again"

# As root, without a screen, and without a word to anybody outside.
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

# True as soon as every tile, or every one in sight, has its figure, its rows, its drawn chart or a word on why it has
# none. A chart that is drawn holds what it was drawn from; the page's script draws those in sight first.
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
    """Chromium cannot be used. The message says why and what mends it."""


def find_chromium() -> str:
    """The path of the system's Chromium. Raises ChromiumError."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise ChromiumError(f"Chromium is missing: {HOW_TO_GET_IT}")
