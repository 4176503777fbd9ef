"""The dashboards as a WSGI application: pages, readable addresses, the rows behind each tile, small answers."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import flask

from audit_assets.dashboards import words
from audit_assets.dashboards.board import Board
from audit_assets.dashboards.compression import compress_answers
from audit_assets.dashboards.plotly_script import plotly_script
from audit_assets.dashboards.reader import ReadError
from audit_assets.dashboards.shell import make_shell


def make_app(board: Board, cache: Path) -> flask.Flask:
    """The dashboards as a WSGI application; compressed scripts are kept in `cache`."""
    shell = make_shell(board)
    plotly_script(shell)
    server: flask.Flask = shell.server
    _add_addresses(server, board)
    compress_answers(server, cache)
    return server


def _add_addresses(server: flask.Flask, board: Board) -> None:
    """Addresses beside the pages': those that others know, and the rows behind each tile."""

    def to_overview() -> Any:
        query = urlencode(list(flask.request.args.items(multi=True)))
        return flask.redirect(f"/?{query}" if query else "/")

    def to_records(workspace_id: str) -> Any:
        return flask.redirect(f"/audit-log?{urlencode({'workspace': workspace_id})}")

    # The application's own page, where a proxy has it at the same address; here its records are the next best.
    server.add_url_rule("/workspaces/<workspace_id>", "workspaces", to_records)
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
