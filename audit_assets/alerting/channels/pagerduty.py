"""PagerDuty's two APIs: the Events API v2 sends an event and returns an Outcome; the REST API v2, read-only, says who
acknowledged the incident with a dedup key."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr

from audit_assets.alerting.channels.http_client import (
    Body,
    HttpResponse,
    classify_status,
    http_get,
    http_post,
    is_success,
    json_object,
    one_line,
)
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.config.json_values import is_list, is_object
from audit_assets.settings import Settings
from audit_assets.text.sanitize import escape

EVENTS_URL = "https://events.pagerduty.com"

# PagerDuty reports a wrong key with status 400, like a wrong event, in JSON ("Length of 'routing_key' is incorrect") or
# as plain text ("Invalid routing key").
_NAMES_THE_KEY = re.compile(r"(routing|service|integration)[ _]key", re.IGNORECASE)

API_URL = "https://api.pagerduty.com"
TIMEOUT = 5.0  # seconds, less than for a page: acknowledgements are not essential

_VERSION = "application/vnd.pagerduty+json;version=2"
_STATUSES = ("acknowledged", "triggered", "resolved")
_UNNAMED = "somebody"
_FIXES = {
    401: "PAGERDUTY_API_TOKEN must be a read-only REST API key of the account, not a routing key",
    403: "PAGERDUTY_API_TOKEN must be a read-only REST API key that may read this service's incidents",
}


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
    listed = errors if is_list(errors) else [errors]
    return "; ".join(str(part) for part in (document.get("message") or document.get("status"), *listed) if part)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An acknowledgement of an incident: when (UTC), and the person's name at PagerDuty, escaped."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class PagerDutyIncidents:
    """Reads incidents with one token of the account, with `timeout` seconds per call. The token never appears in a repr
    or an outcome."""

    token: SecretStr
    api_url: str = API_URL
    timeout: float = TIMEOUT

    def acknowledgement(self, key: str) -> Acknowledgement | Outcome | None:
        """The first acknowledgement of the incident with this dedup key. None if nobody has acknowledged it, or if it
        is resolved: PagerDuty then lists none. A failure is an Outcome, `retry` or `parked`."""
        # PagerDuty also finds an incident by the keys of its alerts, and looks back one month by default.
        parameters = [("incident_key", key), *(("statuses[]", status) for status in _STATUSES), ("date_range", "all")]
        token = self.token.get_secret_value().strip()
        headers = {"Authorization": f"Token token={token}", "Accept": _VERSION}
        response = http_get(f"{self.api_url.rstrip('/')}/incidents?{urlencode(parameters)}", headers, self.timeout)
        if isinstance(response, Outcome):
            fix = "; see PAGERDUTY_API_TOKEN and PAGERDUTY_API_URL" if response.kind == "parked" else ""
            return replace(response, detail=f"{response.detail}{fix}")
        found = _incidents(response)
        if found is None:
            return _failure(response, token)
        try:
            return min(_acknowledgements(found), key=lambda acknowledgement: acknowledgement.at, default=None)
        except (KeyError, TypeError, ValueError):
            return Outcome("retry", "an acknowledgement in an unknown format")


def pagerduty_client(settings: Settings) -> PagerDutyClient | None:
    """The client of the Events API from the settings; None without a routing key or if sending is disabled."""
    if settings.pagerduty_routing_key is None or not settings.send:
        return None
    return PagerDutyClient(settings.pagerduty_routing_key, settings.pagerduty_events_url)


def incidents_client(settings: Settings) -> PagerDutyIncidents | None:
    """The client from the settings; None without a token or if sending is disabled: then PagerDuty is not polled."""
    if settings.pagerduty_api_token is None or not settings.send:
        return None
    return PagerDutyIncidents(settings.pagerduty_api_token, settings.pagerduty_api_url)


def _incidents(response: HttpResponse) -> list[Any] | None:
    """The incidents of a successful response; None for any other response."""
    document = json_object(response.text) if is_success(response.status) else None
    listed = (document or {}).get("incidents")
    return listed if is_list(listed) else None


def _acknowledgements(incidents: Iterable[Any]) -> Iterable[Acknowledgement]:
    """The acknowledgements of all incidents. Raises KeyError, TypeError or ValueError if one differs from PagerDuty's
    documentation."""
    for incident in incidents:
        for acknowledgement in incident["acknowledgements"]:
            at = datetime.fromisoformat(acknowledgement["at"])
            if at.tzinfo is None:
                raise ValueError("a time without a time zone")
            yield Acknowledgement(at.astimezone(UTC), _name(acknowledgement.get("acknowledger")))


def _name(acknowledger: Any) -> str:
    """The name of a person, or of a service that acknowledges automatically. A deleted one may have no name."""
    name = acknowledger.get("summary") if is_object(acknowledger) else None
    return escape(name) if isinstance(name, str) and name.strip() else _UNNAMED


def _failure(response: HttpResponse, token: str) -> Outcome:
    detail = one_line(f"{response.status} {_incidents_error_text(response)}", [token])
    if is_success(response.status):
        return Outcome("retry", detail)
    kind = classify_status(response.status)
    if kind == "parked":
        return Outcome("parked", f"{detail}; {_FIXES.get(response.status, 'is PAGERDUTY_API_URL the REST API?')}")
    return Outcome("retry", detail, retry_after=response.wait)


def _incidents_error_text(response: HttpResponse) -> str:
    """PagerDuty's error message (`{"error": {"message": …}}`), or the text if there is none."""
    error = (json_object(response.text) or {}).get("error")
    message = error.get("message") if is_object(error) else error
    return message if isinstance(message, str) and message else response.text
