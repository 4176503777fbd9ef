"""Tests of the PagerDuty client: the outcome of each response and each failure; the key is never shown."""

import dataclasses
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.delivery.outcome import Outcome, OutcomeKind
from audit_assets_tests.alerting.conftest import ROUTING_KEY
from audit_assets_tests.environments import NOW
from tools.fakes.answering import Faults, Reply
from tools.fakes.providers import PAGERDUTY_PATH, FakeProviders
from tools.fakes.reading import read_log

KEY = "ai-audit/local/volume_spike/9f2c/1"
TRIGGER: dict[str, Any] = {
    "event_action": "trigger",
    "dedup_key": KEY,
    "payload": {"summary": "chat: 412 calls, 3.1 x the usual", "source": "ai-audit/local", "severity": "error"},
    "links": [{"href": "https://docs.internal/runbook", "text": "Runbook"}],
}
RESOLVE = {"event_action": "resolve", "dedup_key": KEY}


def trigger(**payload: Any) -> dict[str, Any]:
    return {**TRIGGER, "payload": {**TRIGGER["payload"], **payload}}


def test_an_accepted_event_is_sent_and_refers_to_its_key(fakes: FakeProviders, pagerduty: PagerDutyClient):
    assert pagerduty.send(TRIGGER) == Outcome("sent", "202 Event processed", reference=KEY)
    assert fakes.bodies == [(PAGERDUTY_PATH, {**TRIGGER, "routing_key": ROUTING_KEY})]
    incident = fakes.incidents()[KEY]
    assert (incident.state, incident.severity, incident.triggers) == ("open", "error", 1)


def test_a_resolve_needs_only_the_key(fakes: FakeProviders, pagerduty: PagerDutyClient):
    pagerduty.send(TRIGGER)
    assert pagerduty.send(RESOLVE).kind == "sent"
    assert fakes.incidents()[KEY].state == "resolved"


def test_the_same_event_again_is_the_same_incident_until_it_is_resolved(
    fakes: FakeProviders, pagerduty: PagerDutyClient
):
    for event in (TRIGGER, TRIGGER, RESOLVE, TRIGGER):
        pagerduty.send(event)
    incident = fakes.incidents()[KEY]
    assert (incident.opened, incident.triggers, incident.resolves, incident.state) == (2, 3, 1, "open")


@pytest.mark.parametrize(
    "event",
    [
        trigger(summary="x" * 1025),
        trigger(severity="fatal"),
        trigger(source=""),
        {**TRIGGER, "event_action": "page"},
        {"event_action": "resolve"},
        {**TRIGGER, "dedup_key": "k" * 256},
        trigger(custom_details={"all": "x" * 600_000}),
    ],
)
def test_an_event_that_pagerduty_will_never_accept_is_refused(
    fakes: FakeProviders, pagerduty: PagerDutyClient, event: dict[str, Any]
):
    outcome = pagerduty.send(event)
    assert outcome.kind == "refused"
    assert outcome.detail.startswith(("400 Event object is invalid; '", "413 "))
    assert fakes.incidents() == {}


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_an_event_that_is_no_json_is_refused_and_not_sent(
    fakes: FakeProviders, pagerduty: PagerDutyClient, value: object
):
    assert pagerduty.send(trigger(custom_details={"figure": value})).kind == "refused"
    assert fakes.bodies == []


@pytest.mark.parametrize("key", ["too-short", "f" * 31, "f" * 32, "", "clé\u2028", "one\r\nX-Two: three"])
def test_a_wrong_key_parks_whatever_is_sent(fakes: FakeProviders, key: str):
    outcome = PagerDutyClient(SecretStr(key), fakes.events_url).send(TRIGGER)
    assert outcome.kind == "parked"
    assert "routing" in outcome.detail.lower()


def test_a_key_with_a_line_end_behind_it_is_the_key(fakes: FakeProviders):
    assert PagerDutyClient(SecretStr(f"{ROUTING_KEY}\n"), fakes.events_url).send(TRIGGER).kind == "sent"


