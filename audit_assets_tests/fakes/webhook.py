"""A webhook that takes JSON once a key: what a ticket system, or a copilot that can disable a capability, would be."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from audit_assets_tests.fakes.answering import Reply
from audit_assets_tests.fakes.asked import Asked
from audit_assets_tests.fakes.reading import Effect


@dataclass
class FakeWebhook:
    """Takes any caller, or only one with the bearer `token`."""

    token: str | None = None
    bad_token: bool = False

    def answer(self, asked: Asked, effects: Iterable[Effect]) -> Reply:
        """The answer to one POST; a key that is known already does nothing again."""
        if self.bad_token or (self.token is not None and asked.bearer != self.token):
            return Reply(401, {"error": "unauthorized"})
        key = asked.headers.get("idempotency-key")
        if not key or not isinstance(asked.body, dict):
            return Reply(400, {"error": "a JSON object and an Idempotency-Key are needed"})
        if any(one["kind"] == "hook" and one["key"] == key for one in effects):
            return Reply(200, {"id": key, "known": True})
        done = {"kind": "hook", "at": time.time(), "path": asked.path, "key": key, "body": asked.body}
        return Reply(202, {"id": key}, effects=(done,))
