"""One server on 127.0.0.1 that plays PagerDuty and Slack, logs before it answers, and goes wrong when told to."""

import json
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from audit_assets_tests.fakes.answering import DROPPED, Faults, Reply
from audit_assets_tests.fakes.pagerduty import FakePagerDuty
from audit_assets_tests.fakes.reading import (
    Effect,
    Incident,
    Message,
    Messages,
    Reading,
    incidents_of,
    log_lines,
    tell,
)
from audit_assets_tests.fakes.slack import FakeSlack

Provider = Literal["pagerduty", "slack"]
PAGERDUTY_PATH, INCIDENTS_PATH = "/v2/enqueue", "/incidents"
SLACK_METHODS = ("chat.postMessage", "chat.update", "conversations.history", "conversations.replies")


class FakeProviders:
    """Both providers, from `with` to its end. Switches may be set at any time; all state is read under one lock.

    down          providers that close the connection without an answer and process nothing
    next_answers  path → answers given, one a request, instead of processing
    answer_after  seconds between processing (and the log) and the answer
    pagerduty.bad_key, slack.bad_token, slack.missing_history_scope, slack.archived: as they say
    """

    def __init__(
        self,
        log: Path | None = None,
        port: int = 0,
        faults: Faults = Faults(),  # noqa: B008 - frozen
        routing_key: str | None = None,
        token: str | None = None,
        channels: Mapping[str, str] | None = None,
    ) -> None:
        self.pagerduty = FakePagerDuty(routing_key)
        self.slack = FakeSlack(token, None if channels is None else dict(channels))
        self.down: set[Provider] = set()
        self.next_answers: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self.answer_after = 0.0
        self.faults = faults
        self._draws = faults.draws()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._log = log
        self._effects: list[Effect] = []
        self._messages: Messages = {}
        self._requests: Counter[tuple[str, int]] = Counter()
        # (path, body) of every request, for a GET what it asks, with what the log leaves out.
        self.bodies: list[tuple[str, Any]] = []
        if log is not None:
            self._remember(log)
        self._server = _server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def events_url(self) -> str:
        """PagerDuty's address, for PAGERDUTY_EVENTS_URL and PAGERDUTY_API_URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def slack_url(self) -> str:
        """Slack's address, for SLACK_BASE_URL."""
        return f"http://127.0.0.1:{self.port}/api/"

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop; from here on connections are refused."""
        self._closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def incidents(self) -> dict[str, Incident]:
        with self._lock:
            return incidents_of(self._effects)

    def messages(self) -> list[Message]:
        with self._lock:
            return list(self._messages.values())

    def reading(self) -> Reading:
        """All they were told so far; `read_log` gives the same from the log."""
        with self._lock:
            return Reading(incidents_of(self._effects), list(self._messages.values()), Counter(self._requests))

    def answer(self, path: str, content: bytes, content_type: str, bearer: str | None) -> Reply:
        """Process one POST and log it; the caller answers afterwards."""
        body = _decoded(content, content_type)
        return self._answered(path, body, lambda: self._posted(path, body, len(content), bearer))

    def answer_get(self, path: str, query: str, authorization: str) -> Reply:
        """Process one GET and log it."""
        asked = parse_qs(query, keep_blank_values=True)
        return self._answered(path, asked, lambda: self._listed(path, asked, authorization))

    def _answered(self, path: str, body: Any, process: Callable[[], Reply]) -> Reply:
        with self._lock:
            reply = self._processed(path, process)
            self._happened(path, reply.status, reply.effects)
            self.bodies.append((path, body))
            self._write_down(path, body, reply)
        self._closing.wait(self.answer_after)
        return reply

    def _remember(self, log: Path) -> None:
        """A provider that was killed and starts again knows what it was told."""
        for line in log_lines(log):
            self._happened(line["path"], line["answered"]["status"], line["effects"])
        self.slack.remember(self._messages)
        if log.exists() and not log.read_bytes().endswith(b"\n"):
            with log.open("a") as file:
                file.write("\n")  # ends a line that was torn

    def _happened(self, path: str, status: int, effects: Sequence[Effect]) -> None:
        self._requests[path, status] += 1
        self._effects.extend(effects)
        for effect in effects:
            tell(self._messages, effect)

    def _processed(self, path: str, process: Callable[[], Reply]) -> Reply:
        provider: Provider = "slack" if path.startswith("/api/") else "pagerduty"
        draw = self._draws.random()
        if provider in self.down:
            return Reply(DROPPED)
        if self.next_answers[path]:
            return self.next_answers[path].popleft()
        fault = self.faults.before(draw)
        if fault is not None:
            return fault
        reply = process()
        return Reply(DROPPED, effects=reply.effects) if self.faults.drops(draw) else reply

    def _posted(self, path: str, body: Any, size: int, bearer: str | None) -> Reply:
        method = path.removeprefix("/api/")
        if path == PAGERDUTY_PATH:
            return self.pagerduty.answer(body, size)
        if method in SLACK_METHODS:
            return self.slack.answer(method, body, bearer, self._messages)
        return Reply(200, {"ok": False, "error": "unknown_method"}) if method != path else Reply(404, "Not Found")

    def _listed(self, path: str, asked: dict[str, list[str]], authorization: str) -> Reply:
        if path != INCIDENTS_PATH:
            return Reply(404, "Not Found")
        return self.pagerduty.list_incidents(asked, authorization, incidents_of(self._effects))

    def _write_down(self, path: str, body: Any, reply: Reply) -> None:
        if self._log is None:
            return
        told = {**body, "routing_key": "[left out]"} if isinstance(body, dict) and "routing_key" in body else body
        answered = {"status": reply.status, "headers": reply.headers, "body": reply.body}
        line = {"at": time.time(), "path": path, "body": told, "effects": list(reply.effects), "answered": answered}
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _decoded(content: bytes, content_type: str) -> Any:
    text = content.decode("utf-8", "replace")
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(text, keep_blank_values=True))
    try:
        return json.loads(text)
    except ValueError:
        return text


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed or ran out of time is no error of the fakes."""


def _server(fakes: FakeProviders, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
            bearer = token.strip() if scheme == "Bearer" and token.strip() else None
            path = urlsplit(self.path).path
            self._send(fakes.answer(path, content, self.headers.get("Content-Type") or "", bearer))

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            self._send(fakes.answer_get(asked.path, asked.query, self.headers.get("Authorization") or ""))

        def _send(self, reply: Reply) -> None:
            if reply.status == DROPPED:
                return  # the connection closes behind a request that got no answer
            payload = reply.text.encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.content_type, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the console: the log file says more."""

    return _QuietServer(("127.0.0.1", port), Handler)