SUCCESS = {"status": "success", "message": "Event processed"}
INVALID = {"status": "invalid event", "message": "Event object is invalid"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (202, SUCCESS, "sent"),
        (200, {"status": "throttled"}, "retry"),
        (200, "<html>please log in</html>", "retry"),
        (202, "", "retry"),
        (202, "[]", "retry"),
        (204, "", "retry"),
        (302, "", "retry"),
        (400, {**INVALID, "errors": ["'payload.summary' is missing or blank"]}, "refused"),
        (400, {**INVALID, "errors": "Length of 'routing_key' is incorrect (should be 32 characters)"}, "parked"),
        (400, {**INVALID, "errors": ["summary is blank", "'routing_key' is missing or blank"]}, "parked"),
        (400, "Invalid routing key", "parked"),
        (400, "", "refused"),
        (401, "", "parked"),
        (403, "", "parked"),
        (404, "", "parked"),
        (408, "", "retry"),
        (413, "", "refused"),
        (429, "", "retry"),
        (500, "oops", "retry"),
        (502, "", "retry"),
        (503, "<html>", "retry"),
        (504, "", "retry"),
    ],
)
def test_each_answer_has_its_outcome(
    fakes: FakeProviders, pagerduty: PagerDutyClient, status: int, body: Any, kind: OutcomeKind
):
    fakes.next_replies[PAGERDUTY_PATH].append(Reply(status, body, {"Location": "http://127.0.0.1:1/"}))
    outcome = pagerduty.send(TRIGGER)
    assert (outcome.kind, outcome.retry_after) == (kind, None)
    assert outcome.detail.startswith(str(status))
    assert outcome.reference == (KEY if kind == "sent" else None)
    assert len(fakes.bodies) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("0.25", 0.25), ("86400", 900)])
def test_retry_after_is_returned(
    fakes: FakeProviders, pagerduty: PagerDutyClient, status: int, header: str, seconds: float
):
    fakes.next_replies[PAGERDUTY_PATH].append(Reply(status, "", {"Retry-After": header}))
    assert pagerduty.send(TRIGGER).retry_after == timedelta(seconds=seconds)


def test_the_wait_asked_for_may_be_a_date(fakes: FakeProviders, pagerduty: PagerDutyClient):
    at, until = (format_datetime(NOW + timedelta(seconds=more), usegmt=True) for more in (0, 60))
    fakes.next_replies[PAGERDUTY_PATH].append(Reply(429, "", {"Retry-After": until, "Date": at}))
    assert pagerduty.send(TRIGGER).retry_after == timedelta(seconds=60)


def test_a_refused_connection_may_be_tried_again(fakes: FakeProviders, pagerduty: PagerDutyClient):
    fakes.close()
    assert pagerduty.send(TRIGGER) == Outcome("retry", "no connection to 127.0.0.1")


def test_a_host_without_an_address_may_be_tried_again():
    outcome = PagerDutyClient(SecretStr(ROUTING_KEY), "http://events.invalid", timeout=5).send(TRIGGER)
    assert outcome == Outcome("retry", "no connection to events.invalid")


