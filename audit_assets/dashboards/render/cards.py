"""Tiles in HTML: a figure with its change and sparkline, the freshness of the data, and tables with paging, highlighted
cells, and links at the end of each row."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from dash import html

from audit_assets.dashboards.definition.model import Highlight, RowLink, Source, Tile
from audit_assets.dashboards.query.reader import Freshness
from audit_assets.dashboards.render.controls import attributes
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.plotting import BAD, GOOD, VALUE
from audit_assets.text import formatting
from audit_assets.text.formatting import Unit

_PREVIOUS = {
    "24h": "in the previous 24 h",
    "7d": "in the previous 7 days",
    "2d": "in the previous 2 days",
    "14d": "in the previous 14 days",
}
_PERIODS = {"24h": "24 h", "7d": "7 days", "2d": "2 UTC days", "14d": "14 days"}
_FRESH, _STALE = 300, 3600  # seconds: the target, and the age from which the line is red

PAGE = 25
_STATES = {
    "spike": "warn",
    "drop": "warn",
    "firing": "bad",
    "recovering": "warn",
    "error": "bad",
    "critical": "bad",
    "high": "bad",
}


@dataclass(frozen=True)
class Kpi:
    """A figure in its window and in the preceding one, secondary figures, a value per UTC day, and names to list."""

    value: Any
    before: Any
    also: Sequence[Any] = ()
    days: Sequence[float | None] = ()
    names: Sequence[str] = ()


def kpi(tile: Tile, source: Source, found: Kpi) -> list[Any]:
    """The body of a KPI tile."""
    figure = tile.measures[0]
    unit = source.unit(figure)
    beside = ""
    if tile.also and found.also:
        beside = f"{formatting.figure(found.also[0], source.unit(tile.also[0]))} {source.heading(tile.also[0]).lower()}"
    tooltip = " · ".join(
        f"{source.heading(name)}: {formatting.figure(value, source.unit(name))}"
        for name, value in zip(tile.also[1:], found.also[1:], strict=False)
    )
    number = html.Div(
        [
            html.Span(formatting.figure(found.value, unit), className="kpi-value", title=tooltip or None),
            html.Span(f"in {_PERIODS[tile.window]}", className="kpi-within"),
            *_badge(tile, found.value),
        ],
        className="kpi-number",
    )
    below = [html.Span(beside, className="kpi-beside", title=tooltip or None)] if beside else []
    if tile.names is not None:
        below += [html.Span(_named(found.names), className="kpi-names")]
    else:
        below = [*_change(tile, unit, found), *below]
    return [number, html.Div(below, className="kpi-below"), *_spark(found.days)]


def _badge(tile: Tile, value: float | None) -> list[Any]:
    if tile.target is None or value is None:
        return []
    kept = value <= tile.target.at_most
    label = "on target" if kept else "above target"
    return [html.Span(label, className=f"badge {'badge-good' if kept else 'badge-bad'}", title=tile.target.label)]


def _change(tile: Tile, unit: Unit, found: Kpi) -> list[Any]:
    change = formatting.change(found.value, found.before)
    if change is None:
        return [html.Span(f"no data {_PREVIOUS[tile.window]}", className="kpi-before")]
    arrow = "▲" if change > 0.05 else "▼" if change < -0.05 else "±"
    kind = "flat"
    if tile.good is not None and abs(change) > 0.05:
        kind = "good" if (change > 0) == (tile.good == "up") else "bad"
    return [
        html.Span(f"{arrow} {abs(change):,.1f} %", className=f"kpi-change {kind}"),
        html.Span(f"vs {formatting.figure(found.before, unit)} {_PREVIOUS[tile.window]}", className="kpi-before"),
    ]


def _named(names: Sequence[str]) -> str:
    if not names:
        return "none"
    listed = ", ".join(formatting.shortened(name, 28) for name in names[:3])
    return f"{listed} and {len(names) - 3} more" if len(names) > 3 else listed


def _spark(days: Sequence[float | None]) -> list[Any]:
    """The sparkline: the figure per UTC day as an image. The chart below shows the same data in detail."""
    values = [0.0 if value is None else float(value) for value in days]
    if len(values) < 2:
        return []
    lowest, highest = min(values), max(values)
    reach = (highest - lowest) or 1.0
    points = " ".join(
        f"{100 * number / (len(values) - 1):.1f},{27 - 24 * (value - lowest) / reach:.1f}"
        for number, value in enumerate(values)
    )
    drawn = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 100 30' preserveAspectRatio='none'>"
        f"<polygon points='0,30 {points} 100,30' fill='{VALUE}' fill-opacity='.14'/>"
        f"<polyline points='{points}' fill='none' stroke='{VALUE}' stroke-width='1.6'"
        " vector-effect='non-scaling-stroke'/>"
        "</svg>"
    )
    data_url = f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
    return [html.Img(src=data_url, alt="", className="spark")]


def freshness_line(freshness: Freshness, now: datetime) -> Any:
    """A line with the age of the data at `now` (UTC), from which the page's script counts on."""
    synced = freshness.last_synced_at
    if synced is None:
        return html.P("No data synced yet. Run `audit sync` to load data.", className="freshness", role="status")
    seconds = (now - synced).total_seconds()
    kind = "fresh" if seconds <= _FRESH else "late" if seconds <= _STALE else "stale"
    notes = {"fresh": "", "late": " · above target", "stale": " · stale: the sync is not running"}
    limits = {"data-fresh": str(_FRESH), "data-stale": str(_STALE), "data-notes": json.dumps(notes)}
    return html.P(
        [
            html.Span(className="dot", **attributes({"aria-hidden": "true"})),
            html.Strong(["Data ", html.Span(formatting.age(now - synced), className="age"), " old"]),
            html.Span(f"target under 5 min · synced {formatting.instant(synced)}"),
            html.Span(notes[kind], className="note"),
        ],
        className=f"freshness {kind}",
        **attributes({"data-synced": synced.isoformat(), "data-now": now.isoformat(), **limits}),
    )


