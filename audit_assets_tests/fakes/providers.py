"""One server on 127.0.0.1 that plays every provider, logs before it answers, and goes wrong when told to."""

import json
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from audit_assets_tests.fakes.answering import DROPPED, Faults, Reply
from audit_assets_tests.fakes.asked import Asked
from audit_assets_tests.fakes.jira import FakeJira
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
from audit_assets_tests.fakes.webhook import FakeWebhook

Provider = Literal["pagerduty", "slack", "jira", "webhook"]
PAGERDUTY_PATH, INCIDENTS_PATH = "/v2/enqueue", "/incidents"
JIRA, HOOKS = "/jira", "/hooks/"
SLACK_METHODS = ("chat.postMessage", "chat.update", "conversations.history", "conversations.replies")


class FakeProviders:
    """All providers, from `with` to its end. Switches may be set at any time; all state is read under one lock.

    down          providers that close the connection without an answer and process nothing
    next_answers  path → answers given, one a request, instead of processing
    answer_after  seconds between processing (and the log) and the answer
    pagerduty.bad_key, slack.bad_token, slack.missing_history_scope, slack.archived, jira.bad_token, jira.index_lags,
    webhook.bad_token: as they say
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

    @property
    def jira_url(self) -> str:
        """JIRA's address, for JIRA_URL."""
        return f"http://127.0.0.1:{self.port}{JIRA}"

    def hook_url(self, name: str) -> str:
        """The address of one webhook; its path is as good as a secret."""
        return f"http://127.0.0.1:{self.port}{HOOKS}{name}"

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

    def effects(self, kind: str) -> list[Effect]:
        """What happened of one kind (`issue`, `comment`, `hook`), in order."""
        with self._lock:
            return [one for one in self._effects if one["kind"] == kind]

    def reading(self) -> Reading:
        """All they were told so far; `read_log` gives the same from the log."""
        with self._lock:
            return Reading(incidents_of(self._effects), list(self._messages.values()), Counter(self._requests))

    def answer(self, asked: Asked) -> Reply:
        """Process one request and log it; the caller answers afterwards."""
        with self._lock:
            reply = self._processed(asked)
            self._happened(asked.path, reply.status, reply.effects)
            self.bodies.append((asked.path, asked.body))
            self._write_down(asked.path, asked.body, reply)
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

    def _processed(self, asked: Asked) -> Reply:
        path, provider = asked.path, _provider(asked.path)
        draw = self._draws.random()
        if provider in self.down:
            return Reply(DROPPED)
        if self.next_answers[path]:
            return self.next_answers[path].popleft()
        fault = self.faults.before(draw)
        if fault is not None:
            return fault
        reply = self._by_provider(provider, asked)
        return Reply(DROPPED, effects=reply.effects) if self.faults.drops(draw) else reply

    def _by_provider(self, provider: Provider, asked: Asked) -> Reply:
        method = asked.path.removeprefix("/api/")
        if provider == "jira":
            return self.jira.answer(asked.path.removeprefix(JIRA), asked, self._effects)
        if provider == "webhook":
            return self.webhook.answer(asked, self._effects)
        if provider == "slack" and method in SLACK_METHODS:
            return self.slack.answer(method, asked.body, asked.bearer, self._messages)
        if provider == "slack":
            return Reply(200, {"ok": False, "error": "unknown_method"})
        if (asked.method, asked.path) == ("GET", INCIDENTS_PATH):
            authorization = asked.headers.get("authorization", "")
            return self.pagerduty.list_incidents(asked.body, authorization, incidents_of(self._effects))
        if asked.path == PAGERDUTY_PATH:
            return self.pagerduty.answer(asked.body, asked.size)
        return Reply(404, "Not Found")

    def _write_down(self, path: str, body: Any, reply: Reply) -> None:
        if self._log is None:
            return
        told = {**body, "routing_key": "[left out]"} if isinstance(body, dict) and "routing_key" in body else body
        answered = {"status": reply.status, "headers": reply.headers, "body": reply.body}
        line = {"at": time.time(), "path": path, "body": told, "effects": list(reply.effects), "answered": answered}
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _provider(path: str) -> Provider:
    known: dict[str, Provider] = {"/api/": "slack", f"{JIRA}/": "jira", HOOKS: "webhook"}
    return next((name for beginning, name in known.items() if path.startswith(beginning)), "pagerduty")


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
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers, parts = {name.lower(): value for name, value in self.headers.items()}, urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True)
            body = query if method == "GET" else _decoded(content, headers.get("content-type", ""))
            reply = fakes.answer(Asked(method, parts.path, body, len(content), headers))
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
