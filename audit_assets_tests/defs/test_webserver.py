"""Dagster's UI answers requests of its own pages only: the real server, over a home without code."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import websockets
from websockets.sync.client import connect

from audit_assets.defs.runner import DAGSTER_YAML
from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from tools.leftover_processes import mark

_SET = "mutation { setConcurrencyLimit(concurrencyKey: %s, limit: 3) }"
_LIMITS = "{ instance { concurrencyLimits { concurrencyKey } } }"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Site:
    """A running server, with requests as from a browser or a script."""

    port: int

    def request(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {"Host": f"localhost:{self.port}", **(headers or {})})
        return connection.getresponse()

    def mutate(self, key: str, **headers: str) -> int:
        """Posts a mutation that sets the limit `key`, with these headers (`_` for `-`). Returns the HTTP status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request(
            "POST", "/graphql", json.dumps({"query": _SET % json.dumps(key)}), {**_JSON, **named}
        ).status

    def limits(self) -> set[str]:
        """The keys of the limits that are set."""
        answer = self.request("POST", "/graphql", json.dumps({"query": _LIMITS}), _JSON)
        return {one["concurrencyKey"] for one in json.load(answer)["data"]["instance"]["concurrencyLimits"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home, port = tmp_path_factory.mktemp("dagster"), free_port()
    (home / "dagster.yaml").write_text(DAGSTER_YAML)
    (home / "workspace.yaml").write_text("load_from: []\n")
    environment = {
        **mark(),
        "PATH": "/usr/bin:/bin",
        "AI_AUDIT_HOME": str(home),
        "DAGSTER_HOME": str(home),
        "AI_AUDIT_DAGSTER_URL": "https://dagster.example.com/ui",
        "AI_AUDIT_ALLOWED_HOSTS": "dagster.internal:8443, other.internal",
    }
    command = [sys.executable, "-m", "audit_assets.defs.webserver", str(home / "workspace.yaml"), str(port)]
    with Path(home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log)
    own = Site(port)
    try:
        until = time.monotonic() + 90
        while not _answers(own):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < until, (home / "log").read_text()
            time.sleep(0.3)
        yield own
    finally:
        process.kill()
        process.wait()


def _answers(site: Site) -> bool:
    with suppress(OSError):
        return site.request("GET", "/server_info").status == 200
    return False


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "localhost", "localhost:1", "127.0.0.1", "localhost:{port}.evil.example",
     "localhost:{port}@evil.example", "localhost.evil.example:{port}", "0.0.0.0:{port}", "",
     "localhost:{port}, evil.example",     "[::2]:{port}", "dagster.example.com:{port}", "dagster.internal"],
)  # fmt: skip
def test_a_host_that_is_not_ours_gets_no_page_and_changes_nothing(site: Site, host: str):
    host = host.format(port=site.port)
    for path in ("/", "/server_info", "/graphql", "/logs/x.out"):
        assert site.request("GET", path, headers={"Host": host}).status in (400, 403), path
    assert site.mutate("by-host", Host=host) in (400, 403)
    assert "by-host" not in site.limits()


@pytest.mark.parametrize(
    "host",
    ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}", "dagster.example.com",
     "dagster.example.com:443", "dagster.internal:8443", "other.internal"],
)  # fmt: skip
def test_our_own_hosts_and_those_of_the_settings_are_answered(site: Site, host: str):
    host = host.format(port=site.port)
    assert site.request("GET", "/server_info", headers={"Host": host}).status == 200
    assert site.mutate(f"from {host}", Host=host, Origin=f"https://{host}", Sec_Fetch_Site="same-origin") == 200
    assert f"from {host}" in site.limits()


@pytest.mark.parametrize("accept", ["*/*", "application/json", "image/avif,image/webp,*/*", None])
@pytest.mark.parametrize("path", ["/graphql", "/%67raphql", "//graphql", "/graphql%0a", "/graphql/", "/x/../graphql"])
def test_graphql_by_get_executes_nothing(site: Site, path: str, accept: str | None):
    headers = {"Accept": accept} if accept else {}
    for method in ("GET", "HEAD"):
        site.request(method, f"{path}?query={quote(_SET % json.dumps('by-get'))}", headers=headers)
    assert "by-get" not in site.limits()
    assert site.request("GET", "/graphql?query=%7Bversion%7D", headers=headers).status == 405


def test_the_page_to_write_a_query_on_is_still_there(site: Site):
    page = site.request("GET", "/graphql?query=mutation", headers={"Accept": "text/html,*/*"})
    assert page.status == 200
    assert b"<title>GraphiQL</title>" in page.read()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://localhost:{port}.evil.example"},
        {"Origin": "http://localhost:{port}/"},
        {"Origin": "file://"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:{port}"},
    ],
    ids=str,
)
def test_what_changes_something_comes_from_our_own_pages(site: Site, headers: dict[str, str]):
    filled = {name.replace("-", "_"): value.format(port=site.port) for name, value in headers.items()}
    assert site.mutate("by-origin", **filled) == 403
    assert "by-origin" not in site.limits()


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json",
     "text/plain; application/json", "application/jsonx", "application/graphql", ""],
)  # fmt: skip
def test_a_body_that_another_site_may_send_without_asking_is_not_taken(site: Site, content_type: str):
    query = _SET % json.dumps("by-form")
    assert site.mutate("by-form", Content_Type=content_type) == 415
    by_query = site.request("POST", f"/graphql?query={quote(query)}", None, {"Content-Type": content_type})
    assert by_query.status == 415
    assert site.request("POST", f"/graphql?query={quote(query)}").status in (411, 415)
    assert "by-form" not in site.limits()


def test_a_script_without_an_origin_may_ask(site: Site):
    assert site.mutate("by-script") == 200
    assert "by-script" in site.limits()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_a_websocket_of_another_site_is_not_opened(site: Site, origin: str):
    with pytest.raises(websockets.InvalidStatus) as refused:
        connect(f"ws://localhost:{site.port}/graphql", origin=websockets.Origin(origin))
    assert refused.value.response.status_code == 403


def test_a_websocket_under_another_host_is_not_opened(site: Site):
    with pytest.raises(websockets.InvalidStatus) as refused:
        connect(f"ws://evil.example:{site.port}/graphql", sock=socket.create_connection(("127.0.0.1", site.port)))
    assert refused.value.response.status_code == 403


def test_a_websocket_of_our_own_pages_gets_its_answers(site: Site):
    origin = websockets.Origin(f"http://localhost:{site.port}")
    protocols = [websockets.Subprotocol("graphql-ws")]
    with connect(f"ws://localhost:{site.port}/graphql", origin=origin, subprotocols=protocols) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        assert json.loads(opened.recv(timeout=20)) == {"type": "connection_ack"}


def test_no_answer_may_be_framed_or_taken_for_another_type(site: Site):
    for path in ("/", "/runs", "/graphql", "/server_info", "/favicon.png", "/no/such/page"):
        headers = site.request("GET", path, headers={"Accept": "text/html"}).headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_headers_and_bodies_without_end_are_refused_and_others_go_on(site: Site):
    with suppress(OSError):  # it may hang up at once
        assert site.request("GET", "/server_info", headers={"X-Long": "x" * 500_000}).status >= 400
    sized = {**_JSON, "Content-Length": "99999999999"}
    assert site.request("POST", "/graphql", "", sized).status == 413
    waiting = http.client.HTTPConnection("127.0.0.1", site.port)
    waiting.connect()
    waiting.sock.sendall(b"POST /graphql HTTP/1.1\r\nHost: loc")  # and no more
    assert site.request("GET", "/server_info").status == 200
    waiting.close()
