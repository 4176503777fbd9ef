"""Charts over names and classes: shares, bars, boxes, points."""

from collections.abc import Sequence

import polars as pl

from audit_assets.dashboards import words
from audit_assets.dashboards.colours import OTHER, OUTCOMES, SERIES, SEVERITIES, VALUE
from audit_assets.dashboards.definition import Source, Tile
from audit_assets.dashboards.plotting import (
    LONG_NAME,
    Figure,
    Marks,
    compact,
    drawn_values,
    layout_of,
    link_to,
    names_axis,
    value_axis,
)


def donut(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    name, figure = tile.by[0], tile.measures[0]
    names = rows[name].to_list()
    total = rows[figure].sum() or 0
    pie: Figure = {
        "type": "pie",
        "hole": 0.62,
        "sort": False,
        "direction": "clockwise",
        "values": rows[figure].to_list(),
    }
    pie |= {"labels": [words.shortened(one, LONG_NAME) for one in names], "texttemplate": "%{label} %{percent:.1%}"}
    pie |= {"textposition": "outside", "hovertemplate": "%{label}: %{value:,}<extra></extra>"}
    pie["marker"] = {"colors": [marks.colours.get(one, OTHER) for one in names], "line": {"width": 1}}
    middle = {"text": f"<b>{compact(float(total))}</b><br>{source.heading(figure).lower()}", "showarrow": False}
    margin = {"l": 70, "r": 70, "t": 44, "b": 36}
    return {
        "data": [pie],
        "layout": layout_of(hovermode="closest", margin=margin, annotations=[middle | {"font": {"size": 15}}]),
    }


def box(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    name = tile.by[0]
    shown = rows.filter(pl.col("p50").is_not_null()).sort("p50")
    data: list[Figure] = []
    for row in shown.iter_rows(named=True):
        seconds = {quantile: [row[quantile] / 1000] for quantile in ("p5", "p25", "p50", "p75", "p95")}
        colour = marks.colours.get(row[name], OTHER)
        box: Figure = {"type": "box", "orientation": "h", "y": [words.shortened(row[name], LONG_NAME)], "name": ""}
        box |= {"lowerfence": seconds["p5"], "q1": seconds["p25"], "median": seconds["p50"]}
        box |= {"q3": seconds["p75"], "upperfence": seconds["p95"], "line": {"color": colour, "width": 1.5}}
        if tile.link:
            box["customdata"] = [link_to(tile.link, {name: row[name]}, marks.carried)]
        data.append(box | {"hoverinfo": "x"})
    medians = [f"{words.duration(one)}" for one in shown["p50"].to_list()]
    label: Figure = {"type": "scatter", "mode": "text", "textposition": "middle right", "hoverinfo": "skip"}
    label |= {"x": [one / 1000 for one in shown["p95"].to_list()], "text": [f"  {one}" for one in medians]}
    data.append(label | {"y": [words.shortened(one, LONG_NAME) for one in shown[name].to_list()]})
    longest = max([one / 1000 for one in shown["p95"].to_list()], default=1)
    x = value_axis("milliseconds") | {"range": [0, longest * 1.25], "showgrid": True, "hoverformat": ",.2f"}
    y, margin = names_axis([words.shortened(one, LONG_NAME) for one in shown[name].to_list()])
    return {"data": data, "layout": layout_of(hovermode="closest", xaxis=x, yaxis=y, margin=margin, boxgap=0.45)}


def bars(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    return _horizontal(tile, source, rows, marks, [(figure, None) for figure in tile.measures])


def stacked_bars(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    if len(tile.by) == 1:
        return _horizontal(tile, source, rows, marks, [(figure, OUTCOMES.get(figure)) for figure in tile.measures])
    name, kind = tile.by
    figure = tile.measures[0]
    wide = rows.pivot(kind, index=name, values=figure, aggregate_function="sum")
    parts = [one for one in SEVERITIES if one in wide.columns]
    wide = wide.with_columns(pl.sum_horizontal(pl.col(parts).fill_null(0)).alias("_all")).sort("_all", descending=True)
    return _horizontal(tile, source, wide.head(tile.limit), marks, [(one, SEVERITIES[one]) for one in parts])


def _horizontal(
    tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks, parts: Sequence[tuple[str, str | None]]
) -> Figure:
    name = tile.by[0]
    shown = rows.reverse()
    names = [words.shortened(str(one), LONG_NAME) for one in shown[name].to_list()]
    data: list[Figure] = []
    for number, (figure, colour) in enumerate(parts):
        title = source.heading(figure) if figure in source.measures or figure in source.columns else figure
        bar: Figure = {"type": "bar", "orientation": "h", "y": names, "x": shown[figure].fill_null(0).to_list()}
        bar |= {"name": title, "marker": {"color": colour or SERIES[number]}, "hovertemplate": "%{x:,.0f}"}
        if tile.link:
            bar["customdata"] = [link_to(tile.link, {name: one}, marks.carried) for one in shown[name].to_list()]
        data.append(bar)
    x = value_axis("count") | {"showgrid": True, "nticks": 5}
    y, margin = names_axis(names)
    layout = layout_of(hovermode="y unified", xaxis=x, yaxis=y, margin=margin, barmode="stack", bargap=0.35)
    layout["showlegend"] = len(parts) > 1
    return {"data": data, "layout": layout}


def funnel(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    values = [rows[figure].item() or 0 for figure in tile.measures]
    total = values[0] or 1
    names = [source.heading(figure) for figure in tile.measures]
    bar: Figure = {"type": "bar", "orientation": "h", "y": names[::-1], "x": values[::-1]}
    bar["marker"] = {"color": [OUTCOMES[figure] for figure in reversed(tile.measures)]}
    shares = [f"{value:,.0f}  ·  {words.figure(value / total, 'share')}" for value in values]
    bar |= {"text": shares[::-1], "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    x: Figure = {"visible": False, "range": [0, total * 1.75]}
    y, margin = names_axis(names)
    return {"data": [bar], "layout": layout_of(hovermode="closest", xaxis=x, yaxis=y, margin=margin, bargap=0.35)}


def scatter(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    x, y, kind = tile.by
    data: list[Figure] = []
    for one in ("success", "unknown", "error"):
        some = rows.filter(pl.col(kind) == one)
        marker = {
            "size": 6,
            "opacity": 0.9 if one == "error" else 0.55,
            "color": VALUE if one == "success" else OUTCOMES[one],
        }
        points: Figure = {"type": "scatter", "mode": "markers", "name": one.capitalize(), "marker": marker}
        points |= {"x": some[x].to_list(), "y": drawn_values(some[y], source.unit(y))}
        data.append(points | {"hovertemplate": "%{x:,} characters, %{y:,.2f} s"})
    across = value_axis("count", "log") | {"title": {"text": "characters", "font": {"size": 11}}, "showgrid": True}
    up = value_axis(source.unit(y), "log")
    layout = layout_of(hovermode="closest", xaxis=across, yaxis=up, showlegend=True)
    layout["margin"] |= {"b": 42}
    return {"data": data, "layout": layout}
