"""An attempt ends at its deadline whatever the other side does, and a slow target does not delay others."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import SecretStr
from rich.console import Console

from audit_assets.alerting.channels.http_client import (
    LARGEST_RESPONSE,
    Body,
    HttpResponse,
    _RequestTrace,  # pyright: ignore[reportPrivateUsage]
    attempt,
    http_get,
    http_post,
)
from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.senders import build_senders
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery import outbox, silences
from audit_assets.alerting.delivery.deliverer import deliver
from audit_assets.alerting.delivery.outbox import LEASE
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets_tests.alerting.conftest import TOKEN
from audit_assets_tests.alerting.ledger_factories import NOON, PAGER, ROUTING, Book, episode, rule_result
from audit_assets_tests.alerting.test_deliverer import POST
from tools.fakes.answering import Reply
from tools.fakes.providers import FakeProviders

pytestmark = pytest.mark.requirement("R40", "R41")

BODY = Body(b"{}", "application/json")
STEP = timedelta(seconds=1)


def trickled(connection: socket.socket, over: Event) -> None:
    """Sends a byte now and then and never ends the headers."""
    connection.recv(65536)
    while not over.wait(0.05):
        connection.sendall(b"H")


def silent(connection: socket.socket, over: Event) -> None:
    """Accepts the connection and never sends anything, not even TLS."""
    over.wait()


@dataclass(frozen=True)
class Staller:
    port: int
    over: Event

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def stalling(request: pytest.FixtureRequest) -> Iterator[Staller]:
    """A server that accepts one connection and handles it with `request.param`."""
    over, behave = Event(), request.param

    def serve() -> None:
        connection, _ = server.accept()
        with closing(connection), suppress(OSError):  # the other side hangs up, as it should
            behave(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        thread = Thread(target=serve)
        thread.start()
        yield Staller(server.getsockname()[1], over)
        over.set()
        thread.join()


def timed(ask: Callable[[], HttpResponse | Outcome]) -> tuple[HttpResponse | Outcome, float]:
    began = time.monotonic()
    return ask(), time.monotonic() - began


@pytest.mark.parametrize("stalling", [trickled, silent], indirect=True)
def test_headers_that_trickle_in_or_never_come_end_at_the_deadline(stalling: Staller):
    outcome, seconds = timed(lambda: http_post(f"http://{stalling.host}/", BODY, {}, timeout=0.5))
    assert outcome == Outcome("uncertain", "no response from 127.0.0.1 within 0.5 s")
    assert seconds < 3


@pytest.mark.parametrize("stalling", [silent], indirect=True)
def test_a_tls_handshake_that_never_ends_has_sent_nothing(stalling: Staller):
    outcome, seconds = timed(lambda: http_post(f"https://{stalling.host}/", BODY, {}, timeout=0.5))
    assert outcome == Outcome("retry", "no connection to 127.0.0.1 within 0.5 s")
    assert seconds < 3


def test_an_endless_dns_lookup_has_sent_nothing(monkeypatch: pytest.MonkeyPatch):
    over = Event()

    def endless(*_: object, **__: object) -> list[object]:
        over.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", endless)
    outcome, seconds = timed(lambda: http_post("http://slow.example/", BODY, {}, timeout=0.3))
    over.set()
    assert outcome == Outcome("retry", "no connection to slow.example within 0.3 s")
    assert seconds < 3


def test_an_answer_of_one_byte_now_and_then_ends_at_the_deadline(fakes: FakeProviders):
    fakes.drip = {"slack": 0.05}
    client = SlackClient(SecretStr(TOKEN), fakes.slack_url, timeout=0.5)
    began = time.monotonic()
    assert client.post("#alerts", {"text": "hello"}, "delivery-1").kind == "uncertain"
    assert time.monotonic() - began < 3


def test_a_success_that_is_longer_than_a_megabyte_is_no_success_and_its_memory_is_bounded(
    fakes: FakeProviders, slack: SlackClient
):
    fakes.next_replies[POST].append(Reply(200, {"ok": True, "channel": "C1", "ts": "1.0", "x": "x" * LARGEST_RESPONSE}))
    outcome = slack.post("#alerts", {"text": "hello"}, "delivery-1")
    assert outcome == Outcome("uncertain", "the response of 127.0.0.1 is longer than 1,000,000 bytes")


def test_a_failure_that_is_longer_than_a_megabyte_is_cut(fakes: FakeProviders):
    fakes.next_replies[POST].append(Reply(503, "x" * (3 * LARGEST_RESPONSE)))
    answer = http_post(f"{fakes.slack_url}chat.postMessage", BODY, {}, timeout=5)
    assert isinstance(answer, HttpResponse)
    assert (answer.status, len(answer.text)) == (503, LARGEST_RESPONSE)


def test_headers_without_end_are_refused(fakes: FakeProviders):
    fakes.next_replies[POST].append(Reply(200, {"ok": True}, {"X-Long": "x" * 300_000}))
    answer = http_post(f"{fakes.slack_url}chat.postMessage", BODY, {}, timeout=5)
    assert answer == Outcome("uncertain", "the connection to 127.0.0.1 dropped before the response")


def test_a_redirect_is_not_followed(fakes: FakeProviders):
    fakes.next_replies[POST].append(Reply(307, "", {"Location": fakes.events_url}))
    answer = http_post(f"{fakes.slack_url}chat.postMessage", BODY, {}, timeout=5)
    assert isinstance(answer, HttpResponse)
    assert answer.status == 307
    assert len(fakes.bodies) == 1


def test_all_requests_of_one_attempt_share_its_time(fakes: FakeProviders):
    fakes.reply_after = 0.2
    with attempt(0.5):
        answers = [http_get(f"{fakes.events_url}/incidents", {}, timeout=5) for _ in range(5)]
    assert isinstance(answers[0], HttpResponse)
    assert answers[-1] == Outcome("retry", "no time left for the request to 127.0.0.1")


def test_the_wait_until_a_date_is_measured_by_the_clock_that_wrote_it(fakes: FakeProviders):
    headers = {"Retry-After": "Tue, 01 Jan 2030 00:01:00 GMT", "Date": "Tue, 01 Jan 2030 00:00:00 GMT"}
    fakes.next_replies[POST].append(Reply(429, "", headers))
    answer = http_post(f"{fakes.slack_url}chat.postMessage", BODY, {}, timeout=5)
    assert isinstance(answer, HttpResponse)
    assert answer.wait == timedelta(seconds=60)


def test_a_slow_target_starves_no_other(sqlite_book: Book, fakes: FakeProviders, pagerduty: PagerDutyClient):
    """Slack uses up the time of each attempt. Pages to PagerDuty do not wait for it, though they were queued later."""
    sqlite_book.record(rule_result(*(episode(f"capability-{number}") for number in range(4))))
    fakes.drip = {"slack": 0.05}
    slow = SlackClient(SecretStr(TOKEN), fakes.slack_url, timeout=4)
    senders = build_senders(slow, pagerduty, Console(quiet=True))
    began = time.monotonic()
    clock = lambda: NOON + timedelta(seconds=time.monotonic() - began)  # noqa: E731
    deliver(sqlite_book.ledger, senders, ROUTING, clock, timedelta(seconds=3))
    assert time.monotonic() - began < 20
    statuses = {(row.target, row.status) for row in sqlite_book.rows("deliveries") if row.action == "trigger"}
    assert statuses == {(PAGER, "sent")}


def test_a_deliverer_that_was_suspended_after_its_claim_sends_nothing(
    sqlite_book: Book, fakes: FakeProviders, pagerduty: PagerDutyClient, monkeypatch: pytest.MonkeyPatch
):
    """Another deliverer may have claimed the row and looked for its message by then."""
    sqlite_book.record(rule_result(episode("a")))
    suppression_reason = silences.suppression_reason

    def suspended(*arguments: Any) -> Any:
        time.sleep(1.2)
        return suppression_reason(*arguments)

    monkeypatch.setattr(silences, "suppression_reason", suspended)
    senders = build_senders(None, pagerduty, Console(quiet=True))
    deliver(sqlite_book.ledger, senders, ROUTING, lambda: NOON, lease=timedelta(seconds=4))
    assert not fakes.received().requests
    monkeypatch.setattr(silences, "suppression_reason", suppression_reason)
    deliver(sqlite_book.ledger, senders, ROUTING, lambda: NOON + timedelta(minutes=1))
    assert len(fakes.incidents()) == 1


def test_a_request_that_was_suspended_before_it_was_sent_is_not_sent(
    fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    called = _RequestTrace.__call__

    def suspended(trace: _RequestTrace, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            time.sleep(0.6)
        called(trace, event, info)

    monkeypatch.setattr(_RequestTrace, "expire", Mock(return_value=False))  # the caller is suspended too
    monkeypatch.setattr(_RequestTrace, "__call__", suspended)
    http_post(f"{fakes.events_url}/v2/enqueue", Body(b"{}", "application/json"), {}, timeout=0.3)
    time.sleep(0.6)
    assert not fakes.received().requests


def test_at_most_one_row_of_a_target_is_in_flight(book: Book):
    book.record(rule_result(episode("a"), episode("b")))
    with book.ledger.transaction() as connection:
        first = outbox.claim(connection, NOON, "one", only=[PAGER])
    with book.ledger.transaction() as connection:
        assert outbox.claim(connection, NOON, "two", only=[PAGER]) is None
        assert PAGER not in outbox.due_targets(connection, NOON)
    with book.ledger.transaction() as connection:
        assert first is not None
        outbox.settle(connection, first, Outcome("sent", "ok", "key"), NOON, "one")
    with book.ledger.transaction() as connection:
        assert outbox.claim(connection, NOON, "two", only=[PAGER]) is not None


def test_an_attempt_whose_process_died_waits_longer_each_time(book: Book):
    book.record(rule_result(episode("a")))
    at, pauses = NOON, []
    for _ in range(8):
        waited = timedelta()
        while True:
            with book.ledger.transaction() as connection:
                row = outbox.claim(connection, at + waited, "killed", only=[PAGER])
            if row is not None:
                break
            waited += STEP
        at += waited
        pauses.append(waited)
    assert pauses[0] == timedelta()
    assert pauses[1] == LEASE
    assert pauses[-1] > LEASE + timedelta(seconds=25)
