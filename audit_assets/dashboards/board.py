"""A page of the dashboards for one scope: every tile on its own, so that one that fails leaves the others whole."""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from dash import html

from audit_assets.dashboards import cards, words
from audit_assets.dashboards.addresses import Addresses
from audit_assets.dashboards.charts import draw
from audit_assets.dashboards.colours import assigned
from audit_assets.dashboards.controls import address, controls
from audit_assets.dashboards.definition import Definition, Page, Source, Tile
from audit_assets.dashboards.markup import attributes
from audit_assets.dashboards.plotting import Marks, legend_of
from audit_assets.dashboards.query import Query, options_query, select, tile_query
from audit_assets.dashboards.reader import Reader, ReadError
from audit_assets.dashboards.scope import Scope, Span, read_scope
from audit_assets.dashboards.tables import PAGE, table
from audit_assets.warehouse.snapshot import NOTHING_PUBLISHED

_LOG = logging.getLogger(__name__)

# Where the options of a filter come from.
_OPTIONS = {
    "capability": ("daily", "capability"),
    "provider": ("daily", "provider"),
    "team": ("known_workspaces", "team"),
    "owner": ("known_workspaces", "owner"),
}
_ACTIVITY = ("active", "inactive 7d")
Asked = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Board:
    """What pages are made of: their definition, where rows come from, where links lead."""

    definition: Definition
    reader: Reader
    addresses: Addresses

    def render(self, page: Page, path: str, asked: Asked, now: datetime) -> Any:
        """The page's content for an address, as of `now` (UTC)."""
        scope, told = read_scope(asked, now)
        freshness = self.reader.freshness()
        title = html.H1(page.title)
        if freshness is None:
            text = f"{NOTHING_PUBLISHED.capitalize()}."
            return html.Main(
                [html.Div([title], className="top"), html.P(text, className="empty", role="status")], className="board"
            )
        with ThreadPoolExecutor(self.reader.at_once) as pool:
            asked_options = pool.submit(self._options, page, scope)
            marks = self._marks(page, scope)
            options = asked_options.result()
            tiles = {
                tile.id: pool.submit(self._tile, page, tile, path, scope, marks, asked)
                for row in page.rows
                for tile in row
            }
        unknown = [
            f"{name}: no {words.shortened(value)} in this range"
            for name, values in options.items()
            for value in scope.chosen(name)
            if value not in values
        ]
        notices = [html.Li(one) for one in [*told, *unknown]]
        rows = [html.Div([tiles[tile.id].result() for tile in row], className="row-of-tiles") for row in page.rows]
        top = html.Div([title, cards.freshness_line(freshness, now)], className="top")
        bar = controls(path, scope, {name: options.get(name, ()) for name in page.filters})
        range_, published = words.days(scope.first, scope.last), words.instant(freshness.published_at)
        foot = f"{range_}, UTC days · as of {words.instant(now)} · published {published}"
        links = [html.A("Dagster", href=self.addresses.dagster)] if self.addresses.dagster else []
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

    def rows(self, tile: Tile, asked: Asked, now: datetime) -> pl.DataFrame:
        """What a tile shows, as a frame: for the table beside a chart and for files. Raises ReadError."""
        scope, _ = read_scope(asked, now)
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

    def _marks(self, page: Page, scope: Scope) -> Marks:
        colours: dict[str, str] = {}
        incidents = None
        try:
            for names in (_PROVIDERS, _CAPABILITIES):
                colours |= assigned(self.reader.read(names)["name"].to_list())
            if any(tile.incidents for tile in page.tiles):
                source = self.definition.source("incidents")
                columns = ("since", "rule_id", "capability")
                incidents = self.reader.read(
                    select(source, columns, (), scope, scope.span("range"), self.reader.engine)
                )
        except ReadError as error:
            _LOG.warning("charts are without marks: %s", error)
        return Marks(colours, incidents, scope.query("capability"), scope.now.date())

    def _tile(self, page: Page, tile: Tile, path: str, scope: Scope, marks: Marks, asked: Asked) -> Any:
        source = self.definition.source(tile.source)
        try:
            body = self._body(page, tile, source, path, scope, marks, asked)
        except ReadError as error:
            body = _unavailable(str(error))
        except Exception as error:  # noqa: BLE001 - one failing chart must not blank the page
            _LOG.exception("%s cannot be drawn", tile.id)
            body = _unavailable(f"{type(error).__name__}: {error}")
        ignored = [name for name in page.filters if scope.chosen(name) and name not in source.answers_to]
        if ignored and tile.show != "gauge":
            body.append(html.P(f"not narrowed by {' and '.join(ignored)}", className="narrowed"))
        heading = html.H2(self._title(tile, scope), id=f"{tile.id}-title")
        what = html.Button(
            ["?", html.Span(tile.help)], className="help", type="button", **attributes({"aria-label": tile.help})
        )
        query = scope.query()
        data = html.A(
            "Data",
            href=f"/data/{tile.id}{'?' if query else ''}{query}",
            className="more",
            target="_blank",
            **attributes({"aria-label": f"Data of {tile.title}"}),
        )
        return html.Section(
            [html.Header([heading, what, data]), *body],
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
        self, page: Page, tile: Tile, source: Source, path: str, scope: Scope, marks: Marks, asked: Asked
    ) -> list[Any]:
        if tile.show == "kpi":
            return cards.kpi(tile, source, self._kpi(page, tile, source, scope))
        rows = self._read(tile, source, scope)
        if tile.show == "gauge":
            return cards.gauge(tile, rows.item() if len(rows) else None, scope.now)
        if _is_empty(tile, rows):
            return [
                html.Div(
                    [html.Strong("Nothing in this range"), html.Span("Choose a longer one, or fewer filters.")],
                    className="empty",
                )
            ]
        if tile.show == "table":
            return self._table(tile, source, rows, path, scope, asked)
        said = f"{tile.title}: {tile.help} {_in_words(tile, source, rows)}"
        drawn = draw(tile, source, rows, marks)
        names = [
            html.Li([html.Span(className="swatch", style={"background": colour}), html.Bdi(name)])
            for name, colour in legend_of(drawn)
        ]
        drawn["layout"]["showlegend"] = False
        figure = json.dumps(drawn, default=str, separators=(",", ":"))
        # Drawn by the page's script, what is in sight first; dcc.Graph draws all before anything is seen.
        chart = html.Div(className="chart", role="img", **attributes({"aria-label": said, "data-figure": figure}))
        return [*([html.Ul(names, className="legend")] if names else []), chart]

    def _kpi(self, page: Page, tile: Tile, source: Source, scope: Scope) -> cards.Kpi:
        of_tile = (tile.source, tile.window, tile.where)
        span, engine = scope.span(tile.window), self.reader.engine
        # All figures of a source and a window in one query, which the reader answers once.
        like = (one for one in page.tiles if one.show == "kpi" and (one.source, one.window, one.where) == of_tile)
        figures = tuple(dict.fromkeys(name for one in like for name in (*one.measures, *one.also)))
        now, before = (
            self.reader.read(select(source, (), figures, scope, one, engine, tile)) for one in (span, span.before)
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
        self, tile: Tile, source: Source, rows: pl.DataFrame, path: str, scope: Scope, asked: Asked
    ) -> list[Any]:
        pages = max(1, -(-len(rows) // PAGE))
        wanted = asked.get(tile.id, "1")
        shown = (
            min(int(wanted) if isinstance(wanted, str) and wanted.isdecimal() and len(wanted) < 6 else 1, pages) or 1
        )
        some = rows.slice((shown - 1) * PAGE, PAGE)
        body: list[Any] = [
            table(tile.title, source, tile.measures, some, self.addresses, tile.row_links, tile.highlight)
        ]
        if pages > 1:
            there = address(path, scope)
            join = "&" if "?" in there else "?"
            links = [
                html.A(label, href=f"{there}{join}{tile.id}={number}#{tile.id}")
                for label, number in (("‹ Previous", shown - 1), ("Next ›", shown + 1))
                if 1 <= number <= pages
            ]
            said = f"{(shown - 1) * PAGE + 1:,} to {(shown - 1) * PAGE + len(some):,} of {len(rows):,}"
            body.append(html.Div([html.Span(said), *links], className="pager"))
        return body


# Names in the order in which they came into the world.
_CAPABILITIES = Query(
    "select capability as name from analytics.ai_audit_capabilities where environment = 'live' "
    "order by first_seen_at, capability",
    tables=("ai_audit_capabilities",),
)
_PROVIDERS = Query(
    "select provider as name from analytics.ai_audit_daily group by provider order by min(date), provider",
    tables=("ai_audit_daily",),
)


def _unavailable(why: str) -> list[Any]:
    return [
        html.Div([html.Strong("Unavailable"), html.Code(words.shortened(why, 240))], className="broken", role="alert")
    ]


def _is_empty(tile: Tile, rows: pl.DataFrame) -> bool:
    if rows.is_empty():
        return True
    return tile.show == "funnel" and not rows[tile.measures[0]].item()


def _in_words(tile: Tile, source: Source, rows: pl.DataFrame) -> str:
    """The chart in a sentence, for who hears it."""
    figure = tile.measures[0] if tile.measures else None
    if figure is None or figure not in rows.columns or not rows.schema[figure].is_numeric():
        return f"{len(rows):,} points."
    values = rows[figure].drop_nulls()
    if values.is_empty():
        return "No values."
    unit = source.unit(figure)
    low, high = words.figure(values.min(), unit), words.figure(values.max(), unit)  # type: ignore[arg-type]
    return f"{len(rows):,} values of {source.heading(figure).lower()}, from {low} to {high}. The link Data lists them."
