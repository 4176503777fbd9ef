"""Vizro around our pages: its head, tabs and themes, without the parts that the pages do not use."""

# pyright: basic, reportPrivateUsage=false, reportCallIssue=false, reportOptionalIterable=false
# pyright: reportArgumentType=false
# Vizro and Dash are not typed for who builds on them, and say by private names only what they send.

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import dash
import vizro.models as vm
from dash import html
from dash.development.base_component import ComponentRegistry
from vizro import Vizro

from audit_assets.dashboards.board import Asked, Board
from audit_assets.dashboards.load import TABS, path_of

TITLE = "AI Copilot · Observability"
BROWSER = Path(__file__).parent / "browser"

# Libraries of components that the pages do not use; each would be sent to every browser.
_UNUSED = ("dash_mantine_components", "dash_ag_grid", "vizro_dash_components", "dash_table")

# What is left of Vizro's own styles and scripts; the rest is for components that the pages do not use.
_STYLES = ("vizro-bootstrap.min.css", "index.css", "layout.css", "vizro_overwrites.css", "inter-variable-font.ttf")
_SCRIPTS = ("action.js", "dashboard.js", "page.js")

# What is asked of the page that is being built: Vizro hands its components no address.
_ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)


class Content(vm.VizroBaseModel):
    """All tiles of one page, built for the address that is asked."""

    type: Literal["content"] = "content"
    page: str

    def build(self) -> Any:
        board: Board = _BOARDS[self.page]
        page = board.definition.page(self.page)
        assert page is not None
        return board.render(page, path_of(self.page), _ASKED.get() or {}, datetime.now(UTC))


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


def make_shell(board: Board) -> dash.Dash:
    """The pages of `board` in Vizro's shell."""
    Vizro._reset()
    Sheet.add_type("components", Content)
    _BOARDS.update({page.page: board for page in board.definition.pages})
    pages = [
        Sheet(id=page.page, title=page.title, path=path_of(page.page), components=[Content(page=page.page)])
        for page in board.definition.pages
    ]
    tabs = {page.title: [page.id] for page in pages if page.id in TABS}
    navigation = vm.Navigation(nav_selector=vm.NavBar(pages=tabs, position="top"))
    for library in _UNUSED:
        with suppress(ValueError):  # where nothing imported it
            ComponentRegistry.registry.discard(library)
    app = Vizro(assets_folder=str(BROWSER), update_title=None)
    app.build(Shell(title=TITLE, pages=pages, navigation=navigation, theme="vizro_light"))
    for listed, wanted in ((app.dash.css, _STYLES), (app.dash.scripts, (*_SCRIPTS, *_STYLES))):
        resources = listed._resources._resources
        resources[:] = [one for one in resources if _file_of(one) in wanted or one.get("namespace") != "vizro"]
    app.dash.index_string = app.dash.index_string.replace("<html", "<html lang='en'", 1)
    return app.dash


def _file_of(resource: dict[str, Any]) -> str:
    return str(resource.get("relative_package_path", "")).rpartition("/")[2]
