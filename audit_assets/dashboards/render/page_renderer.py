"""Renders a dashboard page in one scope. Each tile is rendered separately, so that a failing tile affects no other."""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from dash import html

from audit_assets.dashboards.definition.model import Definition, Page, Source, Tile
from audit_assets.dashboards.query.reader import Reader, ReadError
from audit_assets.dashboards.query.scope import Scope, Span, read_scope
from audit_assets.dashboards.query.sql import Query, options_query, select, tile_query
from audit_assets.dashboards.render import cards
from audit_assets.dashboards.render.cards import PAGE, table
from audit_assets.dashboards.render.charts import draw
from audit_assets.dashboards.render.controls import attributes, controls, page_url
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.plotting import Annotations, assign_colors, legend_entries
from audit_assets.text import formatting
from audit_assets.warehouse.snapshot import NOTHING_PUBLISHED

_LOG = logging.getLogger(__name__)

# Filter → the source and column of its options.
_OPTIONS = {
    "capability": ("daily", "capability"),
    "provider": ("provider_days", "provider"),
    "team": ("known_workspaces", "team"),
    "owner": ("known_workspaces", "owner"),
}
_ACTIVITY = ("active", "inactive 7d")
QueryArgs = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class PageRenderer:
    """Renders pages from their definition, a reader for the rows, and the URLs of external links."""

    definition: Definition
    reader: Reader
    links: Links

    def render(self, page: Page, path: str, args: QueryArgs, now: datetime) -> Any:
        """The content of `page` for the query string `args`, as of `now` (UTC)."""
        scope, scope_notices = read_scope(args, now)
        freshness = self.reader.freshness()
        title = html.H1(page.title)
        if freshness is None:
            text = f"{NOTHING_PUBLISHED.capitalize()}."
            return html.Main(
                [html.Div([title], className="top"), html.P(text, className="empty", role="status")], className="board"
            )
        with ThreadPoolExecutor(self.reader.max_concurrency) as pool:
            options_future = pool.submit(self._options, page, scope)
            annotations = self._annotations(page, scope)
            options = options_future.result()
            tiles = {
                tile.id: pool.submit(self._tile, page, tile, path, scope, annotations, args)
                for row in page.rows
                for tile in row
            }
        unknown = [
            f"{name.capitalize()} “{formatting.shortened(value)}” has no data in this range."
            for name, values in options.items()
            for value in scope.chosen(name)
            if value not in values
        ]
        notices = [html.Li(notice) for notice in [*scope_notices, *unknown]]
        rows = [html.Div([tiles[tile.id].result() for tile in row], className="row-of-tiles") for row in page.rows]
        top = html.Div([title, cards.freshness_line(freshness, now)], className="top")
        bar = controls(path, scope, {name: options.get(name, ()) for name in page.filters})
        range_, published = formatting.days(scope.first, scope.last), formatting.instant(freshness.published_at)
        foot = f"{range_} (UTC days) · as of {formatting.instant(now)} · published {published}"
        links = [html.A("Dagster", href=self.links.dagster)] if self.links.dagster else []
        return html.Main(
            [
                top,
                bar,
                html.Ul(notices, className="notices", role="status") if notices else None,
                *rows,
                html.Footer([html.Span(foot), *links], className="foot"),
            ],
            className="board",
        )

    def rows(self, tile: Tile, args: QueryArgs, now: datetime) -> pl.DataFrame:
        """The rows of a tile, for its data page and CSV file. Raises ReadError."""
        scope, _ = read_scope(args, now)
        return self._read(tile, self.definition.source(tile.source), scope)

    def _read(self, tile: Tile, source: Source, scope: Scope, span: Span | None = None) -> pl.DataFrame:
        return self.reader.read(tile_query(tile, source, scope, span, self.reader.engine))

    def _options(self, page: Page, scope: Scope) -> dict[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = {}
        for name in page.filters:
            if name == "activity":
                found[name] = _ACTIVITY
            if name not in _OPTIONS:
                continue
            source, column = _OPTIONS[name]
            try:
                found[name] = self.reader.read(
                    options_query(self.definition.source(source), column, scope, engine=self.reader.engine)
                )[column].to_list()
            except ReadError as error:
                _LOG.warning("no options for %s: %s", name, error)
        return found

    def _annotations(self, page: Page, scope: Scope) -> Annotations:
        colors: dict[str, str] = {}
        incidents = None
        try:
            for names in (_PROVIDERS, _CAPABILITIES):
                colors |= assign_colors(self.reader.read(names)["name"].to_list())
            if any(tile.incidents for tile in page.tiles):
                source = self.definition.source("incidents")
                columns = ("since", "rule_id", "capability")
                incidents = self.reader.read(
                    select(source, columns, (), scope, scope.span("range"), self.reader.engine)
                )
        except ReadError as error:
            _LOG.warning("charts have no annotations: %s", error)
        return Annotations(colors, incidents, scope.query("capability"), scope.now.date())

    def _tile(self, page: Page, tile: Tile, path: str, scope: Scope, annotations: Annotations, args: QueryArgs) -> Any:
        source = self.definition.source(tile.source)
        try:
            body = self._body(page, tile, source, path, scope, annotations, args)
        except ReadError as error:
            body = _unavailable(str(error))
        except Exception as error:  # noqa: BLE001 - one failing chart must not blank the page
            _LOG.exception("%s cannot be drawn", tile.id)
            body = _unavailable(f"{type(error).__name__}: {error}")
        ignored = [name for name in page.filters if scope.chosen(name) and name not in source.supported_filters]
        if ignored and tile.show != "gauge":
            body.append(html.P(f"Not filtered by {' or '.join(ignored)}", className="narrowed"))
        heading = html.H2(self._title(tile, scope), id=f"{tile.id}-title")
        help_button = html.Button(
            ["?", html.Span(tile.help)], className="help", type="button", **attributes({"aria-label": tile.help})
        )
        query = scope.query()
        data = html.A(
            "Data",
            href=f"/data/{tile.id}{'?' if query else ''}{query}",
            className="more",
            target="_blank",
            **attributes({"aria-label": f"Data: {tile.title}"}),
        )
        return html.Section(
            [html.Header([heading, help_button, data]), *body],
            className=f"tile w{tile.width} show-{tile.show}",
            id=tile.id,
            **attributes({"aria-labelledby": f"{tile.id}-title"}),
        )

    def _title(self, tile: Tile, scope: Scope) -> Any:
        if tile.link is None or "{window}" not in tile.link:
            return tile.title
        span = scope.span(tile.window)
        return html.A(
            tile.title, href=tile.link.replace("{window}", f"from={span.first}&to={min(span.last, scope.now.date())}")
        )

    def _body(
        self, page: Page, tile: Tile, source: Source, path: str, scope: Scope, annotations: Annotations, args: QueryArgs
    ) -> list[Any]:
        if tile.show == "kpi":
            return cards.kpi(tile, source, self._kpi(page, tile, source, scope))
        rows = self._read(tile, source, scope)
        if tile.show == "gauge":
            return cards.gauge(tile, rows.item() if len(rows) else None, scope.now)
        if _is_empty(tile, rows):
            return [
                html.Div(
                    [html.Strong("No data in this range"), html.Span("Try a longer time range or fewer filters.")],
                    className="empty",
                )
            ]
        if tile.show == "table":
            return self._table(tile, source, rows, path, scope, args)
        summary = f"{tile.title}: {tile.help} {_in_words(tile, source, rows)}"
        drawn = draw(tile, source, rows, annotations)
        names = [
            html.Li([html.Span(className="swatch", style={"background": color}), html.Bdi(name)])
            for name, color in legend_entries(drawn)
        ]
        drawn["layout"]["showlegend"] = False
        figure = json.dumps(drawn, default=str, separators=(",", ":"))
        # Drawn by the page's script, visible charts first; dcc.Graph would draw all charts before showing any.
        chart = html.Div(className="chart", role="img", **attributes({"aria-label": summary, "data-figure": figure}))
        return [*([html.Ul(names, className="legend")] if names else []), chart]

    def _kpi(self, page: Page, tile: Tile, source: Source, scope: Scope) -> cards.Kpi:
        of_tile = (tile.source, tile.window, tile.where)
        span, engine = scope.span(tile.window), self.reader.engine
        # All figures of a source and a window are one query, which the reader runs once.
        kpis = (other for other in page.tiles if other.show == "kpi")
        same_rows = (other for other in kpis if (other.source, other.window, other.where) == of_tile)
        figures = tuple(dict.fromkeys(name for other in same_rows for name in (*other.measures, *other.also)))
        now, before = (
            self.reader.read(select(source, (), figures, scope, period, engine, tile)) for period in (span, span.before)
        )
        days: list[float | None] = []
        if tile.spark is not None:
            spark = self.definition.source(tile.spark.source)
            found = self.reader.read(
                select(spark, ("date",), (tile.spark.measure,), scope, scope.span("range"), self.reader.engine)
            )
            days = found[tile.spark.measure].to_list()
        names: list[str] = []
        if tile.names is not None:
            named = tile.model_copy(
                update={"where": tile.names_where, "show": "table", "measures": (tile.names,), "also": ()}
            )
            names = self._read(named, source, scope)[tile.names].unique().sort().to_list()
        figure, *also = (now[name].item() for name in (*tile.measures, *tile.also))
        return cards.Kpi(figure, before[tile.measures[0]].item(), also, days, names)

    def _table(
        self, tile: Tile, source: Source, rows: pl.DataFrame, path: str, scope: Scope, args: QueryArgs
    ) -> list[Any]:
        pages = max(1, -(-len(rows) // PAGE))
        wanted = args.get(tile.id, "1")
        current = (
            min(int(wanted) if isinstance(wanted, str) and wanted.isdecimal() and len(wanted) < 6 else 1, pages) or 1
        )
        some = rows.slice((current - 1) * PAGE, PAGE)
        body: list[Any] = [table(tile.title, source, tile.measures, some, self.links, tile.row_links, tile.highlight)]
        if pages > 1:
            there = page_url(path, scope)
            join = "&" if "?" in there else "?"
            links = [
                html.A(label, href=f"{there}{join}{tile.id}={number}#{tile.id}")
                for label, number in (("‹ Previous", current - 1), ("Next ›", current + 1))
                if 1 <= number <= pages
            ]
            summary = f"{(current - 1) * PAGE + 1:,} to {(current - 1) * PAGE + len(some):,} of {len(rows):,}"
            body.append(html.Div([html.Span(summary), *links], className="pager"))
        return body


# Names in order of first appearance.
_CAPABILITIES = Query(
    "select capability as name from analytics.ai_audit_capabilities where environment = 'live' "
    "order by first_seen_at, capability",
    tables=("ai_audit_capabilities",),
)
_PROVIDERS = Query(
    "select provider as name from analytics.ai_audit_daily group by provider order by min(date), provider",
    tables=("ai_audit_daily",),
)


def _unavailable(reason: str) -> list[Any]:
    return [
        html.Div(
            [html.Strong("Unavailable"), html.Code(formatting.shortened(reason, 240))],
            className="broken",
            role="alert",
        )
    ]


def _is_empty(tile: Tile, rows: pl.DataFrame) -> bool:
    if rows.is_empty():
        return True
    return tile.show == "funnel" and not rows[tile.measures[0]].item()


def _in_words(tile: Tile, source: Source, rows: pl.DataFrame) -> str:
    """A summary of the chart for screen readers."""
    figure = tile.measures[0] if tile.measures else None
    if figure is None or figure not in rows.columns or not rows.schema[figure].is_numeric():
        return f"{len(rows):,} points."
    values = rows[figure].drop_nulls()
    if values.is_empty():
        return "No values."
    unit = source.unit(figure)
    low, high = formatting.figure(values.min(), unit), formatting.figure(values.max(), unit)  # type: ignore[arg-type]
    heading = source.heading(figure).lower()
    return f"{len(rows):,} values of {heading}, from {low} to {high}. The Data link lists them."
