"""The HTTP client of all channels: sends one request, GET or POST, without retries.

The result is a response, or an outcome that distinguishes "not sent" from "may have been sent". A request has one
deadline for DNS lookup, connection, TLS, headers and body: with a read timeout alone, a server that sends one byte
every few seconds would block a deliverer forever. Secrets are redacted from quoted responses.
"""

import contextvars
import json
import logging
import math
import re
import socket
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from ssl import SSLContext
from threading import Lock, Thread
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from audit_assets.alerting.delivery.outcome import Outcome, OutcomeKind
from audit_assets.config.json_values import is_object
from audit_assets.text.sanitize import escape

# A longer Retry-After is cut to this: a page must not wait for an hour.
LONGEST_WAIT = timedelta(minutes=15)
LONGEST_LINE = 200  # characters of a response that are kept
INVALID_URL = "not a valid URL"
REDACTED = "[redacted]"

# Statuses that mean the same at every provider. Any other failure may be temporary and is retried.
_NEEDS_A_PERSON = frozenset({401, 402, 403, 404, 405, 407, 410})
_CONTENT_IS_REFUSED = frozenset({400, 413, 414, 415, 422})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One HTTP response. `retry_after` is the raw header; `clock` is the time (UTC) of the provider's own clock."""

    status: int
    text: str
    retry_after: str | None = None
    clock: datetime | None = None

    @property
    def wait(self) -> timedelta | None:
        """How long the provider asks to wait. A date in the header is compared with the provider's clock, if known."""
        return retry_after(self.retry_after, self.clock or datetime.now(UTC))


def is_success(status: int) -> bool:
    """Whether `status` is a 2xx; that alone does not prove that the provider accepted anything."""
    return 200 <= status < 300


def classify_status(status: int) -> OutcomeKind:
    """The outcome that a failure status means. Never `sent`: that depends on the body."""
    if status in _NEEDS_A_PERSON:
        return "parked"
    return "refused" if status in _CONTENT_IS_REFUSED else "retry"


def json_object(text: str) -> dict[str, Any] | None:
    """`text` as a JSON object, or None if it is anything else (the page of a proxy, plain text, nothing)."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if is_object(document) else None


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """How long `Retry-After` asks to wait from `now` (timezone-aware): seconds, also fractional, or an HTTP date.

    None if the header is missing or cannot be parsed, zero if its date has passed, never more than LONGEST_WAIT.
    """
    value = (header or "").strip()
    if re.fullmatch(r"[0-9]*\.?[0-9]+|[0-9]+\.", value):
        seconds = float(value)
        return timedelta(seconds=min(seconds, LONGEST_WAIT.total_seconds())) if math.isfinite(seconds) else LONGEST_WAIT
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # "-0000" means UTC without a statement about the local zone
            moment = moment.replace(tzinfo=UTC)
        wait = moment - now
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` without `secrets`, both plain and percent-encoded."""
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""))}
    for form in sorted(forms, key=len, reverse=True):  # the longest first, so that no part of it remains
        text = text.replace(form, REDACTED)
    return text


def one_line(text: str, secrets: Iterable[str], longest: int = LONGEST_LINE) -> str:
    """`text` as one escaped line of at most `longest` characters, redacted before it is cut. Empty if `text` is."""
    line = " ".join(redact(text, secrets).split())
    return escape(line, longest) if line else ""


LARGEST_RESPONSE = 1_000_000  # bytes of a body that are read; httpcore refuses more than 100 kB of headers
TOO_LONG = f"longer than {LARGEST_RESPONSE:,} bytes"
# All requests of one attempt. The 40 s budget of a tick plus one attempt end before Dagster's limit of 60 s.
ATTEMPT_SECONDS = 15.0

_until: contextvars.ContextVar[float] = contextvars.ContextVar("until")
# httpx logs each URL at INFO, and the path of a webhook is often a secret.
logging.getLogger("httpx").addFilter(lambda record: record.levelno >= logging.WARNING)


@dataclass(frozen=True, slots=True)
class Body:
    """An encoded request body."""

    content: bytes
    content_type: str