def gauge(tile: Tile, synced: datetime | None, now: datetime) -> list[Any]:
    """The age of the newest sync compared with its target, as a bar."""
    assert tile.target is not None
    if synced is None:
        return [html.P("No data synced yet. Run `audit sync` to load data.", className="empty")]
    seconds = (now - synced).total_seconds()
    share = min(seconds / (2 * tile.target.at_most), 1)
    kept = seconds <= tile.target.at_most
    bar = html.Div(
        [
            html.Div(
                className="gauge-value", style={"width": f"{100 * share:.1f}%", "background": GOOD if kept else BAD}
            ),
            html.Div(className="gauge-target"),
        ],
        className="gauge",
        role="img",
        **attributes({"aria-label": f"{formatting.age(now - synced)} old, {tile.target.label}"}),
    )
    badge = html.Span("on target" if kept else "late", className=f"badge {'badge-good' if kept else 'badge-bad'}")
    number = html.Div(
        [
            html.Span(formatting.age(now - synced), className="kpi-value age"),
            html.Span("old", className="kpi-within"),
            badge,
        ],
        className="kpi-number",
        **attributes({"data-synced": synced.isoformat(), "data-now": now.isoformat()}),
    )
    return [
        number,
        bar,
        html.Div([html.Span("0"), html.Span(tile.target.label), html.Span("10 min")], className="gauge-scale"),
        html.P(f"Last sync: {formatting.instant(synced)}", className="kpi-below"),
    ]


def table(
    title: str,
    source: Source,
    columns: Sequence[str],
    rows: pl.DataFrame,
    links: Links,
    row_links: Sequence[RowLink] = (),
    highlight: Highlight | None = None,
) -> Any:
    """The rows as a table with one heading per column."""
    numbers = [source.columns[name].type == "number" for name in columns]
    urls = [(link, [links.of_row(link, row) for row in rows.iter_rows(named=True)]) for link in row_links]
    urls = [(link, hrefs) for link, hrefs in urls if any(hrefs) or not hrefs]
    head = [
        html.Th(source.heading(name), scope="col", className="number" if number else None)
        for name, number in zip(columns, numbers, strict=True)
    ]
    if urls:
        head.append(html.Th("Links", scope="col"))
    body: list[Any] = []
    for index, row in enumerate(rows.iter_rows(named=True)):
        cells = [
            _cell(source, name, row[name], number, highlight) for name, number in zip(columns, numbers, strict=True)
        ]
        if urls:
            cells.append(html.Td(_links([(link.label, hrefs[index]) for link, hrefs in urls]), className="links"))
        body.append(html.Tr(cells))
    return html.Div(
        html.Table([html.Caption(title, className="unseen"), html.Thead(html.Tr(head)), html.Tbody(body)]),
        className="table-frame",
        tabIndex=0,
        role="region",
        **attributes({"aria-label": title}),
    )


def _cell(source: Source, name: str, value: Any, number: bool, highlight: Highlight | None) -> Any:
    column = source.columns[name]
    text = formatting.cell(value, column.type, column.unit)
    classes = ["number"] if number else []
    if highlight is not None and highlight.column == name and value is not None:
        above = highlight.above is not None and value > highlight.above
        if above or (highlight.other_than is not None and value != highlight.other_than):
            classes.append("flagged")
    if isinstance(value, str) and value in _STATES:
        return html.Td(html.Span(text, className=f"badge badge-{_STATES[value]}"), className=" ".join(classes))
    long = len(text) > 60 or not text.isprintable()
    label = formatting.shortened(text, 60) if column.type == "text" else text
    return html.Td(
        html.Bdi(label) if column.type == "text" else label, className=" ".join(classes), title=text if long else None
    )


def _links(links: Sequence[tuple[str, str]]) -> list[Any]:
    parts: list[Any] = []
    for label, href in links:
        if href:
            parts += [html.A(label, href=href), " "]
    return parts
