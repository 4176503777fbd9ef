"""Charts as Plotly figures: plain values over a tile's rows. Text and lines take their colour from the page's theme."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import polars as pl

from audit_assets.dashboards import words
from audit_assets.dashboards.colours import BAD, NEUTRAL, OTHER, OUTCOMES, SERIES, SEVERITIES, VALUE, WARNING
from audit_assets.dashboards.definition import Source, Tile, Unit

Figure = dict[str, Any]
OTHER_NAME = "Other"
_LOG_TICKS = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]
_LONG_NAME = 24


@dataclass(frozen=True)
class Marks:
    """What a chart shows beside its rows: colours by name, the alerts of the range, and how its links go on."""

    colours: Mapping[str, str] = field(default_factory=dict[str, str])
    incidents: pl.DataFrame | None = None
    carried: str = ""  # the scope, as the rest of a link's query
    today: date | None = None  # the UTC day that is not over


def draw(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    """The figure of a tile that is a chart."""
    return _DRAWN[tile.show](tile, source, rows, marks)


def link_to(template: str, values: Mapping[str, object], carried: str) -> str:
    """The address a click leads to, each value encoded, the scope carried on."""
    encoded = {name: quote(str(value), safe="") for name, value in values.items()}
    filled = template.format_map(encoded)
    if not carried:
        return filled
    return f"{filled}{'&' if '?' in filled else '?'}{carried}"


def _layout(**more: Any) -> Figure:
    base: Figure = {
        "margin": {"l": 8, "r": 12, "t": 8, "b": 4},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inter, system-ui, sans-serif", "size": 12},
        "hovermode": "x unified",
        "hoverlabel": {"namelength": 30},
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True},
        "yaxis": {"automargin": True, "zeroline": False, "fixedrange": True, "rangemode": "tozero"},
        "dragmode": False,
        "modebar": {"remove": ["zoom", "pan"]},
    }
    for name, value in more.items():
        base[name] = {**base[name], **value} if isinstance(value, dict) and name in base else value
    return base


def _days_axis(rows: pl.DataFrame) -> Figure:
    number = rows["date"].n_unique() if "date" in rows.columns else 0
    axis: Figure = {"type": "date", "tickformat": "%-d %b", "hoverformat": "%a %-d %b %Y", "nticks": 8}
    if 0 < number <= 8:
        axis |= {"tick0": str(rows["date"].min()), "dtick": 86_400_000}
    return axis


def _values(column: pl.Series, unit: Unit) -> list[Any]:
    """Milliseconds are drawn as seconds."""
    values = column.to_list()
    return [None if value is None else value / 1000 for value in values] if unit == "milliseconds" else values


def _value_axis(unit: Unit, scale: str = "linear") -> Figure:
    axis: Figure = {
        "share": {"tickformat": ".0%"},
        "milliseconds": {"ticksuffix": " s"},
        "percent": {"ticksuffix": " %"},
    }.get(unit, {"tickformat": "~s"})
    if scale == "log":
        # Plotly's own ticks on such an axis lie on top of one another.
        axis |= {"type": "log", "tickmode": "array", "tickvals": _LOG_TICKS, "rangemode": "normal"}
        axis["ticktext"] = [f"{tick:,g}{axis.get('ticksuffix', '')}" for tick in _LOG_TICKS]
        axis["ticksuffix"] = ""
    return axis


def _hover(unit: Unit) -> str:
    return {"share": "%{y:.2%}", "milliseconds": "%{y:,.2f} s"}.get(unit, "%{y:,.0f}")


def _area(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
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
        shown = OTHER_NAME if one is None else words.shortened(one, _LONG_NAME)
        line = {"width": 0.5, "color": colour}
        fill = {"stackgroup": "all", "fillcolor": colour, "mode": "lines", "hoverinfo": "skip"}
        data.append({"type": "scatter", "x": days, "y": y, "name": shown, "line": line, **fill})
        # The area itself is clicked at its vertices only: unseen bars take the clicks, and the hovering.
        bar: Figure = {"type": "bar", "x": days, "y": y, "name": shown, "showlegend": False}
        bar |= {"marker": {"color": colour, "opacity": 0}, "hovertemplate": "%{y:,.0f}"}
        if tile.link and one is not None:
            bar["customdata"] = [link_to(tile.link, {name: one}, marks.carried)] * len(days)
        bars.append(bar)
    layout = _layout(xaxis=_days_axis(rows), yaxis=_value_axis("count"), barmode="stack", bargap=0)
    layout["shapes"], layout["annotations"] = _running_day(rows, marks)
    layout["showlegend"] = True
    layout["legend"] |= {"traceorder": "reversed"}
    return {"data": [*data, *bars], "layout": layout}


def _line(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    time = tile.by[0]
    data: list[Figure] = []
    layout = _layout(xaxis=_days_axis(rows), yaxis=_value_axis(source.unit(tile.measures[0]), tile.scale))
    shapes, layout["annotations"] = _running_day(rows, marks)
    for number, figure in enumerate(tile.measures):
        unit = source.unit(figure)
        colour = SERIES[number]
        line: Figure = {"color": colour, "width": 2, "dash": "dot" if tile.separate and number else "solid"}
        trace: Figure = {"type": "scatter", "x": rows[time].to_list(), "y": _values(rows[figure], unit)}
        trace |= {"name": source.heading(figure), "line": line, "hovertemplate": _hover(unit)}
        trace["mode"] = "lines+markers" if len(rows) <= 31 else "lines"
        trace["marker"] = {"size": 5, "color": colour}
        if "is_estimated" in rows.columns:
            kinds = ["circle-open" if one else "circle" for one in rows["is_estimated"].to_list()]
            trace |= {"mode": "lines+markers", "marker": {"size": 7, "color": colour, "symbol": kinds}}
        if tile.separate and number:
            trace["yaxis"] = "y2"
            right = {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto", "nticks": 6}
            layout["yaxis2"] = {**layout["yaxis"], **_value_axis(unit), **right}
        data.append(trace)
    if tile.target is not None:
        data.append(_above(rows, tile, source))
        shapes += _target(tile.target.at_most)
        label = {"text": tile.target.label, "xref": "paper", "x": 0, "y": tile.target.at_most, "showarrow": False}
        layout["annotations"] += [label | {"xanchor": "left", "yanchor": "bottom", "font": {"size": 11, "color": BAD}}]
        top = max([value for value in rows[tile.measures[0]].to_list() if value is not None], default=0)
        layout["yaxis"] |= {"range": [0, max(1.3 * tile.target.at_most, 1.1 * top)]}
    _mark_incidents(tile, marks, data, shapes, layout)
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
    return trace | {"x": beyond[tile.by[0]].to_list(), "y": _values(beyond[figure], source.unit(figure))}


def _running_day(rows: pl.DataFrame, marks: Marks) -> tuple[list[Figure], list[Figure]]:
    """A pale band and a word over the day that is not over: its low counts are no drop."""
    if marks.today is None or "date" not in rows.columns or rows["date"].max() != marks.today:
        return [], []
    start = f"{marks.today - timedelta(days=1)} 12:00"
    band: Figure = {
        "type": "rect",
        "xref": "x",
        "x0": start,
        "x1": f"{marks.today} 12:00",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
    }
    word: Figure = {
        "text": "so far",
        "xref": "x",
        "x": str(marks.today),
        "yref": "paper",
        "y": 0.9,
        "yanchor": "middle",
    }
    return (
        [band | {"fillcolor": "rgba(140,147,158,0.13)", "line": {"width": 0}, "layer": "below"}],
        [word | {"showarrow": False, "font": {"size": 10}}],
    )


def _target(limit: float) -> list[Figure]:
    across: Figure = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y"}
    band = across | {"type": "rect", "y0": 0, "y1": limit, "fillcolor": "rgba(20,150,127,0.08)", "line": {"width": 0}}
    edge = across | {"type": "line", "y0": limit, "y1": limit, "line": {"color": BAD, "width": 1, "dash": "dash"}}
    return [band | {"layer": "below"}, edge]


def _mark_incidents(tile: Tile, marks: Marks, data: list[Figure], shapes: list[Figure], layout: Figure) -> None:
    """Alerts as triangles on top of the chart, at the UTC day of their begin."""
    if not tile.incidents or marks.incidents is None or marks.incidents.is_empty():
        return
    days = marks.incidents.group_by(pl.col("since").dt.date().alias("day")).agg(
        pl.concat_str([pl.col("rule_id"), pl.lit(" · "), pl.col("capability").str.slice(0, 40)]).unique().sort().head(6)
    )
    x = [str(day) for day in days["day"].to_list()]
    text = ["<br>".join(_escaped(one) for one in told) for told in days["rule_id"].to_list()]
    marker = {"symbol": "triangle-down", "size": 10, "color": WARNING}
    trace: Figure = {"type": "scatter", "mode": "markers", "x": x, "y": [1] * len(x), "yaxis": "y9", "marker": marker}
    data.append(trace | {"name": "Alerts", "hovertemplate": "%{text}", "text": text, "showlegend": False})
    line = {"color": WARNING, "width": 1, "dash": "dot"}
    shapes += [
        {"type": "line", "xref": "x", "x0": day, "x1": day, "yref": "paper", "y0": 0, "y1": 1, "line": line}
        for day in x
    ]
    layout["yaxis9"] = {"overlaying": "y", "range": [0, 1.02], "visible": False, "fixedrange": True}


def _escaped(text: str) -> str:
    """Plotly reads a little HTML in texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _band(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
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
    layout = _layout(xaxis=_days_axis(rows), yaxis=_value_axis("count"), showlegend=True)
    shapes, layout["annotations"] = _running_day(rows, marks)
    _mark_incidents(tile, marks, data, shapes, layout)
    layout["shapes"] = shapes
    return {"data": data, "layout": layout}


def _donut(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
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
    pie |= {"labels": [words.shortened(one, _LONG_NAME) for one in names], "texttemplate": "%{label} %{percent:.1%}"}
    pie |= {"textposition": "outside", "hovertemplate": "%{label}: %{value:,}<extra></extra>"}
    pie["marker"] = {"colors": [marks.colours.get(one, OTHER) for one in names], "line": {"width": 1}}
    middle = {"text": f"<b>{_compact(float(total))}</b><br>{source.heading(figure).lower()}", "showarrow": False}
    margin = {"l": 70, "r": 70, "t": 44, "b": 36}
    return {
        "data": [pie],
        "layout": _layout(hovermode="closest", margin=margin, annotations=[middle | {"font": {"size": 15}}]),
    }


def _compact(value: float) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.1f}{unit}" if scaled < 100 else f"{scaled:.0f}{unit}"
    return f"{value:,.0f}"


def _box(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    name = tile.by[0]
    shown = rows.filter(pl.col("p50").is_not_null()).sort("p50")
    data: list[Figure] = []
    for row in shown.iter_rows(named=True):
        seconds = {quantile: [row[quantile] / 1000] for quantile in ("p5", "p25", "p50", "p75", "p95")}
        colour = marks.colours.get(row[name], OTHER)
        box: Figure = {"type": "box", "orientation": "h", "y": [words.shortened(row[name], _LONG_NAME)], "name": ""}
        box |= {"lowerfence": seconds["p5"], "q1": seconds["p25"], "median": seconds["p50"]}
        box |= {"q3": seconds["p75"], "upperfence": seconds["p95"], "line": {"color": colour, "width": 1.5}}
        if tile.link:
            box["customdata"] = [link_to(tile.link, {name: row[name]}, marks.carried)]
        data.append(box | {"hoverinfo": "x"})
    medians = [f"{words.duration(one)}" for one in shown["p50"].to_list()]
    label: Figure = {"type": "scatter", "mode": "text", "textposition": "middle right", "hoverinfo": "skip"}
    label |= {"x": [one / 1000 for one in shown["p95"].to_list()], "text": [f"  {one}" for one in medians]}
    data.append(label | {"y": [words.shortened(one, _LONG_NAME) for one in shown[name].to_list()]})
    longest = max([one / 1000 for one in shown["p95"].to_list()], default=1)
    x = _value_axis("milliseconds") | {"range": [0, longest * 1.25], "showgrid": True, "hoverformat": ",.2f"}
    return {"data": data, "layout": _layout(hovermode="closest", xaxis=x, yaxis={"type": "category"}, boxgap=0.45)}


def _bars(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    return _horizontal(tile, source, rows, marks, [(figure, None) for figure in tile.measures])


def _stacked_bars(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
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
    names = [words.shortened(str(one), _LONG_NAME) for one in shown[name].to_list()]
    data: list[Figure] = []
    for number, (figure, colour) in enumerate(parts):
        title = source.heading(figure) if figure in source.measures or figure in source.columns else figure
        bar: Figure = {"type": "bar", "orientation": "h", "y": names, "x": shown[figure].fill_null(0).to_list()}
        bar |= {"name": title, "marker": {"color": colour or SERIES[number]}, "hovertemplate": "%{x:,.0f}"}
        if tile.link:
            bar["customdata"] = [link_to(tile.link, {name: one}, marks.carried) for one in shown[name].to_list()]
        data.append(bar)
    x = _value_axis("count") | {"showgrid": True, "nticks": 5}
    layout = _layout(
        hovermode="y unified", xaxis=x, yaxis={"type": "category", "dtick": 1}, barmode="stack", bargap=0.35
    )
    layout["showlegend"] = len(parts) > 1
    return {"data": data, "layout": layout}


def _funnel(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    values = [rows[figure].item() or 0 for figure in tile.measures]
    total = values[0] or 1
    names = [source.heading(figure) for figure in tile.measures]
    bar: Figure = {"type": "bar", "orientation": "h", "y": names[::-1], "x": values[::-1]}
    bar["marker"] = {"color": [OUTCOMES[figure] for figure in reversed(tile.measures)]}
    shares = [f"{value:,.0f}  ·  {words.figure(value / total, 'share')}" for value in values]
    bar |= {"text": shares[::-1], "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    x: Figure = {"visible": False, "range": [0, total * 1.75]}
    return {"data": [bar], "layout": _layout(hovermode="closest", xaxis=x, yaxis={"type": "category"}, bargap=0.35)}


def _heatmap(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
    time, name = tile.by
    figure = tile.measures[0]
    names = rows.group_by(name).agg(pl.col(figure).sum()).sort(figure)[name].to_list()
    days = rows[time].unique().sort().to_list()
    at = {(row[0], row[1]): row[2] for row in rows.select(time, name, figure).iter_rows()}
    counts = [[at.get((day, one), 0) for day in days] for one in names]
    # The busiest workspace would leave all others pale: colour follows the logarithm, the text the count.
    shades = [[None if not count else pl.Series([count]).log10().item() for count in line] for line in counts]
    cells: Figure = {"type": "heatmap", "x": days, "y": [words.shortened(one, 14) for one in names], "z": shades}
    cells |= {"customdata": counts, "hovertemplate": "%{y}, %{x|%a %-d %b}: %{customdata:,}<extra></extra>"}
    cells |= {"colorscale": [[0, "#CFE0F7"], [0.5, "#5B93E0"], [1, "#1B3F86"]], "xgap": 1, "ygap": 1}
    cells["colorbar"] = {
        "thickness": 8,
        "outlinewidth": 0,
        "tickvals": [0, 1, 2, 3],
        "ticktext": ["1", "10", "100", "1k"],
    }
    y: Figure = {"type": "category", "nticks": 15, "tickfont": {"size": 10}}
    return {"data": [cells], "layout": _layout(hovermode="closest", xaxis=_days_axis(rows), yaxis=y)}


def _scatter(tile: Tile, source: Source, rows: pl.DataFrame, marks: Marks) -> Figure:
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
        points |= {"x": some[x].to_list(), "y": _values(some[y], source.unit(y))}
        data.append(points | {"hovertemplate": "%{x:,} characters, %{y:,.2f} s"})
    across = _value_axis("count", "log") | {"title": {"text": "characters", "font": {"size": 11}}, "showgrid": True}
    up = _value_axis(source.unit(y), "log")
    return {"data": data, "layout": _layout(hovermode="closest", xaxis=across, yaxis=up, showlegend=True)}


_DRAWN: Mapping[str, Callable[[Tile, Source, pl.DataFrame, Marks], Figure]] = {
    "area": _area,
    "line": _line,
    "band": _band,
    "donut": _donut,
    "box": _box,
    "bars": _bars,
    "stacked_bars": _stacked_bars,
    "funnel": _funnel,
    "heatmap": _heatmap,
    "scatter": _scatter,
}
