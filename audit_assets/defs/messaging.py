"""Dagster's Slack and PagerDuty resources, backed by the project's own clients: one POST each, secrets masked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagster_pagerduty import PagerDutyService
from dagster_slack import SlackResource
from pydantic import Field, SecretStr
from slack_sdk.web.client import WebClient

from audit_assets.alerting.channels.pagerduty import EVENTS_URL, PagerDutyClient
from audit_assets.alerting.channels.slack import BASE_URL, SlackClient
from audit_assets.alerting.delivery.outcome import Outcome


class NotSentError(Exception):
    """PagerDuty did not accept an event, or may not have. The message contains PagerDuty's response."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.kind}: {outcome.detail}")
        self.outcome = outcome


class SlackWithBaseUrl(SlackResource):
    """dagster-slack's resource with a base URL, a timeout in seconds, and a client that never posts twice."""

    base_url: str = Field(default=BASE_URL, description="URL of Slack's Web API, or of a fake.")
    timeout: float = Field(default=10.0, gt=0, description="Timeout of a call in seconds.")

    def get_client(self) -> WebClient:
        """slack_sdk's client like the parent's, but without the handler that posts again after a dropped connection."""
        base_url = f"{self.base_url.rstrip('/')}/"
        return WebClient(self.token, base_url=base_url, timeout=max(1, round(self.timeout)), retry_handlers=[])

    def client(self) -> SlackClient:
        """The project's client, which returns Outcomes."""
        return SlackClient(SecretStr(self.token), self.base_url, self.timeout)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _masked(super().__repr_args__(), "token")


class PagerDutyWithLinks(PagerDutyService):
    """dagster-pagerduty's resource with a base URL, a timeout in seconds, and links in events."""

    events_url: str = Field(default=EVENTS_URL, description="URL of PagerDuty's Events API v2, or of a fake.")
    timeout: float = Field(default=10.0, gt=0, description="Timeout of a call in seconds.")

    def client(self) -> PagerDutyClient:
        """The project's client, which returns Outcomes."""
        return PagerDutyClient(SecretStr(self.routing_key), self.events_url, self.timeout)

    def EventV2_create(  # noqa: N802 - the parent's name
        self,
        summary: str,
        source: str,
        severity: str,
        event_action: str = "trigger",
        dedup_key: str | None = None,
        timestamp: str | None = None,
        component: str | None = None,
        group: str | None = None,
        event_class: str | None = None,
        custom_details: object | None = None,
        links: Sequence[Mapping[str, str]] = (),
    ) -> dict[str, str | None]:
        """The parent's call with `links`, each of `href` and `text`. Raises NotSentError if PagerDuty does not accept
        the event."""
        payload = {
            "summary": summary,
            "source": source,
            "severity": severity,
            "timestamp": timestamp,
            "component": component,
            "group": group,
            "class": event_class,
            "custom_details": custom_details,
        }
        event = {
            "event_action": event_action,
            "dedup_key": dedup_key,
            "links": [dict(link) for link in links] or None,
            "payload": {name: value for name, value in payload.items() if value is not None},
        }
        outcome = self.client().send({name: value for name, value in event.items() if value is not None})
        if outcome.kind != "sent":
            raise NotSentError(outcome)
        return {"status": "success", "message": outcome.detail, "dedup_key": outcome.reference}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _masked(super().__repr_args__(), "routing_key")


def _masked(arguments: Iterable[tuple[str | None, Any]], secret: str) -> list[tuple[str | None, Any]]:
    return [(name, SecretStr("secret") if name == secret else value) for name, value in arguments]
