"""PagerDuty's Events API v2 as one call: an event goes in, an Outcome comes out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import SecretStr

from audit_assets.alerting.http_answer import Answer, is_success, json_object, kind_of_status, retry_after, short_line
from audit_assets.alerting.http_request import Body, posted
from audit_assets.alerting.outcome import Outcome

EVENTS_URL = "https://events.pagerduty.com"

# PagerDuty tells a wrong key by 400 as it tells a wrong event, in JSON ("Length of 'routing_key' is incorrect") or
# as bare text ("Invalid routing key").
_SPEAKS_OF_THE_KEY = re.compile(r"(routing|service|integration)[ _]key", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PagerDutyClient:
    """Sends events with one routing key, within `timeout` seconds each. Neither shown nor told: the key."""

    routing_key: SecretStr
    events_url: str = EVENTS_URL
    timeout: float = 10.0

    def send(self, event: Mapping[str, Any]) -> Outcome:
        """What became of `event` (Events API v2, without a routing key). `sent` refers to its dedup key.

        Raises nothing for trouble on the way. An event with a dedup key may be sent again after `uncertain`:
        PagerDuty adds it to the incident of that key.
        """
        key = self.routing_key.get_secret_value().strip()
        try:
            content = json.dumps({**event, "routing_key": key}, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            return Outcome("refused", short_line(f"not JSON: {error}", [key]))
        address = f"{self.events_url.rstrip('/').removesuffix('/v2/enqueue')}/v2/enqueue"
        answer = posted(address, Body(content, "application/json"), {}, self.timeout)
        return answer if isinstance(answer, Outcome) else _outcome(answer, event.get("dedup_key"), key)


def _outcome(answer: Answer, dedup_key: str | None, key: str) -> Outcome:
    document = json_object(answer.text)
    said = short_line(f"{answer.status} {_words(document, answer.text)}", [key])
    wait = retry_after(answer.retry_after, datetime.now(UTC))
    if is_success(answer.status):
        if document is None or document.get("status") != "success":
            return Outcome("retry", said, retry_after=wait)
        return Outcome("sent", said, reference=str(document.get("dedup_key") or dedup_key or "") or None)
    kind = kind_of_status(answer.status)
    if kind == "refused" and _SPEAKS_OF_THE_KEY.search(_words(document, answer.text)):
        kind = "parked"
    return Outcome(kind, said, retry_after=wait if kind == "retry" else None)


def _words(document: dict[str, Any] | None, text: str) -> str:
    """PagerDuty's own words: its message and its errors, or the text where that is no object."""
    if document is None:
        return text
    errors = document.get("errors")
    several = cast("list[Any]", errors) if isinstance(errors, list) else [errors]
    return "; ".join(str(word) for word in (document.get("message") or document.get("status"), *several) if word)
