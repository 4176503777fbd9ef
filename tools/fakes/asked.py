"""One request to a fake provider."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """Method, path without the query, decoded body (for a GET the query) and its size in bytes, and headers by
    lower-case name."""

    method: str
    path: str
    body: Any
    size: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme == "Bearer" and token.strip() else None

    @property
    def basic(self) -> str | None:
        """`user:password`, as it was sent."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        return b64decode(encoded).decode() if scheme == "Basic" else None
