"""Requests that the dashboards' server rejects, and its response headers; on a server without data."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from audit_assets_tests.dashboards.browsing import served
from audit_assets_tests.environments import Home, bare_home

_OUTPUTS = [{"id": "_pages_content", "property": "children"}, {"id": "_pages_store", "property": "data"}]
_LOCATION = [
    {"id": "_pages_location", "property": "pathname", "value": "/"},
    {"id": "_pages_location", "property": "search", "value": "?range=7d"},
]
_WHOLE = {
    "output": ".._pages_content.children..._pages_store.data..",
    "outputs": _OUTPUTS,
    "inputs": _LOCATION,
    "changedPropIds": ["_pages_location.pathname"],
    "parsedChangedPropsIds": ["_pages_location.pathname"],
}
_PIECES = (
    "/ data T05 .csv %ff %00 .. %2e%2e audit-log workspace _dash-layout assets _dash-component-suites dash x "
    "workspaces overview scripts _reload-hash %C3%A9 %0a _dash-update-component"
)
_QUERIES = (
    " ? ?range=x ?from=9999-99-99&to=0 ?page=-1 ?page=9e99 ?capability=%ff%00 ?%ff=%ff ?sort=x&sort=y "
    "?from=0001-01-01&to=9999-12-31 ?range=99999999999999999999d"
)
_UPDATE = "/_dash-update-component"
_JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def address(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a running server."""
    with bare_home(postgres, tmp_path_factory.mktemp("requests")) as home:
        home.folder.mkdir()
        allowed = Home(home.folder, home.source_url, home.dagster_url, (("AI_AUDIT_ALLOWED_HOSTS", "pages.internal"),))
        with served(allowed) as url:
            yield url.removeprefix("http://")


def ask(address: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer


def post(address: str, document: Any, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(address, "POST", _UPDATE, json.dumps(document), {**_JSON, **named}).status


def test_requests_of_a_page_are_answered(address: str):
    assert post(address, _WHOLE) == 200
    assert post(address, _WHOLE, Origin=f"http://{address}", Sec_Fetch_Site="same-origin") == 200
    assert post(address, _WHOLE, Host="pages.internal", Origin="https://pages.internal") == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost", "localhost:1", "127.0.0.1.evil.example:{port}", ""])
def test_an_unknown_host_is_rejected(address: str, host: str):
    host = host.format(port=address.rpartition(":")[2])
    for path in ("/", "/healthz", "/data/T05.csv", "/audit-overview?capability=x"):
        assert ask(address, "GET", path, headers={"Host": host}).status in (400, 403)
    assert post(address, _WHOLE, Host=host) in (400, 403)


def test_an_unknown_query_string_changes_nothing(address: str):
    for query in ("?x", "?endId=1", "?cancelJob=1&oldJob=2", "?job=1&cacheKey=2", "?cacheKey=%ff"):
        assert ask(address, "POST", _UPDATE + query, json.dumps(_WHOLE), _JSON).status == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}]
)
def test_requests_of_another_site_are_rejected(address: str, headers: dict[str, str]):
    assert post(address, _WHOLE, **headers) == 403


def _mutations() -> Iterator[Any]:
    """Requests with each part missing or of another type, down to single inputs."""
    junk: list[Any] = [None, 0, -1, 1e308, True, "", "x", "..", [], ["x"], [[]], {}, {"id": 1}, [None], "x" * 30_000]
    yield from junk
    for name in _WHOLE:
        yield from ({**_WHOLE, name: value} for value in junk)
        yield {key: value for key, value in _WHOLE.items() if key != name}
    for place in (0, 1):
        for name in _LOCATION[place]:
            for value in junk:
                inputs = [{**one, name: value} if number == place else one for number, one in enumerate(_LOCATION)]
                yield {**_WHOLE, "inputs": inputs}
    yield {**_WHOLE, "state": [{"id": "x", "property": "y", "value": 1}]}
    yield {**_WHOLE, "inputs": _LOCATION * 2}
    yield {**_WHOLE, "inputs": _LOCATION[::-1]}


def test_a_malformed_request_never_causes_a_server_error(address: str):
    answered = [(document, post(address, document)) for document in _mutations()]
    assert [(str(document)[-300:], status) for document, status in answered if status not in (200, 204, 400)] == []
    refused: list[Any] = [{}, [], None, {"output": "nope.x"}, {**_WHOLE, "outputs": 5}, {**_WHOLE, "inputs": [1]}]
    for document in refused:
        assert post(address, document) == 400, document


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"\xff\xfe{}", b"[" * 100_000, b'{"output": NaN}', b'"\\ud800"', b"\x00"],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_not_json_is_a_bad_request(address: str, body: bytes):
    assert ask(address, "POST", _UPDATE, body, _JSON).status == 400
    assert ask(address, "POST", _UPDATE, body, {"Content-Type": "application/json; charset=utf-16"}).status == 400
    assert ask(address, "POST", _UPDATE, body, {"Content-Type": "text/plain"}).status == 400


def test_a_body_that_is_too_large_is_rejected(address: str):
    # Only the length is sent: the server closes the connection before reading the body.
    assert ask(address, "POST", _UPDATE, None, {**_JSON, "Content-Length": "3000000"}).status == 413


def test_no_url_causes_a_server_error(address: str):
    chance = random.Random(3)
    pieces, queries = _PIECES.split(), [*_QUERIES.split(" "), "?" + "a=b&" * 500]
    for _ in range(300):
        path = "/" + "/".join(chance.choices(pieces, k=chance.randint(1, 4)))
        for method in ("GET", chance.choice(("POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"))):
            answer = ask(address, method, path + chance.choice(queries))
            assert answer.status < 500 or answer.status == 503, (method, path)
    for page in ("/data/T05", "/data/T05.csv", "/audit-overview", "/workspaces/x", "/audit-log"):
        for query in queries:
            assert ask(address, "GET", page + query).status in (200, 302, 404, 503), page + query


@pytest.mark.parametrize(
    "path", ["/", "/data/T05", "/data/T05.csv", "/healthz", "/no/such/page", "/assets/dashboards.css", "/overview"]
)
def test_every_response_has_the_security_headers(address: str, path: str):
    headers = ask(address, "GET", path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    assert policy["connect-src"] == "'self'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
