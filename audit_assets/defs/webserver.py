"""Dagster's UI behind the request guard, as one process on one port. No other port bypasses the guard.

`python -m audit_assets.defs.webserver WORKSPACE_FILE PORT`
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver import app as dagster_ui
from dagster_webserver.version import __version__

from audit_assets.private_files import restrict_new_files
from audit_assets.request_guard import Refusal, allowed_hosts, refusal
from audit_assets.settings import read_settings

HOST = "127.0.0.1"
_LONGEST_BODY = 10_000_000  # bytes; the UI's largest queries have about ten thousand
_LONGEST_HEADERS = 32_768
_HEADERS = [
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def guard(app: App, allowed: Collection[tuple[str, str]]) -> App:
    """Wraps the ASGI `app`: only requests to `allowed` hosts pass, and requests that change state only from its own
    pages, as JSON.

    GraphQL is accepted by POST only: another site could send a GET as the URL of an image.
    """

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        refused = _refusal(scope, allowed)
        if refused is None:
            await _answer(app, scope, receive, send)
        elif scope["type"] == "websocket":
            await send(
                {"type": "websocket.close", "code": 1008, "reason": refused.reason}
            )  # HTTP 403: not yet accepted
        else:
            await _refuse(send, refused)

    return answer


def _refusal(scope: Message, allowed: Collection[tuple[str, str]]) -> Refusal | None:
    is_websocket = scope["type"] == "websocket"
    method, path = scope.get("method", "GET"), scope["path"]
    headers = {
        name: [value.decode("latin-1") for key, value in scope["headers"] if key == name]
        for name in (b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"accept")
    }
    refused = refusal(
        method, headers[b"host"], headers[b"origin"], headers[b"sec-fetch-site"], allowed, is_websocket=is_websocket
    )
    if refused is not None:
        return refused
    if not path.isprintable() or ".." in path.split("/"):
        return Refusal(400, "this path is not valid on this server")
    if is_websocket:
        return None
    if path == "/graphql" and method != "POST" and not _asks_for_graphiql(method, headers[b"accept"]):
        return Refusal(405, "GraphQL needs POST")
    if method == "POST":
        return _body_refusal(path, headers[b"content-type"], headers[b"content-length"])
    return None


def _asks_for_graphiql(method: str, accept: list[str]) -> bool:
    """Whether the request is for the GraphiQL page. Dagster returns the page and executes nothing."""
    return method == "GET" and bool(accept) and "text/html" in accept[0]


def _body_refusal(path: str, content_type: list[str], length: list[str]) -> Refusal | None:
    """Rejects bodies that are not JSON. A page of another site may send a form or plain text without a preflight
    request; the UI never sends either."""
    kind = content_type[0].split(";")[0].strip().lower() if len(content_type) == 1 else ""
    is_empty = length == ["0"] and not content_type
    if kind != "application/json" and (path == "/graphql" or not is_empty):
        return Refusal(415, "the body must be application/json")
    if len(length) != 1 or not length[0].isdecimal():
        return Refusal(411, "a body needs Content-Length")
    if int(length[0]) > _LONGEST_BODY:
        return Refusal(413, f"a body may have at most {_LONGEST_BODY} bytes")
    return None


async def _answer(app: App, scope: Message, receive: Receive, send: Send) -> None:
    """The app's response, with headers that forbid other sites to frame it."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = {name for name, _ in _HEADERS}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in ours]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    await app(scope, receive, send_with_headers)


async def _refuse(send: Send, refused: Refusal) -> None:
    body = f"{refused.reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    closing = [(b"connection", b"close")]  # so that the unread body is not parsed as the next request
    await send({"type": "http.response.start", "status": refused.status, "headers": [*headers, *closing]})
    await send({"type": "http.response.body", "body": body})


def serve(workspace_file: str, port: int) -> None:
    """Serves Dagster's UI on 127.0.0.1 until SIGINT or SIGTERM."""
    restrict_new_files()
    settings = read_settings()
    allowed = allowed_hosts(port, HOST, settings.dagster_url, settings.allowed_hosts)
    configure_loggers(log_level="INFO")
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        target = WorkspaceFileTarget([workspace_file])
        with WorkspaceProcessContext(instance, workspace_load_target=target, version=__version__) as context:
            app = dagster_ui.create_app_from_workspace_process_context(context, live_data_poll_rate=2000)
            uvicorn.run(
                guard(app, allowed),
                host=HOST,
                port=port,
                log_level="warning",
                http="h11",  # limits the size of headers
                h11_max_incomplete_event_size=_LONGEST_HEADERS,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
