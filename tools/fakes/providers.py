"""One server on 127.0.0.1 that fakes every provider, logs each request before it replies, and can inject faults."""

import json
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from audit_assets.config.json_values import is_object
from tools.fakes.answering import DROPPED, Faults, Reply
from tools.fakes.asked import Request
from tools.fakes.jira import FakeJira
from tools.fakes.pagerduty import FakePagerDuty
from tools.fakes.reading import (
    Effect,
    Incident,
    Message,
    Messages,
    Received,
    apply_effect,
    incidents_of,
    log_lines,
)
from tools.fakes.slack import FakeSlack
from tools.fakes.webhook import FakeWebhook

Provider = Literal["pagerduty", "slack", "jira", "webhook"]
PAGERDUTY_PATH, INCIDENTS_PATH = "/v2/enqueue", "/incidents"
JIRA, HOOKS = "/jira", "/hooks/"
SLACK_METHODS = (
    "chat.postMessage",
    "chat.update",
    "conversations.history",
    "conversations.replies",
    "conversations.list",
)


class FakeProviders:
    """All providers, running inside `with`. Faults may be set at any time; all state is read under one lock.

    down          providers that close the connection without a reply and process nothing
    next_replies  path → replies that replace processing, one per request
    reply_after   seconds between processing (and the log) and the reply
    drip          provider → seconds between two bytes of its replies, headers included
    pagerduty.bad_key, slack.bad_token, slack.missing_history_scope, slack.archived, jira.bad_token, jira.index_lags,
    webhook.bad_token: the fault of that name
    """

    def __init__(
        self,
        log: Path | None = None,
        port: int = 0,
        faults: Faults = Faults(),  # noqa: B008 - frozen
        routing_key: str | None = None,
        token: str | None = None,
        channels: Mapping[str, str] | None = None,
        jira: FakeJira | None = None,
        webhook: FakeWebhook | None = None,
    ) -> None:
        self.pagerduty = FakePagerDuty(routing_key)
        self.slack = FakeSlack(token, None if channels is None else dict(channels))
        self.jira = jira or FakeJira()
        self.webhook = webhook or FakeWebhook()
        self.down: set[Provider] = set()
        self.next_replies: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self.reply_after = 0.0
        self.drip: dict[Provider, float] = {}
        self.faults = faults
        self._draws = faults.draws()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._log = log
        self._effects: list[Effect] = []
        self._messages: Messages = {}
        self._requests: Counter[tuple[str, int]] = Counter()
        # (path, body) of every request, for a GET the query; includes what the log leaves out.
        self.bodies: list[tuple[str, Any]] = []
        if log is not None:
            self._load(log)
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

    @property
    def jira_url(self) -> str:
        """Jira's address, for JIRA_URL."""
        return f"http://127.0.0.1:{self.port}{JIRA}"

    def hook_url(self, name: str) -> str:
        """The address of one webhook; its path counts as a secret."""
        return f"http://127.0.0.1:{self.port}{HOOKS}{name}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """Stops the server; new connections are refused."""
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

    def effects(self, kind: str) -> list[Effect]:
        """The effects of one kind (`issue`, `comment`, `hook`), in order."""
        with self._lock:
            return [effect for effect in self._effects if effect["kind"] == kind]

    def received(self) -> Received:
        """Everything received so far; `read_log` returns the same from the log."""
        with self._lock:
            return Received(incidents_of(self._effects), list(self._messages.values()), Counter(self._requests))

    def answer(self, request: Request) -> Reply:
        """Processes one request and logs it; the caller sends the reply afterwards."""
        with self._lock:
            reply = self._processed(request)
            self._apply(request.path, reply.status, reply.effects)
            self.bodies.append((request.path, request.body))
            self._write_log(request.path, request.body, reply)
        self._closing.wait(self.reply_after)
        return reply

    def send_slowly(self, file: BufferedIOBase, content: bytes, seconds: float) -> None:
        """Sends one byte every `seconds` seconds until the other side closes the connection."""
        for number in range(len(content)):
            file.write(content[number : number + 1])
            if self._closing.wait(seconds):
                return

    def _load(self, log: Path) -> None:
        """Restores the state from the log of an earlier process."""
        for line in log_lines(log):
            self._apply(line["path"], line["answered"]["status"], line["effects"])
        self.slack.remember(self._messages)
        if log.exists() and not log.read_bytes().endswith(b"\n"):
            with log.open("a") as file:
                file.write("\n")  # ends an incomplete line

    def _apply(self, path: str, status: int, effects: Sequence[Effect]) -> None:
        self._requests[path, status] += 1
        self._effects.extend(effects)
        for effect in effects:
            apply_effect(self._messages, effect)

    def _processed(self, request: Request) -> Reply:
        path, provider = request.path, _provider(request.path)
        draw = self._draws.random()
        if provider in self.down:
            return Reply(DROPPED)
        if self.next_replies[path]:
            return self.next_replies[path].popleft()
        fault = self.faults.before(draw)
        if fault is not None:
            return fault
        reply = self._by_provider(provider, request)
        return Reply(DROPPED, effects=reply.effects) if self.faults.drops(draw) else reply

    def _by_provider(self, provider: Provider, request: Request) -> Reply:
        method = request.path.removeprefix("/api/")
        if provider == "jira":
            return self.jira.answer(request.path.removeprefix(JIRA), request, self._effects)
        if provider == "webhook":
            return self.webhook.answer(request, self._effects)
        if provider == "slack" and method in SLACK_METHODS:
            return self.slack.answer(method, request.body, request.bearer, self._messages)
        if provider == "slack":
            return Reply(200, {"ok": False, "error": "unknown_method"})
        if (request.method, request.path) == ("GET", INCIDENTS_PATH):
            authorization = request.headers.get("authorization", "")
            return self.pagerduty.list_incidents(request.body, authorization, incidents_of(self._effects))
        if request.path == PAGERDUTY_PATH:
            return self.pagerduty.answer(request.body, request.size)
        return Reply(404, "Not Found")

    def _write_log(self, path: str, body: Any, reply: Reply) -> None:
        if self._log is None:
            return
        logged = {**body, "routing_key": "[left out]"} if is_object(body) and "routing_key" in body else body
        answered = {"status": reply.status, "headers": reply.headers, "body": reply.body}
        line = {"at": time.time(), "path": path, "body": logged, "effects": list(reply.effects), "answered": answered}
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _provider(path: str) -> Provider:
    known: dict[str, Provider] = {"/api/": "slack", f"{JIRA}/": "jira", HOOKS: "webhook"}
    for prefix, name in known.items():
        if path.startswith(prefix):
            return name
    return "pagerduty"


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
        """Ignores clients that were killed or timed out."""


def _server(fakes: FakeProviders, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers, parts = {name.lower(): value for name, value in self.headers.items()}, urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True)
            body = query if method == "GET" else _decoded(content, headers.get("content-type", ""))
            reply = fakes.answer(Request(method, parts.path, body, len(content), headers))
            if reply.status == DROPPED:
                return  # the connection closes without a reply
            payload = reply.text.encode()
            slow = fakes.drip.get(_provider(parts.path))
            if slow is not None:
                fakes.send_slowly(self.wfile, b"HTTP/1.1 %d OK\r\n\r\n%b" % (reply.status, payload), slow)
                return
            self.send_response_only(reply.status)
            sent = {"Content-Type": reply.content_type, "Date": self.date_time_string(), **reply.headers}
            for name, value in sent.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Writes nothing to the console: the log file has more detail."""

    return _QuietServer(("127.0.0.1", port), Handler)
