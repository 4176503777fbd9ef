"""The names of views, explores and fields in the Looker project."""

from collections.abc import Mapping

from audit_assets.bi_export.tiles import DEFAULT_DAYS
from audit_assets.dashboards.definition.load import TABS
from audit_assets.dashboards.definition.model import Definition, Filter, Source, Tile, Window

SPACE = "AI Copilot / Observability"
MODEL = "ai_audit"
CONNECTION = "mad-vibe-prod.analytics"
PROJECT, DATASET = CONNECTION.split(".")
MOST_ROWS = 5000  # the row limit of Looker's charts
DEFAULT_RANGE = f"{DEFAULT_DAYS} days"

# The filter for the time range, and the parameter for the period of it that a tile shows.
RANGE, WINDOW = "range", "window"
WINDOW_VALUES: Mapping[Window, str] = {
    "24h": "h24",
    "2d": "d2",
    "7d": "d7",
    "14d": "d14",
    "all": "all",
    "range": "range",
}


def tiles_of(source: str, definition: Definition) -> list[Tile]:
    """The tiles of the tabs that read `source`."""
    return [tile for page, tile in definition.tiles if page.page in TABS and tile.source == source]


def windows_of(source: Source, tiles: list[Tile]) -> tuple[Window, ...]:
    """The periods shown by the tiles of a source, the whole range last; none if the source has no time."""
    if source.time is None and source.sql is None:
        return ()
    taken: set[Window] = {tile.window for tile in tiles if tile.window != "range"}
    return (*sorted(taken), "range")


def filter_field(source: Source, name: Filter) -> str | None:
    """The field of a source's view that a dashboard filter sets, None if the filter does not apply to the source."""
    if name in source.outer_filters:
        return source.outer_filters[name]
    if name in source.filters:
        return source.filters[name] if source.table else f"{name}_filter"
    return None


def figure_field(source: Source, name: str) -> str:
    """The measure of a figure: its own, or the maximum of a column, which in groups of one row is its value."""
    return name if name in source.measures else f"{name}_figure"


def age_field(name: str) -> str:
    return f"{name}_age"


def names_field(tile: Tile) -> str:
    return f"{tile.id.lower()}_names"


def rows_field(tile: Tile) -> str:
    return f"{tile.id.lower()}_rows"
