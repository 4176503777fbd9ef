"""Request guards of the dashboards: allowed hosts, valid callback requests, and security headers."""

from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any, cast

import dash
import flask
from dash.exceptions import DependencyException, UnsupportedRelativePath

from audit_assets.config.json_values import is_list, is_object
from audit_assets.request_guard import refusal

LONGEST_BODY = 1_000_000  # bytes; requests of a page have a few hundred
_LONGEST_VALUE = 20_000
_UPDATE = "/_dash-update-component"

_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Scripts are files, or inline scripts of Dash allowed by hash. Plotly needs inline styles for its charts.
_POLICY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def allow_hosts(app: WsgiApp, allowed: Collection[tuple[str, str]]) -> WsgiApp:
    """`app` for `allowed` hosts only; requests that may change something must come from its own pages."""

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def header(name: str) -> list[str]:
            return [environ[f"HTTP_{name}"]] if f"HTTP_{name}" in environ else []

        method, host, origin = environ["REQUEST_METHOD"], header("HOST"), header("ORIGIN")
        rejection = refusal(method, host, origin, header("SEC_FETCH_SITE"), allowed)
        if rejection is None:
            return app(environ, start_response)
        body = f"{rejection.reason}\n".encode()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **_HEADERS}
        start_response(f"{rejection.status} {HTTPStatus(rejection.status).phrase}", list(headers.items()))
        return [body]

    return respond


def guard_requests(app: dash.Dash) -> None:
    """Rejects requests that no page of `app` sends, and adds the security headers."""
    server: flask.Flask = app.server
    server.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY

    def reject_invalid() -> flask.Response | None:
        request = flask.request
        if request.path != _UPDATE:
            return None
        if request.method != "POST":
            return _plain("use POST for this URL", 405)
        try:
            payload = request.get_json(silent=True)
        except RecursionError:  # deeply nested brackets
            payload = None
        problem = _problem(app, payload)
        return _plain(problem, 400) if problem else None

    def add_headers(response: flask.Response) -> flask.Response:
        # Computed for each response: Dash adds the script of its page titles with the first request.
        policy = _POLICY.format(hashes=" ".join(app.csp_hashes()))
        response.headers.update({**_HEADERS, "Content-Security-Policy": policy})
        return response

    server.before_request(reject_invalid)
    server.after_request(add_headers)
    server.register_error_handler(DependencyException, lambda _: _plain("file not found", 404))
    server.register_error_handler(UnsupportedRelativePath, lambda _: _plain("a path must begin with /", 400))


def _problem(app: dash.Dash, payload: Any) -> str | None:
    """The problem of a callback request, if any. Dash would respond 500 to a missing part or a part of another type."""
    if not is_object(payload):
        return "the body is not a JSON object"
    output = payload.get("output")
    callback = cast("Any", app.callback_map.get(output)) if isinstance(output, str) else None
    if callback is None or "callback" not in callback:
        return "unknown callback"
    outputs = [{"id": item.component_id, "property": item.component_property} for item in _listed(callback["output"])]
    if payload.get("outputs") not in (outputs, outputs[0]):
        return "outputs do not match the callback"
    for part in ("inputs", "state"):
        given: Any = payload.get(part) or []
        if not is_list(given) or [_named(item) for item in given] != callback[part]:
            return f"{part} do not match the callback"
        if not all(isinstance(item.get("value"), str) and len(item["value"]) <= _LONGEST_VALUE for item in given):
            return f"a value of {part} is not a string, or too long"
    changed: Any = payload.get("changedPropIds", [])
    names = [f"{item['id']}.{item['property']}" for item in callback["inputs"]]
    if not is_list(changed) or not all(item in names for item in changed):
        return "changedPropIds are not inputs of this callback"
    return None


def _listed(output: Any) -> list[Any]:
    return list(cast("Iterable[Any]", output)) if isinstance(output, list | tuple) else [output]


def _named(given: Any) -> dict[str, Any]:
    return {name: given.get(name) for name in ("id", "property")} if is_object(given) else {}


def _plain(text: str, status: int) -> flask.Response:
    return flask.Response(f"{text}\n", status, mimetype="text/plain")
