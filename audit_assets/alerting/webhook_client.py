"""A JSON document to one address as one POST with an idempotency key: tickets and remediation go this way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from audit_assets.alerting.http_answer import Answer, is_success, json_object, kind_of_status, retry_after, short_line
from audit_assets.alerting.http_request import Body, posted
from audit_assets.alerting.outcome import Outcome

_SHORTEST_SECRET = 8  # a path of fewer characters hides nothing, and is a word of many an answer


@dataclass(frozen=True, slots=True)
class WebhookClient:
    """Posts to `url`, within `timeout` seconds. Neither shown nor told: the token, and the address but for its host,
    since many a webhook's path is its secret."""

    url: SecretStr
    token: SecretStr | None = None
    timeout: float = 10.0

    def send(self, document: Mapping[str, Any], key: str) -> Outcome:
        """What became of `document`. Any 2xx is `sent`, and refers to the answer's `id` or `key`, or else to `key`.

        Raises nothing for trouble on the way. After `uncertain` it may be sent again with the same `key`, by which the
        other side knows what it has taken already: `Idempotency-Key`.
        """
        try:
            content = json.dumps(document, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            return Outcome("refused", short_line(f"not JSON: {error}", self._secrets))
        headers = {"Idempotency-Key": key}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value().strip()}"
        answer = posted(self.url.get_secret_value(), Body(content, "application/json"), headers, self.timeout)
        return answer if isinstance(answer, Outcome) else self._outcome(answer, key)

    def _outcome(self, answer: Answer, key: str) -> Outcome:
        said = short_line(f"{answer.status} {answer.text}", self._secrets)
        if is_success(answer.status):
            document = json_object(answer.text) or {}
            return Outcome("sent", said, reference=str(document.get("key") or document.get("id") or key)[:200])
        kind = "uncertain" if answer.status >= 500 else kind_of_status(answer.status)
        wait = retry_after(answer.retry_after, datetime.now(UTC)) if kind in ("retry", "uncertain") else None
        return Outcome(kind, said, retry_after=wait)

    @property
    def _secrets(self) -> list[str]:
        parts = urlsplit(self.url.get_secret_value())
        hidden = [parts.path.strip("/"), parts.query, parts.password or ""]
        token = self.token.get_secret_value().strip() if self.token else ""
        return [token, *(one for one in hidden if len(one) >= _SHORTEST_SECRET)]


def shown_address(url: SecretStr) -> str:
    """Scheme, host and path of an address, for a person who is about to send something there."""
    parts = urlsplit(url.get_secret_value())
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
