"""PagerDuty's Events API v2 as one call: sends an event and returns an Outcome."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

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

EVENTS_URL = "https://events.pagerduty.com"

# PagerDuty reports a wrong key with status 400, like a wrong event, in JSON ("Length of 'routing_key' is incorrect") or
# as plain text ("Invalid routing key").
_NAMES_THE_KEY = re.compile(r"(routing|service|integration)[ _]key", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PagerDutyClient:
    """Sends events with one routing key, with `timeout` seconds per call. The key never appears in a repr or an
    outcome."""

    routing_key: SecretStr
    events_url: str = EVENTS_URL
    timeout: float = 10.0

    def send(self, event: Mapping[str, Any]) -> Outcome:
        """Sends `event` (Events API v2, without a routing key). The reference of `sent` is its dedup key.

        Network errors are outcomes, not exceptions. An event with a dedup key may be sent again after `uncertain`:
        PagerDuty adds it to the incident of that key.
        """
        key = self.routing_key.get_secret_value().strip()
        try:
            content = json.dumps({**event, "routing_key": key}, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            return Outcome("refused", one_line(f"not JSON: {error}", [key]))
        address = f"{self.events_url.rstrip('/').removesuffix('/v2/enqueue')}/v2/enqueue"
        response = http_post(address, Body(content, "application/json"), {}, self.timeout)
        return response if isinstance(response, Outcome) else _outcome(response, event.get("dedup_key"), key)


def _outcome(response: HttpResponse, dedup_key: str | None, key: str) -> Outcome:
    document = json_object(response.text)
    detail = one_line(f"{response.status} {_error_text(document, response.text)}", [key])
    wait = response.wait
    if is_success(response.status):
        if document is None or document.get("status") != "success":
            return Outcome("retry", detail, retry_after=wait)
        return Outcome("sent", detail, reference=str(document.get("dedup_key") or dedup_key or "") or None)
    kind = classify_status(response.status)
    if kind == "refused" and _NAMES_THE_KEY.search(_error_text(document, response.text)):
        kind = "parked"
    return Outcome(kind, detail, retry_after=wait if kind == "retry" else None)


def _error_text(document: dict[str, Any] | None, text: str) -> str:
    """PagerDuty's message and errors, or `text` if the response is no JSON object."""
    if document is None:
        return text
    errors = document.get("errors")
    listed = cast("list[Any]", errors) if isinstance(errors, list) else [errors]
    return "; ".join(str(part) for part in (document.get("message") or document.get("status"), *listed) if part)
