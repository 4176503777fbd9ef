"""Slack and PagerDuty as Dagster knows them, speaking through our own clients: one POST each, no secret shown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagster_pagerduty import PagerDutyService
from dagster_slack import SlackResource
from pydantic import Field, SecretStr
from slack_sdk.web.client import WebClient

from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.pagerduty_client import EVENTS_URL, PagerDutyClient
from audit_assets.alerting.slack_client import BASE_URL, SlackClient


class NotSentError(Exception):
    """An event that PagerDuty did not take, or may not have taken. The message is PagerDuty's word for it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.kind}: {outcome.said}")
        self.outcome = outcome


class SlackWithBaseUrl(SlackResource):
    """dagster-slack's resource with an address, a limit in seconds, and a client that never posts twice."""

    base_url: str = Field(default=BASE_URL, description="Slack's Web API, or what plays it.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds a call may take.")

    def get_client(self) -> WebClient:
        """slack_sdk's client, as the parent's, but without the handler that posts again where a connection dropped."""
        base_url = f"{self.base_url.rstrip('/')}/"
        return WebClient(self.token, base_url=base_url, timeout=max(1, round(self.timeout)), retry_handlers=[])

    def client(self) -> SlackClient:
        """The client whose answers are Outcomes."""
        return SlackClient(SecretStr(self.token), self.base_url, self.timeout)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _masked(super().__repr_args__(), "token")


class PagerDutyWithLinks(PagerDutyService):
    """dagster-pagerduty's resource with an address, a limit in seconds, and the links its events can carry."""

    events_url: str = Field(default=EVENTS_URL, description="PagerDuty's Events API v2, or what plays it.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds a call may take.")

    def client(self) -> PagerDutyClient:
        """The client whose answers are Outcomes."""
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
        """The parent's call, with `links` (`href` and `text` each). Raises NotSentError unless the event was taken."""
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
        return {"status": "success", "message": outcome.said, "dedup_key": outcome.reference}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _masked(super().__repr_args__(), "routing_key")


def _masked(shown: Iterable[tuple[str | None, Any]], secret: str) -> list[tuple[str | None, Any]]:
    return [(name, SecretStr("secret") if name == secret else value) for name, value in shown]
