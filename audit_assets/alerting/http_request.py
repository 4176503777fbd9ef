"""One HTTP request, POST or GET, never repeated: the answer, or an outcome that tells not sent from perhaps sent."""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError, LocationValueError, NewConnectionError

from audit_assets.alerting.http_answer import Answer
from audit_assets.alerting.outcome import Outcome

_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    LocationValueError,
)


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted, encoded."""

    content: bytes
    content_type: str


class _Headers(AuthBase):
    """Headers set as authorization, so that a `.netrc` of the machine cannot put its own in their place."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


def posted(url: str, body: Body, headers: Mapping[str, str], timeout: float) -> Answer | Outcome:
    """The answer to `body` at `url`, within `timeout` seconds to connect and as many between two bytes.

    Trouble on the way is an Outcome, not an exception: `retry` where nothing can have been taken, `uncertain` where
    the request may have arrived, `parked` where the address itself is none. A connection of its own each time: one
    kept open may have been closed by the other side meanwhile, which looks like a request that was lost.
    """
    return _answered("POST", url, {"Content-Type": body.content_type, **headers}, timeout, body.content)


def fetched(url: str, headers: Mapping[str, str], timeout: float) -> Answer | Outcome:
    """The answer to a GET of `url`, within `timeout` seconds as in `posted`; trouble on the way is `retry` or `parked`.

    Nothing is `uncertain`: looking may be repeated.
    """
    answer = _answered("GET", url, headers, timeout)
    return replace(answer, kind="retry") if isinstance(answer, Outcome) and answer.kind == "uncertain" else answer


def _answered(
    method: str, url: str, headers: Mapping[str, str], timeout: float, content: bytes | None = None
) -> Answer | Outcome:
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        # Asked before http.client does, whose error would repeat the header with the token in it.
        return Outcome("parked", "the token holds characters that no token can hold")
    try:
        response = requests.request(
            method,
            url,
            data=content,
            auth=_Headers(headers),
            timeout=timeout,
            # A redirected POST becomes a GET, and its answer one to another question.
            allow_redirects=False,
        )
        text = response.content.decode("utf-8", "replace")
    except (*_NO_ADDRESS, UnicodeError):  # the last from a host name that no IDNA encodes
        return Outcome("parked", f"the address is not one to {'post to' if method == 'POST' else 'ask'}")
    except requests.exceptions.ConnectTimeout:
        return Outcome("retry", f"no connection to {_host(url)} within {timeout:g} s")
    except requests.exceptions.Timeout:
        return Outcome("uncertain", f"no answer from {_host(url)} within {timeout:g} s")
    except (requests.exceptions.RequestException, HTTPError) as error:
        if _never_arrived(error):
            return Outcome("retry", f"no connection to {_host(url)}")
        return Outcome("uncertain", f"the connection to {_host(url)} dropped before its answer")
    return Answer(response.status_code, text, response.headers.get("Retry-After"))


def _never_arrived(error: Exception) -> bool:
    """Whether `error` came before the first byte of the request: no address, no connection, no valid certificate.

    A TLS error of another kind may also be a connection cut while the answer was read.
    """
    if isinstance(error, requests.exceptions.ProxyError):
        return True
    return any(isinstance(one, NewConnectionError | ssl.SSLCertVerificationError) for one in _within(error))


def _within(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it wraps: requests and urllib3 carry the cause as an argument or a `reason`.

    Its `__context__` is left out: it may be the caller's own trouble, of an earlier request.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (*one.args, getattr(one, "reason", None), one.__cause__)
        waiting.extend(each for each in inner if isinstance(each, BaseException))


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the provider"
