"""A webhook that accepts each idempotency key once. Stands for a ticket system, or for the API of a copilot that can
disable a capability."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from audit_assets.config.json_values import is_object
from tools.fakes.answering import Reply
from tools.fakes.asked import Request
from tools.fakes.reading import Effect


@dataclass
class FakeWebhook:
    """Accepts any caller, or only one with the bearer `token`."""

    token: str | None = None
    bad_token: bool = False

    def answer(self, request: Request, effects: Iterable[Effect]) -> Reply:
        """The reply to one POST; a known key has no further effect."""
        if self.bad_token or (self.token is not None and request.bearer != self.token):
            return Reply(401, {"error": "unauthorized"})
        key = request.headers.get("idempotency-key")
        if not key or not is_object(request.body):
            return Reply(400, {"error": "a JSON object and an Idempotency-Key are needed"})
        if any(effect["kind"] == "hook" and effect["key"] == key for effect in effects):
            return Reply(200, {"id": key, "known": True})
        effect = {"kind": "hook", "at": time.time(), "path": request.path, "key": key, "body": request.body}
        return Reply(202, {"id": key}, effects=(effect,))
