"""The Vizro shell around the pages: header, tabs and themes, without the parts that the pages do not use, and the
Plotly script: the partial bundle with the pages' charts if npm installed it, else the full one."""

# pyright: reportPrivateUsage=false, reportCallIssue=false
# Vizro and Dash list their scripts only in private attributes, and Vizro's models hide the defaults of their fields.

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import dash
import flask
import vizro.models as vm
from dash import _dash_renderer, dcc, html
from dash.development.base_component import ComponentRegistry
from plotly.offline import get_plotlyjs_version
from pydantic import PrivateAttr
from vizro import Vizro

from audit_assets.clock import Clock
from audit_assets.dashboards.definition.load import TABS, page_path
from audit_assets.dashboards.render.controls import attributes
from audit_assets.dashboards.render.page_renderer import PageRenderer

# A third of the full bundle. `make install` installs it if npm is available.
PARTIAL = Path(sys.prefix) / "npm" / "node_modules" / "plotly.js-cartesian-dist-min" / "plotly-cartesian.min.js"

TITLE = "AI Copilot · Observability"
BROWSER = Path(__file__).parents[1] / "browser"

# Component libraries that the pages do not use. Each would be sent to every browser.
_UNUSED = (
    "dash_ag_grid",
    "dash_bootstrap_components",
    "dash_mantine_components",
    "dash_table",
    "vizro_dash_components",
)

# The styles and scripts of Vizro that the pages use; the others are for unused components.
_KEPT = ("vizro-bootstrap.min.css", "index.css", "inter-variable-font.ttf", "dashboard.js")


def plotly_script(app: dash.Dash) -> None:
    """Serves the partial bundle instead of the full one, if it is installed in the version of the Python package."""
    if (
        not PARTIAL.exists()
        or f'"version": "{get_plotlyjs_version()}"' not in (PARTIAL.parent / "package.json").read_text()
    ):
        return
    path = f"/scripts/plotly-{get_plotlyjs_version()}.js"
    script = PARTIAL.read_bytes()

    def view() -> flask.Response:
        long = {"Cache-Control": "public, max-age=31536000, immutable"}
        return flask.Response(script, mimetype="application/javascript", headers=long)

    app.server.add_url_rule(path, "plotly", view)
    scripts = cast("list[dict[str, Any]]", dcc._js_dist)
    scripts[:] = [script for script in scripts if script.get("namespace") != "plotly"]
    # The page's script adds it later: it runs longer than all other scripts together, and text need not wait for it.
    app.index_string = app.index_string.replace(
        "{%metas%}", f"{{%metas%}}<link rel='preload' as='script' href='{path}' id='plotly-script'>", 1
    )


class Shell(vm.Dashboard):
    """Vizro's dashboard with this project's pages, whose content is determined by the URL."""

    _renderer: PageRenderer = PrivateAttr()
    _clock: Clock = PrivateAttr()

    def build(self) -> Any:
        return html.Div(cast("Any", super().build()).children)  # without the Mantine provider: a megabyte of script

    def _make_page_layout(self, page: vm.Page, **args: Any) -> Any:
        definition = self._renderer.definition.page(page.id)
        assert definition is not None
        content = self._renderer.render(definition, page_path(page.id), args, self._clock())
        return html.Div([self._head(page.id), html.Div(content, id="right-side")], id=page.id)

    def _make_page_404_layout(self) -> Any:
        back = html.P(["Go to the ", html.A("Overview", href="/"), "."])
        content = html.Main([html.H1("Page not found"), back], className="board top")
        return html.Div([self._head(""), html.Div(content, id="right-side")])

    def _head(self, current: str) -> Any:
        """The header: title, tabs and theme toggle."""
        tabs = [
            html.A(
                tab.title, href=page_path(tab.id), **attributes({"aria-current": "page"} if tab.id == current else {})
            )
            for tab in self.pages
            if tab.id in TABS
        ]
        theme = html.Button(
            "◐",
            id="theme-toggle",
            n_clicks=0,
            type="button",
            title="Switch between light and dark theme",
            **attributes({"aria-label": "Switch between light and dark theme"}),
        )
        light = dcc.Store(id="theme-selector", data=self.theme == "vizro_light", storage_type="local")
        name = html.A(TITLE, href="/", id="dashboard-title")
        return html.Header([name, html.Nav(tabs, id="nav-bar"), theme, light], id="header")


def make_shell(renderer: PageRenderer, clock: Clock) -> dash.Dash:
    """The pages of `renderer`, as of `clock`, in Vizro's shell."""
    Vizro._reset()
    for library in _UNUSED:
        with suppress(ValueError):  # not registered: nothing imported it
            ComponentRegistry.registry.discard(library)
    pages = [
        vm.Page(id=page.page, title=page.title, path=page_path(page.page), components=[vm.Text(text=page.description)])
        for page in renderer.definition.pages
    ]
    tabs = {page.title: [page.id] for page in pages if page.id in TABS}
    shell = Shell(title=TITLE, pages=pages, navigation=vm.Navigation(pages=tabs), theme="vizro_light")
    shell._renderer, shell._clock = renderer, clock
    app = Vizro(assets_folder=str(BROWSER), update_title=None).build(shell).dash
    for listed in (app.css, app.scripts):
        resources = listed._resources._resources
        resources[:] = [
            resource for resource in resources if _file_of(resource) in _KEPT or resource.get("namespace") != "vizro"
        ]
    _without_polyfill()
    app.index_string = app.index_string.replace("<html", "<html lang='en'", 1)
    return app


def _without_polyfill() -> None:
    """Removes the polyfill for browsers older than 2018, which takes longer to run than React."""
    for kind in _dash_renderer._js_dist_dependencies[0]["relative_package_path"].values():
        kind[:] = [path for path in kind if "polyfill" not in path]


def _file_of(resource: Mapping[str, object]) -> str:
    return str(resource.get("relative_package_path", "")).rpartition("/")[2]
