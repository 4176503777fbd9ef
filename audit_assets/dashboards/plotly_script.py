"""Which Plotly the browser gets: the part that draws the pages' charts where npm brought it, else the whole."""

# pyright: reportPrivateUsage=false
# Dash says by a private name only which scripts it sends.

import sys
from pathlib import Path

import dash
import flask
from dash import dcc
from plotly.offline import get_plotlyjs_version

# A third of the whole. `make install` fetches it where there is npm.
PARTIAL = Path(sys.prefix) / "npm" / "node_modules" / "plotly.js-cartesian-dist-min" / "plotly-cartesian.min.js"


def plotly_script(app: dash.Dash) -> None:
    """Serves the part in place of the whole, where it is there and of the same version as the Python package."""
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
    dcc._js_dist[:] = [one for one in dcc._js_dist if one.get("namespace") != "plotly"]
    # The page's script adds it: it takes longer to run than all others together, and the pages' texts need not wait.
    app.index_string = app.index_string.replace(
        "{%metas%}", f"{{%metas%}}<link rel='preload' as='script' href='{path}' id='plotly-script'>", 1
    )
