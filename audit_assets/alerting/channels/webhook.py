"""Posts JSON documents with an idempotency key to one URL; used for tickets and remediation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from audit_assets.alerting.channels.http_client import (
    Body,
    HttpResponse,
    classify_status,
    http_post,
    is_success,
    json_object,
    one_line,
)
from audit_assets.alerting.delivery.outcome import Outcome

_SHORTEST_SECRET = 8  # a shorter path is no secret, and would redact ordinary words in responses


@dataclass(frozen=True, slots=True)
class WebhookClient:
    """Posts to `url`, within `timeout` seconds. The token and the path of the URL never appear in a repr or an outcome:
    the path of a webhook is often a secret."""

    url: SecretStr
    token: SecretStr | None = None
    timeout: float = 10.0

    def send(self, document: Mapping[str, Any], key: str) -> Outcome:
        """Sends `document`. Any 2xx is `sent`, with the `id` or `key` of the response as reference, or else `key`.

        Network errors are outcomes, not exceptions. After `uncertain`, the document may be sent again with the same
        `key` (header `Idempotency-Key`), by which the other side recognizes duplicates.
        """
        try:
            content = json.dumps(document, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            return Outcome("refused", one_line(f"not JSON: {error}", self._secrets))
        headers = {"Idempotency-Key": key}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value().strip()}"
        response = http_post(self.url.get_secret_value(), Body(content, "application/json"), headers, self.timeout)
        return response if isinstance(response, Outcome) else self._outcome(response, key)

    def _outcome(self, response: HttpResponse, key: str) -> Outcome:
        detail = one_line(f"{response.status} {response.text}", self._secrets)
        if is_success(response.status):
            document = json_object(response.text) or {}
            return Outcome("sent", detail, reference=str(document.get("key") or document.get("id") or key)[:200])
        kind = "uncertain" if response.status >= 500 else classify_status(response.status)
        wait = response.wait if kind in ("retry", "uncertain") else None
        return Outcome(kind, detail, retry_after=wait)

    @property
    def _secrets(self) -> list[str]:
        parts = urlsplit(self.url.get_secret_value())
        hidden = [parts.path.strip("/"), parts.query, parts.password or ""]
        token = self.token.get_secret_value().strip() if self.token else ""
        return [token, *(part for part in hidden if len(part) >= _SHORTEST_SECRET)]


def display_address(url: SecretStr) -> str:
    """Scheme, host and path of `url`, to show before something is sent there."""
    parts = urlsplit(url.get_secret_value())
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
