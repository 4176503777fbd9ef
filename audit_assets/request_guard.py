"""Decides which requests a local web server answers: known hosts only, and changes only from its own pages.

Neither Dagster's UI nor the dashboards have a login. A page of another site, open in a browser on the same machine, can
send them requests: under a name of its own that resolves here (DNS rebinding, seen by `Host`), or across sites (CSRF,
WebSocket hijacking; seen by `Origin` and `Sec-Fetch-Site`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)(?::([0-9]{1,5}))?", re.ASCII)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_USUAL_PORTS = {"80", "443"}  # omitted from a Host header, depending on the scheme


class HostError(ValueError):
    """The text is not a host or host:port. The message quotes it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: an HTTP status and a sentence for the client."""

    status: int
    reason: str


def parse_host(text: str) -> tuple[str, str]:
    """Host and port of `localhost:3333` or `[::1]:3333`, in lower case; the port is empty if it is 80 or 443.

    Raises HostError.
    """
    found = _AUTHORITY.fullmatch(text.strip().lower())
    if found is None or int(found[2] or 0) > 65535:
        raise HostError(f"{text!r} is not a host or a host:port")
    port = str(int(found[2])) if found[2] else ""
    return found[1], "" if port in _USUAL_PORTS else port


def allowed_hosts(port: int, listening: str, public_url: str, more: Iterable[str]) -> frozenset[tuple[str, str]]:
    """The hosts under which a server on `port` may be requested: this machine's own names, the address it listens on,
    the host of `public_url` (empty if there is none) and `more`, each as `host` or `host:port`. Raises HostError."""
    own = ["localhost", "127.0.0.1", "[::1]"]
    if listening not in ("0.0.0.0", "::", "localhost", "127.0.0.1", "::1"):
        own.append(f"[{listening}]" if ":" in listening else listening)
    names = [*(f"{name}:{port}" for name in own), *more]
    public = urlsplit(public_url).netloc.rpartition("@")[2]
    return frozenset(parse_host(name) for name in [*names, *([public] if public else [])])


def refusal(
    method: str,
    hosts: Sequence[str],
    origins: Sequence[str],
    fetch_sites: Sequence[str],
    allowed: Collection[tuple[str, str]],
    *,
    is_websocket: bool = False,
) -> Refusal | None:
    """Why a request with these `Host`, `Origin` and `Sec-Fetch-Site` headers is refused; None if it is answered.

    A request that changes something and has neither `Origin` nor `Sec-Fetch-Site` does not come from a browser, and is
    answered.
    """
    if len(hosts) != 1:
        return Refusal(400, "a request must name exactly one host")
    if not _is_allowed(hosts[0], allowed):
        return Refusal(403, "this host is not served here; add it to AI_AUDIT_ALLOWED_HOSTS")
    if method in _READING and not is_websocket:
        return None
    if any(site not in ("same-origin", "none") for site in fetch_sites):
        return Refusal(403, "only pages of this server may change anything")
    for origin in origins:
        parts = urlsplit(origin) if origin.isascii() else urlsplit("")
        if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
            return Refusal(403, "only pages of this server may change anything")
        if not _is_allowed(parts.netloc, allowed):
            return Refusal(403, "only pages of this server may change anything")
    return None


def _is_allowed(host: str, allowed: Collection[tuple[str, str]]) -> bool:
    try:
        return parse_host(host) in allowed
    except HostError:
        return False