@contextmanager
def attempt(seconds: float = ATTEMPT_SECONDS, began: float | None = None) -> Generator[None]:
    """All requests inside the block share `seconds`, counted from `began` (of `time.monotonic()`; now by default).
    Looking for a message, page by page, and then posting it is one attempt."""
    token = _until.set((time.monotonic() if began is None else began) + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def http_post(url: str, body: Body, headers: Mapping[str, str], timeout: float) -> HttpResponse | Outcome:
    """Posts `body` to `url` and returns the response, within `timeout` seconds in all or the rest of `attempt`.

    Network errors are an Outcome, not an exception: `retry` if nothing can have been accepted, `uncertain` if the
    request may have arrived, `parked` if the URL is invalid. Each request opens a new connection: the other side may
    have closed a kept-alive one, which looks like a lost request. Redirects are not followed.
    """
    return _send("POST", url, {"Content-Type": body.content_type, **headers}, timeout, body.content)


def http_get(url: str, headers: Mapping[str, str], timeout: float) -> HttpResponse | Outcome:
    """The response to a GET of `url`, within `timeout` seconds as in `http_post`. Network errors are `retry`, and an
    invalid URL is `parked`.

    The outcome is never `uncertain`: a read can be repeated.
    """
    response = _send("GET", url, headers, timeout)
    return (
        replace(response, kind="retry") if isinstance(response, Outcome) and response.kind == "uncertain" else response
    )


def _send(
    method: str, url: str, headers: Mapping[str, str], timeout: float, content: bytes | None = None
) -> HttpResponse | Outcome:
    if not all(value.isascii() and value.isprintable() and value == value.strip() for value in headers.values()):
        # Checked before httpx does: its error message would contain the header with the token.
        return Outcome("parked", "the token is empty, or has characters that are not allowed in a token")
    if not _has_host(url):
        return Outcome("parked", INVALID_URL)
    seconds = min(timeout, _until.get(float("inf")) - time.monotonic())
    if seconds <= 0:
        return Outcome("retry", f"no time left for the request to {_host(url)}")
    trace, results = _RequestTrace(time.monotonic() + seconds), list[HttpResponse | Outcome | BaseException]()

    def run() -> None:
        try:
            results.append(_request(method, url, headers, content, seconds, trace))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            results.append(error)

    # In a thread, since a DNS lookup has no timeout. At the deadline the thread is abandoned, and ends by itself.
    thread = Thread(target=run, name=f"{method} {_host(url)}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        if trace.expire():
            return Outcome("uncertain", f"no response from {_host(url)} within {seconds:.3g} s")
        return Outcome("retry", f"no connection to {_host(url)} within {seconds:.3g} s")
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


class _RequestTrace:
    """The progress of a request, from httpx's trace events. At the deadline it closes the connection from outside."""

    def __init__(self, deadline: float) -> None:
        self._lock = Lock()
        self._deadline = deadline
        self._connection: socket.socket | None = None
        self._expired = False
        self.started = False  # the first byte of the request may have left

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        step = event.partition(".")[2]
        with self._lock:
            # A process that was suspended sends nothing after its deadline: another deliverer may have sent it.
            if self._expired or (not self.started and time.monotonic() >= self._deadline):
                raise TimeoutError
            if step == "connect_tcp.complete" and self._connection is None:
                # A duplicate of the socket: TLS takes over the original.
                self._connection = info["return_value"].get_extra_info("socket").dup()
            # A CONNECT to a proxy comes first and does not carry the request.
            if step == "send_request_headers.started" and info["request"].method != b"CONNECT":
                self.started = True

    def expire(self) -> bool:
        """Closes the connection, so that nothing more is sent or read. Returns whether the request may have arrived."""
        with self._lock:
            self._expired = True
            if self._connection is not None:
                with suppress(OSError):  # the other side has closed it already
                    self._connection.shutdown(socket.SHUT_RDWR)
            return self.started

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None, seconds: float, trace: _RequestTrace
) -> HttpResponse | Outcome:
    try:
        sent = {"Accept-Encoding": "identity", **headers}
        with (
            httpx.Client(verify=_trusted(), timeout=seconds, follow_redirects=False) as client,
            client.stream(method, url, content=content, headers=sent, extensions={"trace": trace}) as response,
        ):
            return _read(response, url)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):  # UnicodeError: a host that IDNA cannot encode
        return Outcome("parked", INVALID_URL)
    except TimeoutError:  # of the trace, before the request was sent
        return Outcome("retry", f"no connection to {_host(url)} within {seconds:.3g} s")
    except httpx.HTTPError as error:
        late = isinstance(error, httpx.TimeoutException)
        if not trace.started:
            return Outcome("retry", f"no connection to {_host(url)}{f' within {seconds:.3g} s' if late else ''}")
        if late:
            return Outcome("uncertain", f"no response from {_host(url)} within {seconds:.3g} s")
        return Outcome("uncertain", f"the connection to {_host(url)} dropped before the response")
    finally:
        trace.close()


def _read(response: httpx.Response, url: str) -> HttpResponse | Outcome:
    """Reads the body up to `LARGEST_RESPONSE`. A longer success is `uncertain`: its body cannot be checked."""
    content = bytearray()
    for part in response.iter_bytes():
        content += part
        if len(content) > LARGEST_RESPONSE:
            if is_success(response.status_code):
                return Outcome("uncertain", f"the response of {_host(url)} is {TOO_LONG}")
            break
    text = bytes(content[:LARGEST_RESPONSE]).decode("utf-8", "replace")
    headers = response.headers
    return HttpResponse(response.status_code, text, headers.get("Retry-After"), _clock(headers.get("Date")))


def _clock(date: str | None) -> datetime | None:
    """The time (UTC) of the provider's clock, from the Date header; None if there is none."""
    try:
        at = parsedate_to_datetime(date or "")
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@cache
def _trusted() -> SSLContext:
    """The TLS context, cached: reading the certificates takes 20 ms."""
    return httpx.create_ssl_context()


def _has_host(url: str) -> bool:
    """Whether `url` has a valid host. httpx accepts a single bracket as a host name."""
    try:
        return urlsplit(url).hostname is not None
    except ValueError:
        return False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the provider"
    except ValueError:
        return "the provider"
