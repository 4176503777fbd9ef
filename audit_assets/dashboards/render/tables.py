"""Table tiles: plain HTML with paging, highlighted cells, and links at the end of each row."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from dash import html

from audit_assets.dashboards.definition.model import Highlight, RowLink, Source
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.markup import attributes
from audit_assets.text import formatting

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
