"""Vizro around our pages: its head, tabs and themes, without the parts that the pages do not use."""

# pyright: basic, reportPrivateUsage=false, reportCallIssue=false, reportOptionalIterable=false
# pyright: reportArgumentType=false
# Vizro and Dash are not typed for who builds on them, and say by private names only what they send.

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dash
import vizro.models as vm
from dash import _dash_renderer, dcc, html
from dash.development.base_component import ComponentRegistry
from pydantic import PrivateAttr
from vizro import Vizro

from audit_assets.dashboards.board import Board
from audit_assets.dashboards.load import TABS, path_of
from audit_assets.dashboards.markup import attributes

TITLE = "AI Copilot · Observability"
BROWSER = Path(__file__).parent / "browser"

# Libraries of components that the pages do not use; each would be sent to every browser.
_UNUSED = (
    "dash_ag_grid",
    "dash_bootstrap_components",
    "dash_mantine_components",
    "dash_table",
    "vizro_dash_components",
)

# What is left of Vizro's own styles and scripts; the rest is for components that the pages do not use.
_KEPT = ("vizro-bootstrap.min.css", "index.css", "inter-variable-font.ttf", "dashboard.js")


class Shell(vm.Dashboard):
    """Vizro's dashboard with pages of our own: what they show follows from the address."""

    _board: Board = PrivateAttr()

    def build(self) -> Any:
        return html.Div(super().build().children)  # without the Mantine provider, a megabyte of script

    def _make_page_layout(self, page: vm.Page, **asked: Any) -> Any:
        shown = self._board.definition.page(page.id)
        assert shown is not None
        content = self._board.render(shown, path_of(page.id), asked, datetime.now(UTC))
        return html.Div([self._head(page.id), html.Div(content, id="right-side")], id=page.id)

    def _make_page_404_layout(self) -> Any:
        back = html.P([html.A("Overview", href="/"), " shows how the copilot is used."])
        said = html.Main([html.H1("This page could not be found"), back], className="board top")
        return html.Div([self._head(""), html.Div(said, id="right-side")])

    def _head(self, shown: str) -> Any:
        """Title, tabs, and what changes the theme."""
        tabs = [
            html.A(tab.title, href=path_of(tab.id), **attributes({"aria-current": "page"} if tab.id == shown else {}))
            for tab in self.pages
            if tab.id in TABS
        ]
        theme = html.Button(
            "◐",
            id="theme-toggle",
            n_clicks=0,
            type="button",
            title="Light or dark",
            **attributes({"aria-label": "Light or dark"}),
        )
        light = dcc.Store(id="theme-selector", data=self.theme == "vizro_light", storage_type="local")
        name = html.A(TITLE, href="/", id="dashboard-title")
        return html.Header([name, html.Nav(tabs, id="nav-bar"), theme, light], id="header")


def make_shell(board: Board) -> dash.Dash:
    """The pages of `board` in Vizro's shell."""
    Vizro._reset()
    for library in _UNUSED:
        with suppress(ValueError):  # where nothing imported it
            ComponentRegistry.registry.discard(library)
    pages = [
        vm.Page(id=page.page, title=page.title, path=path_of(page.page), components=[vm.Text(text=page.description)])
        for page in board.definition.pages
    ]
    tabs = {page.title: [page.id] for page in pages if page.id in TABS}
    shell = Shell(title=TITLE, pages=pages, navigation=vm.Navigation(pages=tabs), theme="vizro_light")
    shell._board = board
    app = Vizro(assets_folder=str(BROWSER), update_title=None).build(shell).dash
    for listed in (app.css, app.scripts):
        resources = listed._resources._resources
        resources[:] = [one for one in resources if _file_of(one) in _KEPT or one.get("namespace") != "vizro"]
    _without_polyfill()
    app.index_string = app.index_string.replace("<html", "<html lang='en'", 1)
    return app


def _without_polyfill() -> None:
    """For browsers older than 2018; running it takes longer than React does."""
    for kind in _dash_renderer._js_dist_dependencies[0]["relative_package_path"].values():
        kind[:] = [path for path in kind if "polyfill" not in path]


def _file_of(resource: dict[str, Any]) -> str:
    return str(resource.get("relative_package_path", "")).rpartition("/")[2]
