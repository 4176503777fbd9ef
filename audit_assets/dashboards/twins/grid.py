"""Where tiles lie in Looker and Metabase: both have 24 columns, twice ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from audit_assets.dashboards.definition import Page, Show, Tile

_COLUMNS = 24


@dataclass(frozen=True)
class Place:
    """A tile's upper left corner, width and height, in cells."""

    row: int
    column: int
    width: int
    height: int


def placed(page: Page, heights: Mapping[Show, int], usual: int) -> Iterator[tuple[Tile, Place]]:
    """The tiles of a page, each in its place; a row is as high as its highest, by `heights`, else `usual`."""
    top = 0
    for row in page.rows:
        height = max(heights.get(tile.show, usual) for tile in row)
        left = 0
        for tile in row:
            width = tile.width * _COLUMNS // 12
            yield tile, Place(top, left, width, height)
            left += width
        top += height
