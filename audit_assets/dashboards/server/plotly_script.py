"""Selects the Plotly script: the partial bundle with the pages' charts if npm installed it, else the full bundle."""

# pyright: reportPrivateUsage=false
# Dash lists its scripts only in a private attribute.

import sys
from pathlib import Path

import dash
import flask
from dash import dcc
from plotly.offline import get_plotlyjs_version

# A third of the full bundle. `make install` installs it if npm is available.
PARTIAL = Path(sys.prefix) / "npm" / "node_modules" / "plotly.js-cartesian-dist-min" / "plotly-cartesian.min.js"


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
    dcc._js_dist[:] = [script for script in dcc._js_dist if script.get("namespace") != "plotly"]
    # The page's script adds it later: it runs longer than all other scripts together, and text need not wait for it.
    app.index_string = app.index_string.replace(
        "{%metas%}", f"{{%metas%}}<link rel='preload' as='script' href='{path}' id='plotly-script'>", 1
    )
