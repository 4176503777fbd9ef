"""Shared parts of the charts: colors for color-blind readers, axes, hover texts and annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import polars as pl

from audit_assets.dashboards.definition.model import Tile
from audit_assets.text.formatting import Unit

# Colors differ in lightness as well as hue, after Okabe and Ito (Color Universal Design, 2008) and Tol (Colour Schemes,
# 2021). Neighbors in a stack differ most. Each but the palest has a contrast of at least 3:1 to both backgrounds.
SERIES = (
    "#3B78D8",
    "#E08A1E",
    "#14967F",
    "#C2528B",
    "#7A5CC4",
    "#B8A11C",
    "#2FA4C7",
    "#C4553B",
    "#6B9440",
    "#8A6FA8",
    "#A3742C",
    "#4E8FA0",
)
OTHER = "#8C939E"
VALUE = SERIES[0]
GOOD = "#14967F"
BAD = "#D6455D"
WARNING = "#D98E04"
NEUTRAL = "#8C939E"
OUTCOMES = {
    "successes": "#5FAE9B",
    "success": "#5FAE9B",
    "errors": BAD,
    "error": BAD,
    "unknown": NEUTRAL,
    "errors_by_status": BAD,
    "errors_by_flag": "#E08A1E",
    "errors_by_both": "#8F2D56",
    "interactions": VALUE,
}
SEVERITIES = {"low": "#E9B44C", "medium": "#E08A1E", "high": BAD}


def assign_colors(names: Sequence[str]) -> Mapping[str, str]:
    """Name → color. `names` are in order of first appearance, so that a new name changes no existing color."""
    return {name: SERIES[number % len(SERIES)] for number, name in enumerate(names)}


Figure = dict[str, Any]
LONG_NAME = 24
_LOG_TICKS = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]


@dataclass(frozen=True)
class Annotations:
    """Additional data of a chart: colors by name, the alerts of the range, and the query string for its links."""

    colors: Mapping[str, str] = field(default_factory=dict[str, str])
    incidents: pl.DataFrame | None = None
    link_query: str = ""  # the scope, appended to the query string of links
    today: date | None = None  # the current UTC day


def link_to(template: str, values: Mapping[str, object], link_query: str) -> str:
    """The URL of a link: the template with encoded values, and the scope's query string appended."""
    encoded = {name: quote(str(value), safe="") for name, value in values.items()}
    filled = template.format_map(encoded)
    if not link_query:
        return filled
    return f"{filled}{'&' if '?' in filled else '?'}{link_query}"


def make_layout(**more: Any) -> Figure:
    base: Figure = {
        # Fixed margins, because automatic margins make Plotly draw each chart twice.
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
    """An axis of names, and margins that fit the longest of them."""
    widest = max((len(name) for name in names), default=0)
    return {"type": "category", "dtick": 1}, {"l": 16 + round(6.4 * widest), "r": 14, "t": 8, "b": 26}


def legend_entries(figure: Figure) -> list[tuple[str, str]]:
    """Name and color of each series of a chart, from the top; empty for a single series. The page renders the legend,
    because Plotly measures every text of its own."""
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
    """The values to draw: milliseconds are converted to seconds."""
    values = column.to_list()
    return [None if value is None else value / 1000 for value in values] if unit == "milliseconds" else values


def value_axis(unit: Unit, scale: str = "linear") -> Figure:
    axis: Figure = {
        "share": {"tickformat": ".0%"},
        "milliseconds": {"ticksuffix": " s"},
        "percent": {"ticksuffix": " %"},
    }.get(unit, {"tickformat": "~s"})
    if scale == "log":
        # Plotly's default ticks overlap on a logarithmic axis.
        axis |= {"type": "log", "tickmode": "array", "tickvals": _LOG_TICKS, "rangemode": "normal"}
        axis["ticktext"] = [f"{tick:,g}{axis.get('ticksuffix', '')}" for tick in _LOG_TICKS]
        axis["ticksuffix"] = ""
    return axis


def hover_template(unit: Unit) -> str:
    return {"share": "%{y:.2%}", "milliseconds": "%{y:,.2f} s"}.get(unit, "%{y:,.0f}")


def running_day(rows: pl.DataFrame, annotations: Annotations) -> tuple[list[Figure], list[Figure]]:
    """A pale band and the label "so far" on the current day, whose low counts are not a drop."""
    if annotations.today is None or "date" not in rows.columns or rows["date"].max() != annotations.today:
        return [], []
    start = f"{annotations.today - timedelta(days=1)} 12:00"
    band: Figure = {
        "type": "rect",
        "xref": "x",
        "x0": start,
        "x1": f"{annotations.today} 12:00",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
    }
    word: Figure = {
        "text": "so far",
        "xref": "x",
        "x": str(annotations.today),
        "yref": "paper",
        "y": 0.9,
        "yanchor": "middle",
    }
    return (
        [band | {"fillcolor": "rgba(140,147,158,0.13)", "line": {"width": 0}, "layer": "below"}],
        [word | {"showarrow": False, "font": {"size": 10}}],
    )


def mark_incidents(
    tile: Tile, annotations: Annotations, data: list[Figure], shapes: list[Figure], layout: Figure
) -> None:
    """Adds alerts as triangles at the top of the chart, on the UTC day of their start."""
    if not tile.incidents or annotations.incidents is None or annotations.incidents.is_empty():
        return
    days = annotations.incidents.group_by(pl.col("since").dt.date().alias("day")).agg(
        pl.concat_str([pl.col("rule_id"), pl.lit(" · "), pl.col("capability").str.slice(0, 40)]).unique().sort().head(6)
    )
    x = [str(day) for day in days["day"].to_list()]
    text = ["<br>".join(_escaped(name) for name in names) for names in days["rule_id"].to_list()]
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
    """`text` escaped for Plotly, which renders some HTML in texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def compact(value: float) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.1f}{unit}" if scaled < 100 else f"{scaled:.0f}{unit}"
    return f"{value:,.0f}"
