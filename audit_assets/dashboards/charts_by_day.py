"""Charts over UTC days: areas, lines, a band of what is expected, a map of workspaces."""

import polars as pl

from audit_assets.dashboards import words
from audit_assets.dashboards.colours import BAD, NEUTRAL, OTHER, SERIES, VALUE, WARNING
from audit_assets.dashboards.definition import Source, Tile
from audit_assets.dashboards.plotting import (
    LONG_NAME,
    Figure,
    Marks,
    days_axis,
    drawn_values,
    hover_of,
    layout_of,
    link_to,
    mark_incidents,
    names_axis,
    running_day,
    value_axis,
)

OTHER_NAME = "Other"


def area(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    time, name = tile.by
    figure = tile.measures[0]
    days = rows[time].unique().sort().to_list()
    totals = rows.group_by(name).agg(pl.col(figure).sum()).sort(figure, descending=True, nulls_last=True)
    names = [one for one in totals[name].to_list() if one is not None]
    data: list[Figure] = []
    bars: list[Figure] = []
    for one in [*([None] if None in totals[name].to_list() else []), *reversed(names)]:
        chosen = rows.filter(pl.col(name).is_null() if one is None else pl.col(name) == one)
        by_day = dict(zip(chosen[time].to_list(), chosen[figure].to_list(), strict=True))
        y = [by_day.get(day, 0) for day in days]
        colour = OTHER if one is None else marks.colours.get(one, OTHER)
        shown = OTHER_NAME if one is None else words.shortened(one, LONG_NAME)
        line = {"width": 0.5, "color": colour}
        fill = {"stackgroup": "all", "fillcolor": colour, "mode": "lines", "hoverinfo": "skip"}
        data.append({"type": "scatter", "x": days, "y": y, "name": shown, "line": line, **fill})
        # The area itself is clicked at its vertices only: unseen bars take the clicks, and the hovering.
        bar: Figure = {"type": "bar", "x": days, "y": y, "name": shown, "showlegend": False}
        bar |= {"marker": {"color": colour, "opacity": 0}, "hovertemplate": "%{y:,.0f}"}
        if tile.link and one is not None:
            bar["customdata"] = [link_to(tile.link, {name: one}, marks.carried)] * len(days)
        bars.append(bar)
    layout = layout_of(xaxis=days_axis(rows), yaxis=value_axis("count"), barmode="stack", bargap=0)
    layout["shapes"], layout["annotations"] = running_day(rows, marks)
    layout["showlegend"] = True
    return {"data": [*data, *bars], "layout": layout}


def line(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    time = tile.by[0]
    data: list[Figure] = []
    layout = layout_of(xaxis=days_axis(rows), yaxis=value_axis(source.unit(tile.measures[0]), tile.scale))
    shapes, layout["annotations"] = running_day(rows, marks)
    for number, figure in enumerate(tile.measures):
        unit = source.unit(figure)
        colour = SERIES[number]
        line: Figure = {"color": colour, "width": 2, "dash": "dot" if tile.separate and number else "solid"}
        trace: Figure = {"type": "scatter", "x": rows[time].to_list(), "y": drawn_values(rows[figure], unit)}
        trace |= {"name": source.heading(figure), "line": line, "hovertemplate": hover_of(unit)}
        trace["mode"] = "lines+markers" if len(rows) <= 31 else "lines"
        trace["marker"] = {"size": 5, "color": colour}
        if "is_estimated" in rows.columns:
            kinds = ["circle-open" if one else "circle" for one in rows["is_estimated"].to_list()]
            trace |= {"mode": "lines+markers", "marker": {"size": 7, "color": colour, "symbol": kinds}}
        if tile.separate and number:
            trace["yaxis"] = "y2"
            right = {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto", "nticks": 6}
            layout["margin"] |= {"r": 44}
            layout["yaxis2"] = {**layout["yaxis"], **value_axis(unit), **right}
        data.append(trace)
    if tile.target is not None:
        data.append(_above(rows, tile, source))
        shapes += _target(tile.target.at_most)
        label = {"text": tile.target.label, "xref": "paper", "x": 0, "y": tile.target.at_most, "showarrow": False}
        layout["annotations"] += [label | {"xanchor": "left", "yanchor": "bottom", "font": {"size": 11, "color": BAD}}]
        top = max([value for value in rows[tile.measures[0]].to_list() if value is not None], default=0)
        layout["yaxis"] |= {"range": [0, max(1.3 * tile.target.at_most, 1.1 * top)]}
    mark_incidents(tile, marks, data, shapes, layout)
    layout["shapes"] = shapes
    layout["showlegend"] = len(tile.measures) > 1
    return {"data": data, "layout": layout}


def _above(rows: pl.DataFrame, tile: Tile, source: Source) -> Figure:
    """The points above the target."""
    figure = tile.measures[0]
    assert tile.target is not None
    beyond = rows.filter(pl.col(figure) > tile.target.at_most)
    marker = {"color": BAD, "size": 9, "line": {"width": 1.5, "color": "#FFFFFF"}}
    trace: Figure = {"type": "scatter", "mode": "markers", "marker": marker, "hoverinfo": "skip", "showlegend": False}
    return trace | {"x": beyond[tile.by[0]].to_list(), "y": drawn_values(beyond[figure], source.unit(figure))}


def _target(limit: float) -> list[Figure]:
    across: Figure = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y"}
    band = across | {"type": "rect", "y0": 0, "y1": limit, "fillcolor": "rgba(20,150,127,0.08)", "line": {"width": 0}}
    edge = across | {"type": "line", "y0": limit, "y1": limit, "line": {"color": BAD, "width": 1, "dash": "dash"}}
    return [band | {"layer": "below"}, edge]


def band(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    days = rows["date"].to_list()
    edge: Figure = {"type": "scatter", "mode": "lines", "x": days, "line": {"width": 0}, "hoverinfo": "skip"}
    low = edge | {"y": rows["low"].to_list(), "showlegend": False}
    high = edge | {"y": rows["high"].to_list(), "fill": "tonexty", "fillcolor": "rgba(140,147,158,0.2)"}
    mean: Figure = {"type": "scatter", "mode": "lines", "x": days, "y": rows["mean_7d"].to_list()}
    mean |= {"name": source.heading("mean_7d"), "line": {"color": NEUTRAL, "dash": "dot"}, "hovertemplate": "%{y:,.0f}"}
    colour = VALUE
    count: Figure = {"type": "scatter", "mode": "lines", "x": days, "y": rows["interactions"].to_list()}
    count |= {"name": "Interactions", "line": {"color": colour, "width": 2}, "hovertemplate": "%{y:,.0f}"}
    beyond = rows.filter(pl.col("is_flagged"))
    flags: Figure = {"type": "scatter", "mode": "markers", "name": "beyond 2σ", "hoverinfo": "skip"}
    flags |= {"x": beyond["date"].to_list(), "y": beyond["interactions"].to_list()}
    flags["marker"] = {"color": WARNING, "size": 10, "symbol": "diamond", "line": {"width": 1.5, "color": "#FFFFFF"}}
    data = [low, high | {"name": "mean ± 2σ of 7 days"}, mean, count, flags]
    layout = layout_of(xaxis=days_axis(rows), yaxis=value_axis("count"), showlegend=True)
    shapes, layout["annotations"] = running_day(rows, marks)
    mark_incidents(tile, marks, data, shapes, layout)
    layout["shapes"] = shapes
    return {"data": data, "layout": layout}


def heatmap(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    time, name = tile.by
    figure = tile.measures[0]
    names = rows.group_by(name).agg(pl.col(figure).sum()).sort(figure)[name].to_list()
    days = rows[time].unique().sort().to_list()
    at = {(row[0], row[1]): row[2] for row in rows.select(time, name, figure).iter_rows()}
    counts = [[at.get((day, one), 0) for day in days] for one in names]
    # The busiest workspace would leave all others pale: colour follows the logarithm, the text the count.
    shades = [[None if not count else pl.Series([count]).log10().item() for count in line] for line in counts]
    shown = [words.shortened(one, 14) for one in names]
    cells: Figure = {"type": "heatmap", "x": days, "y": shown, "z": shades}
    cells |= {"customdata": counts, "hovertemplate": "%{y}, %{x|%a %-d %b}: %{customdata:,}<extra></extra>"}
    cells |= {"colorscale": [[0, "#CFE0F7"], [0.5, "#5B93E0"], [1, "#1B3F86"]], "xgap": 1, "ygap": 1}
    cells["colorbar"] = {
        "thickness": 8,
        "outlinewidth": 0,
        "tickvals": [0, 1, 2, 3],
        "ticktext": ["1", "10", "100", "1k"],
    }
    axis, margin = names_axis(shown)
    y = axis | {"dtick": 2, "tickfont": {"size": 10}}
    return {
        "data": [cells],
        "layout": layout_of(hovermode="closest", xaxis=days_axis(rows), yaxis=y, margin=margin | {"r": 54}),
    }
