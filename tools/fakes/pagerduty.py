"""The part of PagerDuty's Events API v2 that the project uses, with its validation errors, and the list of incidents of
its REST API v2.

Responses follow https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and errors quoted in public issues,
incidents follow https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audit_assets.config.json_values import is_list, is_object
from tools.fakes.answering import Reply
from tools.fakes.reading import Incident

ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
LONGEST_SUMMARY, LONGEST_KEY, LARGEST_EVENT = 1024, 255, 512 * 1024


@dataclass
class FakePagerDuty:
    """Accepts any well-formed routing key, or only `routing_key` if given. Lists incidents for any token, or only for
    `api_token` if given."""

    routing_key: str | None = None
    bad_key: bool = False
    api_token: str | None = None
    _acknowledged: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])

    def acknowledge(self, key: str, by: str, at: datetime) -> None:
        """Simulates a person who acknowledges the incident of `key` in PagerDuty."""
        acknowledger = {"id": "PXPGF42", "type": "user_reference", "summary": by}
        acknowledgement = {"at": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "acknowledger": acknowledger}
        self._acknowledged.setdefault(key, []).append(acknowledgement)

    def list_incidents(
        self, query: Mapping[str, Sequence[str]], authorization: str, known: Mapping[str, Incident]
    ) -> Reply:
        """The reply to GET /incidents; `known` are the incidents at PagerDuty."""
        token = authorization.removeprefix("Token token=")
        if not token or token == authorization or self.api_token not in (None, token):
            return Reply(401, {"error": {"message": "Unauthorized", "code": 2006}})
        listed = [self._listed(known[key]) for key in query.get("incident_key", list(known)) if key in known]
        statuses = query.get("statuses[]", ("triggered", "acknowledged"))
        found = [incident for incident in listed if incident["status"] in statuses]
        return Reply(200, {"incidents": found, "limit": 25, "offset": 0, "total": None, "more": False})

    def _listed(self, incident: Incident) -> dict[str, Any]:
        """Like PagerDuty, lists acknowledgements only while the incident is acknowledged."""
        resolved, acknowledgements = incident.state == "resolved", self._acknowledged.get(incident.dedup_key, [])
        status = "resolved" if resolved else "acknowledged" if acknowledgements else "triggered"
        return {
            "id": uuid.uuid5(uuid.NAMESPACE_URL, incident.dedup_key).hex[:14].upper(),
            "type": "incident",
            "incident_key": incident.dedup_key,
            "title": incident.summary,
            "status": status,
            "acknowledgements": [] if resolved else acknowledgements,
        }

    def answer(self, body: Any, size: int) -> Reply:
        """The reply to one event. It stores nothing; its effects are in the reply."""
        if size > LARGEST_EVENT:
            return Reply(413, "Request Entity Too Large")
        errors = _errors(body)
        if errors:
            return Reply(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        if self.bad_key or (self.routing_key is not None and body["routing_key"] != self.routing_key):
            return Reply(400, "Invalid routing key")
        key = body.get("dedup_key") or uuid.uuid4().hex
        event = {name: value for name, value in body.items() if name != "routing_key"}
        effect = {"kind": body["event_action"], "at": time.time(), "dedup_key": key, "event": event}
        answered = {"status": "success", "message": "Event processed", "dedup_key": key}
        return Reply(202, answered, effects=(effect,))


def _errors(body: Any) -> list[str]:
    if not is_object(body):
        return ["Event must be a JSON object"]
    errors = list(_key_errors(body.get("routing_key")))
    action, key = body.get("event_action"), body.get("dedup_key")
    if action not in ACTIONS:
        errors.append("'event_action' is missing or invalid (must be one of trigger, acknowledge or resolve)")
    if key is not None and (not isinstance(key, str) or len(key) > LONGEST_KEY):
        errors.append(f"'dedup_key' is longer than {LONGEST_KEY} characters")
    if action in ("acknowledge", "resolve") and not key:
        errors.append("'dedup_key' is missing or blank")
    links: Any = body.get("links", [])
    if not is_list(links) or any(not is_object(link) or not link.get("href") for link in links):
        errors.append("'links' is invalid (must be a list of objects with href)")
    if action == "trigger":
        errors.extend(_payload_errors(body.get("payload")))
    return errors


def _key_errors(key: Any) -> list[str]:
    if not isinstance(key, str) or not key:
        return ["'routing_key' is missing or blank"]
    errors = [] if len(key) == 32 else ["Length of 'routing_key' is incorrect (should be 32 characters)"]
    if not key.isalnum():
        errors.append("'routing_key' cannot contain non-alphanumeric characters.")
    return errors


def _payload_errors(payload: Any) -> list[str]:
    if not is_object(payload):
        return ["'payload' is missing or blank"]
    errors = [
        f"'payload.{name}' is missing or blank"
        for name in ("summary", "source", "severity")
        if not isinstance(payload.get(name), str) or not payload[name].strip()
    ]
    if len(str(payload.get("summary", ""))) > LONGEST_SUMMARY:
        errors.append(f"'payload.summary' is too long (maximum is {LONGEST_SUMMARY} characters)")
    if payload.get("severity") and payload["severity"] not in SEVERITIES:
        errors.append("'payload.severity' is invalid (must be one of the following: critical, error, warning, info)")
    return errors
