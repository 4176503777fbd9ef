"""A tile's rows as a Plotly figure: plain values, which take the colour of text and lines from the page's theme."""

from collections.abc import Callable, Mapping

import polars as pl

from audit_assets.dashboards.charts_by_day import area, band, heatmap, line
from audit_assets.dashboards.charts_by_name import bars, box, donut, funnel, scatter, stacked_bars
from audit_assets.dashboards.definition import Source, Tile
from audit_assets.dashboards.plotting import Figure, Marks

_DRAWN: Mapping[str, Callable[[Tile, Source, pl.DataFrame, Marks], Figure]] = {
    "area": area,
    "line": line,
    "band": band,
    "donut": donut,
    "box": box,
    "bars": bars,
    "stacked_bars": stacked_bars,
    "funnel": funnel,
    "heatmap": heatmap,
    "scatter": scatter,
}


def draw(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    """The figure of a tile that is a chart."""
    return _DRAWN[tile.show](tile, source, rows, marks)