def test_a_certificate_that_nobody_signed_is_sent_nothing(tmp_path: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with answering(b"", context) as port:
        outcome = PagerDutyClient(SecretStr(ROUTING_KEY), f"https://127.0.0.1:{port}", timeout=5).send(TRIGGER)
    assert outcome == Outcome("retry", "no connection to 127.0.0.1")


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "self-signed.pem"
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return file


def test_a_server_that_answers_tls_in_clear_is_sent_nothing(fakes: FakeProviders):
    address = fakes.events_url.replace("http:", "https:")
    assert PagerDutyClient(SecretStr(ROUTING_KEY), address, timeout=5).send(TRIGGER).kind == "retry"
    assert fakes.bodies == []


@pytest.mark.parametrize(
    "address",
    ["events.pagerduty.com", "ftp://a.b", "http://", "http://[::1", "http://a:b", "http://.a", f"http://{'a' * 70}.b"],
)
def test_an_address_that_is_none_is_parked(address: str):
    assert PagerDutyClient(SecretStr(ROUTING_KEY), address).send(TRIGGER).kind == "parked"


def test_no_answer_in_time_is_uncertain(fakes: FakeProviders):
    fakes.reply_after = 30
    outcome = PagerDutyClient(SecretStr(ROUTING_KEY), fakes.events_url, timeout=0.3).send(TRIGGER)
    assert outcome == Outcome("uncertain", "no response from 127.0.0.1 within 0.3 s")
    assert fakes.incidents()[KEY].triggers == 1


def test_a_connection_dropped_after_processing_is_uncertain_and_sending_again_makes_no_second_incident(
    fakes: FakeProviders, pagerduty: PagerDutyClient
):
    with FakeProviders(faults=Faults(dropped_after_processing=1.0)) as dropping:
        outcome = PagerDutyClient(SecretStr(ROUTING_KEY), dropping.events_url).send(TRIGGER)
        assert outcome == Outcome("uncertain", "the connection to 127.0.0.1 dropped before the response")
        assert len(dropping.bodies) == 1  # nothing below us sent it again
        dropping.faults = Faults()
        again = PagerDutyClient(SecretStr(ROUTING_KEY), dropping.events_url).send(TRIGGER)
        assert again.kind == "sent"
        assert [(one.opened, one.triggers) for one in dropping.incidents().values()] == [(1, 2)]


def test_a_provider_that_is_down_accepted_nothing_and_is_uncertain(fakes: FakeProviders, pagerduty: PagerDutyClient):
    fakes.down.add("pagerduty")
    assert pagerduty.send(TRIGGER).kind == "uncertain"
    fakes.down.clear()
    assert pagerduty.send(TRIGGER).kind == "sent"
    assert fakes.incidents()[KEY].triggers == 1


@contextmanager
def answering(raw: bytes, tls: ssl.SSLContext | None = None) -> Generator[int]:
    """The port of a server that accepts one request and replies with `raw`."""

    def answer_once() -> None:
        connection, _ = server.accept()
        with suppress(OSError), tls.wrap_socket(connection, server_side=True) if tls else connection as open_one:
            open_one.recv(65536)
            open_one.sendall(raw)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        thread = Thread(target=answer_once)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 1, 2\r\n\r\n{}",
        b"HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 many\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 202 " + b"x" * 100_000,
    ],
)
def test_an_answer_that_is_cut_off_or_is_no_http_is_uncertain(raw: bytes):
    with answering(raw) as port:
        outcome = PagerDutyClient(SecretStr(ROUTING_KEY), f"http://127.0.0.1:{port}", timeout=5).send(TRIGGER)
    assert outcome == Outcome("uncertain", "the connection to 127.0.0.1 dropped before the response")


@pytest.mark.parametrize("path", ["", "/", "/v2/enqueue", "/v2/enqueue/"])
def test_the_address_may_hold_its_path(fakes: FakeProviders, path: str):
    assert PagerDutyClient(SecretStr(ROUTING_KEY), fakes.events_url + path).send(TRIGGER).kind == "sent"


@pytest.mark.parametrize("status", [202, 400, 429, 500])
def test_the_key_is_in_no_repr_and_in_no_outcome_even_where_the_server_repeats_it(
    fakes: FakeProviders, pagerduty: PagerDutyClient, status: int
):
    echoed = {"status": f"wrong {ROUTING_KEY}", "message": ROUTING_KEY, "errors": [f"key {ROUTING_KEY}", ROUTING_KEY]}
    fakes.next_replies[PAGERDUTY_PATH].extend([Reply(status, echoed), Reply(status, f"{'x' * 170} {ROUTING_KEY}")])
    texts = [repr(pagerduty), str(pagerduty), repr(pagerduty.send(TRIGGER)), repr(pagerduty.send(TRIGGER))]
    assert all(ROUTING_KEY[:8] not in text for text in texts)


def test_the_key_of_the_client_replaces_a_key_in_the_event(fakes: FakeProviders, pagerduty: PagerDutyClient):
    assert pagerduty.send({**TRIGGER, "routing_key": "another"}).kind == "sent"
    with pytest.raises(dataclasses.FrozenInstanceError):
        pagerduty.timeout = 1  # type: ignore[misc]


def test_the_log_shows_what_the_fakes_received_without_the_key(
    fakes: FakeProviders, pagerduty: PagerDutyClient, tmp_path: Path
):
    for event in (TRIGGER, trigger(severity="fatal"), RESOLVE):
        pagerduty.send(event)
    log = tmp_path / "requests.jsonl"
    assert read_log(log) == fakes.received()
    assert ROUTING_KEY not in log.read_text()
