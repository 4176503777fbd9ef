"""The Plotly figures of chart tiles, one function per kind of chart."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from audit_assets.dashboards.definition.model import Source, Tile
from audit_assets.dashboards.render.plotting import (
    BAD,
    LONG_NAME,
    NEUTRAL,
    OTHER,
    OUTCOMES,
    SERIES,
    SEVERITIES,
    VALUE,
    WARNING,
    Annotations,
    Figure,
    compact,
    days_axis,
    drawn_values,
    hover_template,
    link_to,
    make_layout,
    mark_incidents,
    names_axis,
    running_day,
    value_axis,
)
from audit_assets.text import formatting

OTHER_NAME = "Other"


def area(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    time, name = tile.by
    figure = tile.measures[0]
    days = rows[time].unique().sort().to_list()
    totals = rows.group_by(name).agg(pl.col(figure).sum()).sort(figure, descending=True, nulls_last=True)
    names = [value for value in totals[name].to_list() if value is not None]
    data: list[Figure] = []
    bars: list[Figure] = []
    for value in [*([None] if None in totals[name].to_list() else []), *reversed(names)]:
        chosen = rows.filter(pl.col(name).is_null() if value is None else pl.col(name) == value)
        by_day = dict(zip(chosen[time].to_list(), chosen[figure].to_list(), strict=True))
        y = [by_day.get(day, 0) for day in days]
        color = OTHER if value is None else annotations.colors.get(value, OTHER)
        label = OTHER_NAME if value is None else formatting.shortened(value, LONG_NAME)
        label = f"“{label}”" if value == OTHER_NAME else label  # a real value with that name
        line = {"width": 0.5, "color": color}
        fill = {"stackgroup": "all", "fillcolor": color, "mode": "lines", "hoverinfo": "skip"}
        data.append({"type": "scatter", "x": days, "y": y, "name": label, "line": line, **fill})
        # An area receives clicks only at its vertices, so transparent bars receive clicks and hover.
        bar: Figure = {"type": "bar", "x": days, "y": y, "name": label, "showlegend": False}
        bar |= {"marker": {"color": color, "opacity": 0}, "hovertemplate": "%{y:,.0f}"}
        if tile.link and value is not None:
            bar["customdata"] = [link_to(tile.link, {name: value}, annotations.link_query)] * len(days)
        bars.append(bar)
    layout = make_layout(xaxis=days_axis(rows), yaxis=value_axis("count"), barmode="stack", bargap=0)
    layout["shapes"], layout["annotations"] = running_day(rows, annotations)
    layout["showlegend"] = True
    return {"data": [*data, *bars], "layout": layout}


def line(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    time = tile.by[0]
    data: list[Figure] = []
    layout = make_layout(xaxis=days_axis(rows), yaxis=value_axis(source.unit(tile.measures[0]), tile.scale))
    shapes, layout["annotations"] = running_day(rows, annotations)
    for number, figure in enumerate(tile.measures):
        unit = source.unit(figure)
        color = SERIES[number]
        line: Figure = {"color": color, "width": 2, "dash": "dot" if tile.separate and number else "solid"}
        trace: Figure = {"type": "scatter", "x": rows[time].to_list(), "y": drawn_values(rows[figure], unit)}
        trace |= {"name": source.heading(figure), "line": line, "hovertemplate": hover_template(unit)}
        trace["mode"] = "lines+markers" if len(rows) <= 31 else "lines"
        trace["marker"] = {"size": 5, "color": color}
        if "is_estimated" in rows.columns:
            kinds = ["circle-open" if value else "circle" for value in rows["is_estimated"].to_list()]
            trace |= {"mode": "lines+markers", "marker": {"size": 7, "color": color, "symbol": kinds}}
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
    mark_incidents(tile, annotations, data, shapes, layout)
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


def band(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    days = rows["date"].to_list()
    edge: Figure = {"type": "scatter", "mode": "lines", "x": days, "line": {"width": 0}, "hoverinfo": "skip"}
    low = edge | {"y": rows["low"].to_list(), "showlegend": False}
    high = edge | {"y": rows["high"].to_list(), "fill": "tonexty", "fillcolor": "rgba(140,147,158,0.2)"}
    mean: Figure = {"type": "scatter", "mode": "lines", "x": days, "y": rows["mean_7d"].to_list()}
    mean |= {"name": source.heading("mean_7d"), "line": {"color": NEUTRAL, "dash": "dot"}, "hovertemplate": "%{y:,.0f}"}
    color = VALUE
    count: Figure = {"type": "scatter", "mode": "lines", "x": days, "y": rows["interactions"].to_list()}
    count |= {"name": "Interactions", "line": {"color": color, "width": 2}, "hovertemplate": "%{y:,.0f}"}
    beyond = rows.filter(pl.col("is_flagged"))
    flags: Figure = {"type": "scatter", "mode": "markers", "name": "beyond 2σ", "hoverinfo": "skip"}
    flags |= {"x": beyond["date"].to_list(), "y": beyond["interactions"].to_list()}
    flags["marker"] = {"color": WARNING, "size": 10, "symbol": "diamond", "line": {"width": 1.5, "color": "#FFFFFF"}}
    data = [low, high | {"name": "mean ± 2σ of 7 days"}, mean, count, flags]
    layout = make_layout(xaxis=days_axis(rows), yaxis=value_axis("count"), showlegend=True)
    shapes, layout["annotations"] = running_day(rows, annotations)
    mark_incidents(tile, annotations, data, shapes, layout)
    layout["shapes"] = shapes
    return {"data": data, "layout": layout}


def heatmap(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    time, name = tile.by
    figure = tile.measures[0]
    names = rows.group_by(name).agg(pl.col(figure).sum()).sort(figure)[name].to_list()
    days = rows[time].unique().sort().to_list()
    at = {(row[0], row[1]): row[2] for row in rows.select(time, name, figure).iter_rows()}
    counts = [[at.get((day, value), 0) for day in days] for value in names]
    # The color is on a logarithmic scale, or the busiest workspace would leave all others pale; the text is the count.
    shades = [[None if not count else pl.Series([count]).log10().item() for count in line] for line in counts]
    labels = [formatting.shortened(value, 14) for value in names]
    cells: Figure = {"type": "heatmap", "x": days, "y": labels, "z": shades}
    cells |= {"customdata": counts, "hovertemplate": "%{y}, %{x|%a %-d %b}: %{customdata:,}<extra></extra>"}
    cells |= {"colorscale": [[0, "#CFE0F7"], [0.5, "#5B93E0"], [1, "#1B3F86"]], "xgap": 1, "ygap": 1}
    cells["colorbar"] = {
        "thickness": 8,
        "outlinewidth": 0,
        "tickvals": [0, 1, 2, 3],
        "ticktext": ["1", "10", "100", "1k"],
    }
    axis, margin = names_axis(labels)
    y = axis | {"dtick": 2, "tickfont": {"size": 10}}
    return {
        "data": [cells],
        "layout": make_layout(hovermode="closest", xaxis=days_axis(rows), yaxis=y, margin=margin | {"r": 54}),
    }


def donut(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
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
    pie |= {
        "labels": [formatting.shortened(value, LONG_NAME) for value in names],
        "texttemplate": "%{label} %{percent:.1%}",
    }
    pie |= {"textposition": "outside", "hovertemplate": "%{label}: %{value:,}<extra></extra>"}
    pie["marker"] = {"colors": [annotations.colors.get(value, OTHER) for value in names], "line": {"width": 1}}
    middle = {"text": f"<b>{compact(float(total))}</b><br>{source.heading(figure).lower()}", "showarrow": False}
    margin = {"l": 70, "r": 70, "t": 44, "b": 36}
    return {
        "data": [pie],
        "layout": make_layout(hovermode="closest", margin=margin, annotations=[middle | {"font": {"size": 15}}]),
    }


def box(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    name = tile.by[0]
    drawn = rows.filter(pl.col("p50").is_not_null()).sort("p50")
    data: list[Figure] = []
    for row in drawn.iter_rows(named=True):
        seconds = {quantile: [row[quantile] / 1000] for quantile in ("p5", "p25", "p50", "p75", "p95")}
        color = annotations.colors.get(row[name], OTHER)
        box: Figure = {"type": "box", "orientation": "h", "y": [formatting.shortened(row[name], LONG_NAME)], "name": ""}
        box |= {"lowerfence": seconds["p5"], "q1": seconds["p25"], "median": seconds["p50"]}
        box |= {"q3": seconds["p75"], "upperfence": seconds["p95"], "line": {"color": color, "width": 1.5}}
        if tile.link:
            box["customdata"] = [link_to(tile.link, {name: row[name]}, annotations.link_query)]
        data.append(box | {"hoverinfo": "x"})
    medians = [f"{formatting.duration(value)}" for value in drawn["p50"].to_list()]
    label: Figure = {"type": "scatter", "mode": "text", "textposition": "middle right", "hoverinfo": "skip"}
    label |= {"x": [value / 1000 for value in drawn["p95"].to_list()], "text": [f"  {value}" for value in medians]}
    data.append(label | {"y": [formatting.shortened(value, LONG_NAME) for value in drawn[name].to_list()]})
    longest = max([value / 1000 for value in drawn["p95"].to_list()], default=1)
    x = value_axis("milliseconds") | {"range": [0, longest * 1.25], "showgrid": True, "hoverformat": ",.2f"}
    y, margin = names_axis([formatting.shortened(value, LONG_NAME) for value in drawn[name].to_list()])
    return {"data": data, "layout": make_layout(hovermode="closest", xaxis=x, yaxis=y, margin=margin, boxgap=0.45)}


def bars(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    return _horizontal(tile, source, rows, annotations, [(figure, None) for figure in tile.measures])


def stacked_bars(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    if len(tile.by) == 1:
        return _horizontal(
            tile, source, rows, annotations, [(figure, OUTCOMES.get(figure)) for figure in tile.measures]
        )
    name, kind = tile.by
    figure = tile.measures[0]
    wide = rows.pivot(kind, index=name, values=figure, aggregate_function="sum")
    parts = [value for value in SEVERITIES if value in wide.columns]
    wide = wide.with_columns(pl.sum_horizontal(pl.col(parts).fill_null(0)).alias("_all")).sort("_all", descending=True)
    return _horizontal(
        tile, source, wide.head(tile.limit), annotations, [(value, SEVERITIES[value]) for value in parts]
    )


def _horizontal(
    tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations, parts: Sequence[tuple[str, str | None]]
) -> Figure:
    name = tile.by[0]
    drawn = rows.reverse()
    names = [formatting.shortened(str(value), LONG_NAME) for value in drawn[name].to_list()]
    data: list[Figure] = []
    for number, (figure, color) in enumerate(parts):
        title = source.heading(figure) if figure in source.measures or figure in source.columns else figure
        bar: Figure = {"type": "bar", "orientation": "h", "y": names, "x": drawn[figure].fill_null(0).to_list()}
        bar |= {"name": title, "marker": {"color": color or SERIES[number]}, "hovertemplate": "%{x:,.0f}"}
        if tile.link:
            bar["customdata"] = [
                link_to(tile.link, {name: value}, annotations.link_query) for value in drawn[name].to_list()
            ]
        data.append(bar)
    x = value_axis("count") | {"showgrid": True, "nticks": 5}
    y, margin = names_axis(names)
    layout = make_layout(hovermode="y unified", xaxis=x, yaxis=y, margin=margin, barmode="stack", bargap=0.35)
    layout["showlegend"] = len(parts) > 1
    return {"data": data, "layout": layout}


def funnel(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    values = [rows[figure].item() or 0 for figure in tile.measures]
    total = values[0] or 1
    names = [source.heading(figure) for figure in tile.measures]
    bar: Figure = {"type": "bar", "orientation": "h", "y": names[::-1], "x": values[::-1]}
    bar["marker"] = {"color": [OUTCOMES[figure] for figure in reversed(tile.measures)]}
    shares = [f"{value:,.0f}  ·  {formatting.figure(value / total, 'share')}" for value in values]
    bar |= {"text": shares[::-1], "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    x: Figure = {"visible": False, "range": [0, total * 1.75]}
    y, margin = names_axis(names)
    return {"data": [bar], "layout": make_layout(hovermode="closest", xaxis=x, yaxis=y, margin=margin, bargap=0.35)}


def scatter(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    x, y, kind = tile.by
    data: list[Figure] = []
    for value in ("success", "unknown", "error"):
        some = rows.filter(pl.col(kind) == value)
        marker = {
            "size": 6,
            "opacity": 0.9 if value == "error" else 0.55,
            "color": VALUE if value == "success" else OUTCOMES[value],
        }
        points: Figure = {"type": "scatter", "mode": "markers", "name": value.capitalize(), "marker": marker}
        points |= {"x": some[x].to_list(), "y": drawn_values(some[y], source.unit(y))}
        data.append(points | {"hovertemplate": "%{x:,} characters, %{y:,.2f} s"})
    across = value_axis("count", "log") | {"title": {"text": "characters", "font": {"size": 11}}, "showgrid": True}
    up = value_axis(source.unit(y), "log")
    layout = make_layout(hovermode="closest", xaxis=across, yaxis=up, showlegend=True)
    layout["margin"] |= {"b": 42}
    return {"data": data, "layout": layout}


_DRAWN: Mapping[str, Callable[[Tile, Source, pl.DataFrame, Annotations], Figure]] = {
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


def draw(tile: Tile, source: Source, rows: pl.DataFrame, annotations: Annotations) -> Figure:
    """The Plotly figure of a chart tile."""
    return _DRAWN[tile.show](tile, source, rows, annotations)
