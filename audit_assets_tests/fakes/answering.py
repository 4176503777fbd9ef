"""What a fake provider answers, and the faults it answers with instead."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from audit_assets_tests.fakes.reading import Effect

DROPPED = 0  # a status that stands for no answer at all: the connection closes


@dataclass(frozen=True)
class Reply:
    """An answer, and what it did at the provider."""

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()

    @property
    def text(self) -> str:
        return self.body if isinstance(self.body, str) else json.dumps(self.body)

    @property
    def content_type(self) -> str:
        return "text/plain; charset=utf-8" if isinstance(self.body, str) else "application/json; charset=utf-8"


@dataclass(frozen=True)
class Faults:
    """Shares of requests that go wrong, drawn by `seed` in the order the requests come."""

    server_error: float = 0.0
    rate_limited: float = 0.0
    retry_after: str = "1"
    dropped_after_processing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.server_error + self.rate_limited + self.dropped_after_processing <= 1:
            raise ValueError("the shares of faults are more than all requests")

    def draws(self) -> random.Random:
        return random.Random(self.seed)

    def before(self, draw: float) -> Reply | None:
        """The fault that stands in the place of processing, if `draw` (0 to 1) falls on one."""
        if draw < self.server_error:
            return Reply(503, "upstream connect error")
        if draw < self.server_error + self.rate_limited:
            return Reply(429, "", {"Retry-After": self.retry_after})
        return None

    def drops(self, draw: float) -> bool:
        """Whether a request that was processed gets no answer."""
        without_answer = self.server_error + self.rate_limited
        return without_answer <= draw < without_answer + self.dropped_after_processing
