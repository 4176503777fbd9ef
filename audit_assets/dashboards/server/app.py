"""The dashboards as a WSGI application, built from the settings: pages, alias URLs, the rows of each tile, and
compressed responses."""

import csv
import io
import logging
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import flask
from flask_compress import Compress
from waitress.server import create_server

from audit_assets.alerting.channels.pagerduty_event import draft_link
from audit_assets.clock import Clock
from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.query.reader import ReadError, make_reader
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.page_renderer import PageRenderer
from audit_assets.dashboards.server.guard import LONGEST_BODY, allow_hosts, guard_requests
from audit_assets.dashboards.server.shell import make_shell, plotly_script
from audit_assets.request_guard import allowed_hosts
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings
from audit_assets.text import formatting

_THREADS = 6  # a browser opens six connections


def make_app(renderer: PageRenderer, clock: Clock) -> flask.Flask:
    """The dashboards as a WSGI application, as of `clock`."""
    shell = make_shell(renderer, clock)
    plotly_script(shell)
    server: flask.Flask = shell.server
    _add_routes(server, renderer, clock)
    server.config |= {
        "COMPRESS_ALGORITHM": ["br", "gzip"],
        "COMPRESS_ALGORITHM_STREAMING": ["br", "deflate"],  # of static files; gzip is not streamed
        "COMPRESS_BR_LEVEL": 5,
    }
    Compress(server)
    guard_requests(shell)
    return server


def _add_routes(server: flask.Flask, renderer: PageRenderer, clock: Clock) -> None:
    """Adds the routes that are not pages: aliases used by other systems, and the rows of each tile."""

    def to_overview() -> Any:
        query = urlencode(list(flask.request.args.items(multi=True)))
        return flask.redirect(f"/?{query}" if query else "/")

    def to_records(workspace_id: str) -> Any:
        return flask.redirect(f"/audit-log?{urlencode({'workspace': workspace_id})}")

    # A proxy may serve the application's workspace page at this URL. Without one, redirect to the workspace's records.
    server.add_url_rule("/workspaces/<workspace_id>", "workspaces", to_records)
    for path in ("/overview", "/audit-overview"):
        server.add_url_rule(path, path, to_overview)
    server.add_url_rule("/data/<tile_id>", "data", _data(renderer, clock, _as_page))
    server.add_url_rule("/data/<tile_id>.csv", "csv", _data(renderer, clock, _as_csv))
    server.add_url_rule("/healthz", "healthz", lambda: ({"ok": renderer.reader.freshness() is not None}, 200))


def _data(renderer: PageRenderer, clock: Clock, respond: Callable[..., Any]) -> Callable[[str], Any]:
    def view(tile_id: str) -> Any:
        tile = next((tile for _, tile in renderer.definition.tiles if tile.id == tile_id), None)
        if tile is None:
            return flask.Response(f"Unknown tile {formatting.shortened(tile_id, 20)}", 404, mimetype="text/plain")
        args = {name: flask.request.args.getlist(name) for name in flask.request.args}
        try:
            rows = renderer.rows(tile, args, clock())
        except ReadError as error:
            return flask.Response(str(error), 503, mimetype="text/plain")
        return respond(tile, renderer.definition.source(tile.source), rows)

    return view


def _as_csv(tile: Any, source: Any, rows: Any) -> flask.Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(rows.columns)
    writer.writerows([_escape_formula(value) for value in row] for row in rows.iter_rows())
    headers = {"Content-Disposition": f"attachment; filename={tile.id}.csv"}
    return flask.Response(text.getvalue(), mimetype="text/csv", headers=headers)


def _escape_formula(value: Any) -> Any:
    """Prefixes text that a spreadsheet would read as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value


_DATA_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ tile.title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 24px; color-scheme: light dark; }
table { border-collapse: collapse; } th, td { padding: 4px 12px; border-bottom: 1px solid #8886; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }</style></head><body><main>
<h1>{{ tile.title }}</h1><p>{{ tile.help }}</p>
<p><a href="/data/{{ tile.id }}.csv?{{ query }}">Download CSV</a> · {{ rows|length }} rows · times are UTC</p>
<table><thead><tr>{% for name in names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>{% for value, kind in row %}<td class="{{ kind }}"><bdi>{{ value }}</bdi></td>{% endfor %}</tr>
{% endfor %}</tbody></table></main></body></html>"""


def _as_page(tile: Any, source: Any, rows: Any) -> str:
    names = [source.heading(name) for name in rows.columns]
    units = [source.unit(name) for name in rows.columns]
    cells = [
        [
            (formatting.figure(value, unit), "number" if isinstance(value, int | float) else "")
            for value, unit in zip(row, units, strict=True)
        ]
        for row in rows.iter_rows()
    ]
    query = flask.request.query_string.decode()
    return flask.render_template_string(_DATA_PAGE, tile=tile, names=names, rows=cells, query=query)


def serve_dashboards(settings: Settings, host: str, port: int, ready: Callable[[], None], clock: Clock) -> None:
    """Serves on `host` and `port`, as of `clock`, until the process is stopped. Raises DefinitionError."""
    app = make_app(make_page_renderer(settings), clock)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns on every page, whose scripts queue briefly
    allowed = allowed_hosts(port, host, settings.dashboard_url, settings.allowed_hosts)
    guarded = allow_hosts(app, allowed)
    server = create_server(
        guarded, host=host, port=port, threads=_THREADS, ident=None, max_request_body_size=LONGEST_BODY
    )
    threading.Thread(target=_warm, args=(app,), daemon=True).start()
    ready()
    try:
        server.run()
    except KeyboardInterrupt:
        server.close()


def _warm(app: flask.Flask) -> None:
    """Requests the first page's scripts and styles once, because compressing the largest takes seconds."""
    browser = app.test_client()
    page = browser.get("/").get_data(as_text=True)
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        browser.get(address, headers={"Accept-Encoding": "br"})


def make_page_renderer(settings: Settings) -> PageRenderer:
    """The page renderer for the settings. Raises DefinitionError."""
    rules = load_rules(settings.rules_folder).rules
    account, service = settings.pagerduty_web_url or "", settings.pagerduty_service_id
    links = Links(
        app=settings.app_url,
        docs=settings.docs_url,
        dagster=settings.dagster_url,
        draft=lambda title: draft_link(account, title, service),
        runbooks={rule.id: rule.runbook for rule in rules},
    )
    definition = load_definition(settings.dashboards_folder)
    return PageRenderer(definition, make_reader(settings, definition), links)
