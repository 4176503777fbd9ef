"""Shared parts of the Looker and Metabase exports: the 24-column grid of tiles, and open date ranges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from audit_assets.dashboards.definition.model import Page, Show, Source, Tile, Window
from audit_assets.dashboards.query.sql import Writer

_COLUMNS = 24


@dataclass(frozen=True)
class GridPosition:
    """A tile's upper left corner, width and height, in grid cells."""

    row: int
    column: int
    width: int
    height: int


def place_tiles(page: Page, heights: Mapping[Show, int], usual: int) -> Iterator[tuple[Tile, GridPosition]]:
    """The tiles of a page with their positions. A row is as high as its highest tile, by `heights`, else `usual`."""
    top = 0
    for row in page.rows:
        height = max(heights.get(tile.show, usual) for tile in row)
        left = 0
        for tile in row:
            width = tile.width * _COLUMNS // 12
            yield tile, GridPosition(top, left, width, height)
            left += width
        top += height


DEFAULT_DAYS = 7
_DAYS = {"2d": 2, "7d": 7, "14d": 14}


class OpenRangeWriter(Writer):
    """Writes days from `given_first` to `given_last`. Both are expressions of the BI tool that are null or empty if no
    range is selected; the default is the last seven UTC days. Each ends with a comma, or is empty."""

    window: Window

    def __init__(self, source: Source, window: Window, given_first: str, given_last: str) -> None:
        super().__init__(source, "bigquery")
        self.window, self.given_first, self.given_last = window, given_first, given_last

    def first(self, days_before: int = 0) -> str:
        return _earlier(self._first(), days_before)

    def last(self, days_before: int = 0) -> str:
        return _earlier(f"coalesce({self.given_last}current_date('UTC'))", days_before)

    def start(self) -> str:
        if self.window == "24h":
            return f"timestamp_sub({self.end()}, interval 24 hour)"
        return f"timestamp({self.first()})"

    def end(self) -> str:
        midnight = f"timestamp(date_add({self.last()}, interval 1 day))"
        return f"least({self.now()}, {midnight})" if self.window == "24h" else midnight

    def now(self) -> str:
        return "current_timestamp()"

    def time(self) -> list[str]:
        """As for the built-in pages. A table without a time column is bounded too, from 1970 on."""
        if self.source.time is None and self.source.sql is None:
            instants = [name for name, column in self.source.columns.items() if column.type == "instant"]
            return [f"{name} >= timestamp '1970-01-01 00:00:00+00'" for name in instants[:1]]
        return super().time()

    def _first(self) -> str:
        if self.window == "all":
            return "date '1970-01-01'"
        if self.window == "24h":
            return f"date({self.start()})"
        if self.window in _DAYS:
            return self.last(_DAYS[self.window] - 1)
        return f"coalesce({self.given_first}{self.last(DEFAULT_DAYS - 1)})"


def _earlier(day: str, days: int) -> str:
    return f"date_sub({day}, interval {days} day)" if days else day
