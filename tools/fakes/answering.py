"""The replies of a fake provider, and the faults that replace them."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tools.fakes.reading import Effect

DROPPED = 0  # the status that means no reply: the connection closes


@dataclass(frozen=True)
class Reply:
    """A reply, and its effects at the provider."""

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    effects: tuple[Effect, ...] = ()

    @property
    def text(self) -> str:
        return self.body if isinstance(self.body, str) else json.dumps(self.body)

    @property
    def content_type(self) -> str:
        return "text/plain; charset=utf-8" if isinstance(self.body, str) else "application/json; charset=utf-8"


@dataclass(frozen=True)
class Faults:
    """Shares of requests that fail, drawn with `seed` in the order of the requests."""

    server_error: float = 0.0
    rate_limited: float = 0.0
    retry_after: str = "1"
    dropped_after_processing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.server_error + self.rate_limited + self.dropped_after_processing <= 1:
            raise ValueError("the shares of faults must add up to at most 1")

    def draws(self) -> random.Random:
        return random.Random(self.seed)

    def before(self, draw: float) -> Reply | None:
        """The fault that replaces processing, if `draw` (0 to 1) falls on one."""
        if draw < self.server_error:
            return Reply(503, "upstream connect error")
        if draw < self.server_error + self.rate_limited:
            return Reply(429, "", {"Retry-After": self.retry_after})
        return None

    def drops(self, draw: float) -> bool:
        """Whether a request that was processed gets no reply."""
        failed = self.server_error + self.rate_limited
        return failed <= draw < failed + self.dropped_after_processing
