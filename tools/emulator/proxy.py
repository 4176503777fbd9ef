"""An HTTP proxy in front of the emulator that fails as networks and services do: it loses responses and returns
errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Matches = Callable[[str, str, bytes], bool]


@dataclass
class Fault:
    """A fault of the next `times` matching requests (method, path, body). With `lose` a request is forwarded and its
    response dropped; otherwise it is answered with `status` and Google's `reason`, and not forwarded."""

    matches: Matches
    lose: bool = False
    status: int = 503
    reason: str = "backendError"
    message: str = "the service refuses the request"
    times: int = 1


@dataclass
class Proxy:
    """A proxy's address, its pending faults, and the forwarded requests (method, path)."""

    endpoint: str = ""
    faults: list[Fault] = field(default_factory=list[Fault])
    passed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def fault(self, method: str, path: str, body: bytes) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.matches(method, path, body):
                fault.times -= 1
                return fault
        return None


@contextmanager
def proxy_to(endpoint: str) -> Generator[Proxy]:
    """Runs a proxy on a free port of 127.0.0.1 while the block runs."""
    proxy = Proxy()
    client = httpx.Client(base_url=endpoint, timeout=60, trust_env=False)  # one: creating a client takes 50 ms

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and content in one packet: a second one would wait for the client's delayed ACK, 40 ms

        def log_message(self, format: str, *args: Any) -> None: ...

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault(self.command, self.path, body)
            if fault is not None and not fault.lose:
                self.answer(fault.status, _refusal(fault), {"Content-Type": "application/json"})
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            answer = client.request(self.command, self.path, content=body, headers=headers)
            proxy.passed.append((self.command, self.path))
            if fault is not None:
                self.close_connection = True
                self.connection.close()
                return
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            content = answer.content.replace(endpoint.encode(), proxy.endpoint.encode())
            if "Location" in headers:
                headers["Location"] = headers["Location"].replace(endpoint, proxy.endpoint)
            self.answer(answer.status_code, content, headers)

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        client.close()


_HOP = {"host", "content-length", "connection", "transfer-encoding", "content-encoding", "accept-encoding"}


def _refusal(fault: Fault) -> bytes:
    error = {"reason": fault.reason, "message": fault.message, "domain": "global"}
    return json.dumps({"error": {"code": fault.status, "message": fault.message, "errors": [error]}}).encode()
