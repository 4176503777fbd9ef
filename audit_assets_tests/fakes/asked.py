"""One request as a fake provider reads it."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """Method, path without its query, the body decoded (of a GET: its query) and its size in bytes, and headers by
    lower-case name."""

    method: str
    path: str
    body: Any
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme == "Bearer" and token.strip() else None

    @property
    def basic(self) -> str | None:
        """`user:password`, as it was sent."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        return b64decode(encoded).decode() if scheme == "Basic" else None
