"""What all charts share: axes, units, links, the marks of alerts and of the day that is not over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import polars as pl

from audit_assets.dashboards.colours import WARNING
from audit_assets.dashboards.definition import Tile, Unit

Figure = dict[str, Any]
LONG_NAME = 24
_LOG_TICKS = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]


@dataclass(frozen=True)
class Marks:
    """What a chart shows beside its rows: colours by name, the alerts of the range, and how its links go on."""

    colours: Mapping[str, str] = field(default_factory=dict[str, str])
    incidents: pl.DataFrame | None = None
    carried: str = ""  # the scope, as the rest of a link's query
    today: date | None = None  # the UTC day that is not over


def link_to(template: str, values: Mapping[str, object], carried: str) -> str:
    """The address a click leads to, each value encoded, the scope carried on."""
    encoded = {name: quote(str(value), safe="") for name, value in values.items()}
    filled = template.format_map(encoded)
    if not carried:
        return filled
    return f"{filled}{'&' if '?' in filled else '?'}{carried}"


def layout_of(**more: Any) -> Figure:
    base: Figure = {
        # Fixed: margins that Plotly finds for itself cost a second drawing of each chart.
        "margin": {"l": 48, "r": 14, "t": 8, "b": 26},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inter, system-ui, sans-serif", "size": 12},
        "hovermode": "x unified",
        "hoverlabel": {"namelength": 30},
        "showlegend": False,
        "xaxis": {"showgrid": False, "zeroline": False, "fixedrange": True},
        "yaxis": {"zeroline": False, "fixedrange": True, "rangemode": "tozero"},
        "dragmode": False,
        "modebar": {"remove": ["zoom", "pan"]},
    }
    for name, value in more.items():
        base[name] = {**base[name], **value} if isinstance(value, dict) and name in base else value
    return base


def names_axis(names: Sequence[str]) -> tuple[Figure, Figure]:
    """An axis of names, and the margins in which the longest of them fits."""
    widest = max((len(name) for name in names), default=0)
    return {"type": "category", "dtick": 1}, {"l": 16 + round(6.4 * widest), "r": 14, "t": 8, "b": 26}


def legend_of(figure: Figure) -> list[tuple[str, str]]:
    """Name and colour of what a chart shows, from the top; nothing where it shows one thing. The page writes it: Plotly
    measures each of its own legend's texts."""
    named = [trace for trace in figure["data"] if trace.get("name") and trace.get("showlegend", True)]
    if len(named) < 2 or not figure["layout"].get("showlegend"):
        return []
    if any("stackgroup" in trace for trace in named):
        named.reverse()
    return [
        (trace["name"], trace.get("fillcolor") or (trace.get("line") or trace["marker"])["color"]) for trace in named
    ]


def days_axis(rows: pl.DataFrame) -> Figure:
    number = rows["date"].n_unique() if "date" in rows.columns else 0
    axis: Figure = {"type": "date", "tickformat": "%-d %b", "hoverformat": "%a %-d %b %Y", "nticks": 8}
    if 0 < number <= 8:
        axis |= {"tick0": str(rows["date"].min()), "dtick": 86_400_000}
    return axis


def drawn_values(column: pl.Series, unit: Unit) -> list[Any]:
    """Milliseconds are drawn as seconds."""
    values = column.to_list()
    return [None if value is None else value / 1000 for value in values] if unit == "milliseconds" else values


def value_axis(unit: Unit, scale: str = "linear") -> Figure:
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


def hover_of(unit: Unit) -> str:
    return {"share": "%{y:.2%}", "milliseconds": "%{y:,.2f} s"}.get(unit, "%{y:,.0f}")


def running_day(rows: pl.DataFrame, marks: Marks) -> tuple[list[Figure], list[Figure]]:
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


def mark_incidents(tile: Tile, marks: Marks, data: list[Figure], shapes: list[Figure], layout: Figure) -> None:
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


def compact(value: float) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.1f}{unit}" if scaled < 100 else f"{scaled:.0f}{unit}"
    return f"{value:,.0f}"
