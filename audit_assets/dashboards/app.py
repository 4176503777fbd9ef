"""The dashboards as a Vizro app: its shell around our pages, readable addresses, and small answers."""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import flask
import vizro.models as vm
from dash import html
from dash.development.base_component import ComponentRegistry
from vizro import Vizro

from audit_assets.dashboards import words
from audit_assets.dashboards.board import Asked, Board
from audit_assets.dashboards.compression import compress_answers
from audit_assets.dashboards.load import TABS
from audit_assets.dashboards.plotly_script import plotly_script
from audit_assets.dashboards.reader import ReadError

TITLE = "AI Copilot · Observability"
BROWSER = Path(__file__).parent / "browser"

# Libraries of components that the pages do not use; each would be sent to every browser.
_UNUSED = ("dash_mantine_components", "dash_ag_grid", "vizro_dash_components", "dash_table")

# What is asked of the page that is being built: Vizro hands its components no address.
_ASKED: ContextVar[Asked] = ContextVar("asked", default={})


class Content(vm.VizroBaseModel):
    """All tiles of one page, built for the address that is asked."""

    type: Literal["content"] = "content"
    page: str

    def build(self) -> Any:
        board: Board = _BOARDS[self.page]
        page = board.definition.page(self.page)
        assert page is not None
        return board.render(page, path_of(self.page), _ASKED.get(), datetime.now(UTC))


_BOARDS: dict[str, Board] = {}


class Sheet(vm.Page):
    """Vizro's page without its place for notifications: nothing here notifies, and it would bring Mantine."""

    def build(self) -> Any:
        built = super().build()
        tiles = built["page-components"]
        tiles.children = [child for child in tiles.children if child._namespace not in _UNUSED]
        return built


class Shell(vm.Dashboard):
    """Vizro's dashboard without what the pages do not need: its state is the address."""

    def build(self) -> Any:
        return html.Div(super().build().children)  # without the Mantine provider, a megabyte of script

    def _make_page_layout(self, page: vm.Page, **asked: Any) -> Any:
        with _asking(asked):
            return super()._make_page_layout(page)

    def _build_header_controls(self, has_page_controls: bool, control_panel_hidden: bool) -> html.Div:
        controls = super()._build_header_controls(has_page_controls, control_panel_hidden)
        toggle = next(child for child in controls.children if getattr(child, "id", "") == "theme-toggle")
        toggle.children = html.Span("◐", style={"fontSize": "1.25rem", "color": "var(--text)"})
        return controls


@contextmanager
def _asking(asked: Asked) -> Iterator[None]:
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)


def path_of(page: str) -> str:
    """The address of a page. Vizro has the first at the root."""
    return "/" if page == TABS[0] else f"/{page.replace('_', '-')}"


def make_app(board: Board, cache: Path) -> flask.Flask:
    """The dashboards as a WSGI application; compressed scripts are kept in `cache`."""
    Vizro._reset()
    Sheet.add_type("components", Content)
    _BOARDS.update({page.page: board for page in board.definition.pages})
    pages = [
        Sheet(id=page.page, title=page.title, path=path_of(page.page), components=[Content(page=page.page)])
        for page in board.definition.pages
    ]
    tabs = vm.Navigation(nav_selector=vm.NavBar(pages={page.title: [page.id] for page in pages if page.id in TABS}, position="top"))
    for library in _UNUSED:
        with suppress(ValueError):  # where nothing imported it
            ComponentRegistry.registry.discard(library)
    app = Vizro(assets_folder=str(BROWSER), update_title=None)
    app.build(Shell(title=TITLE, pages=pages, navigation=tabs, theme="vizro_light"))
    app.dash.index_string = app.dash.index_string.replace("<html", "<html lang='en'", 1)
    server: flask.Flask = app.dash.server
    plotly_script(app.dash)
    _add_addresses(server, board)
    compress_answers(server, cache)
    return server


def _add_addresses(server: flask.Flask, board: Board) -> None:
    """Addresses beside the pages': those that others know, and the rows behind each tile."""

    def to_overview() -> Any:
        query = urlencode(list(flask.request.args.items(multi=True)))
        return flask.redirect(f"/?{query}" if query else "/")

    for path in ("/overview", "/audit-overview"):
        server.add_url_rule(path, path, to_overview)
    server.add_url_rule("/data/<tile_id>", "data", _data(board, _as_page))
    server.add_url_rule("/data/<tile_id>.csv", "csv", _data(board, _as_csv))
    server.add_url_rule("/healthz", "healthz", lambda: ({"ok": board.reader.freshness() is not None}, 200))


def _data(board: Board, answer: Callable[..., Any]) -> Callable[[str], Any]:
    def view(tile_id: str) -> Any:
        tile = next((tile for _, tile in board.definition.tiles if tile.id == tile_id), None)
        if tile is None:
            return flask.Response(f"no tile {words.shortened(tile_id, 20)}", 404, mimetype="text/plain")
        asked = {name: flask.request.args.getlist(name) for name in flask.request.args}
        try:
            rows = board.rows(tile, asked, datetime.now(UTC))
        except ReadError as error:
            return flask.Response(str(error), 503, mimetype="text/plain")
        return answer(tile, board.definition.source(tile.source), rows)

    return view


def _as_csv(tile: Any, source: Any, rows: Any) -> flask.Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(rows.columns)
    writer.writerows([_harmless(value) for value in row] for row in rows.iter_rows())
    named = {"Content-Disposition": f"attachment; filename={tile.id}.csv"}
    return flask.Response(text.getvalue(), mimetype="text/csv", headers=named)


def _harmless(value: Any) -> Any:
    """A spreadsheet takes a text that begins so for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value


_DATA_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ tile.title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 24px; color-scheme: light dark; }
table { border-collapse: collapse; } th, td { padding: 4px 12px; border-bottom: 1px solid #8886; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }</style></head><body><main>
<h1>{{ tile.title }}</h1><p>{{ tile.help }}</p>
<p><a href="/data/{{ tile.id }}.csv?{{ query }}">As a file</a> · {{ rows|length }} rows · times are UTC</p>
<table><thead><tr>{% for name in names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>{% for value, kind in row %}<td class="{{ kind }}"><bdi>{{ value }}</bdi></td>{% endfor %}</tr>
{% endfor %}</tbody></table></main></body></html>"""


def _as_page(tile: Any, source: Any, rows: Any) -> str:
    names = [source.heading(name) for name in rows.columns]
    units = [source.unit(name) for name in rows.columns]
    shown = [
        [
            (words.figure(value, unit), "number" if isinstance(value, int | float) else "")
            for value, unit in zip(row, units, strict=True)
        ]
        for row in rows.iter_rows()
    ]
    query = flask.request.query_string.decode()
    return flask.render_template_string(_DATA_PAGE, tile=tile, names=names, rows=shown, query=query)
