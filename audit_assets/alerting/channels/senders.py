"""Senders of outbox rows, one per provider: Slack, PagerDuty, Jira, webhook, or the console if no token is set."""

import re
from collections.abc import Collection, Mapping
from typing import Any, cast

from rich.console import Console, Group
from rich.text import Text

from audit_assets.alerting.channels.console import render
from audit_assets.alerting.channels.jira import Issue, JiraClient
from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.slack import EDIT_IS_MISSING, MESSAGE_IS_MISSING, SlackClient
from audit_assets.alerting.channels.webhook import WebhookClient
from audit_assets.alerting.delivery.deliverer import Sender
from audit_assets.alerting.delivery.outbox import CONSOLE, Delivery
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.alerting.findings_report import print_uncropped
from audit_assets.settings import Settings

ISSUE_TYPE = "Task"


class SlackSender:
    """Posts, edits and replies in threads. A message that may have been posted is looked for by its metadata first; if
    the token may not read the channel, it is posted again."""

    is_console = False

    def __init__(self, client: SlackClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        channel = delivery.target.partition(":")[2]
        if posted == CONSOLE:  # written to the console before a token was set
            posted = None
        if delivery.action in ("edit", "reply") and posted is None:
            return Outcome("missing", "its message is not at Slack")
        if delivery.action == "edit" and posted is not None:
            return _or_missing(self._client.edit(posted, delivery.payload), EDIT_IS_MISSING)
        thread = posted.partition(":")[2] if posted is not None and delivery.action == "reply" else None
        if delivery.maybe_taken:
            # By channel id, if known: Slack accepts a channel name for posting, but not for reading.
            channel_id = posted.partition(":")[0] if posted is not None else channel
            after = (delivery.look_after or "").partition(":")[2] or None
            found = self._client.find(channel_id, delivery.id, after, thread)
            if found is not None and found.kind != "refused":
                return found
        outcome = self._client.post(channel, delivery.payload, delivery.id, thread)
        return _or_missing(outcome, MESSAGE_IS_MISSING) if delivery.action == "reply" else outcome


def _or_missing(outcome: Outcome, errors: Collection[str]) -> Outcome:
    """`missing` if the error means that the message was deleted or may not be changed. Whether the channel accepts
    messages is found out by the next post."""
    if outcome.kind in ("refused", "parked") and outcome.detail.partition(":")[0] in errors:
        return Outcome("missing", f"{outcome.detail}: the message was deleted, or may not be changed")
    return outcome


class PagerDutySender:
    """Sends events, whose dedup key makes retries safe. A resolve of an incident that was only written to the console
    is not sent."""

    is_console = False

    def __init__(self, client: PagerDutyClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        if posted == CONSOLE and delivery.payload.get("event_action") == "resolve":
            return Outcome("missing", "its incident was not sent to PagerDuty")
        return self._client.send(delivery.payload)


class ConsoleSender:
    """Writes to the console what would be sent, and renders messages as Slack would; used without tokens."""

    is_console = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        text = delivery.payload.get("title") or delivery.payload.get("text")
        event = delivery.payload.get("payload")
        if isinstance(event, Mapping):
            text = text or cast("Mapping[str, object]", event).get("summary")
        text = text or f"{delivery.payload.get('event_action', delivery.action)} {delivery.alert_key or ''}"
        line = Text(f"→ {delivery.target} {delivery.action}: {text}", no_wrap=True, overflow="ignore")
        print_uncropped(self._console, Group(line, render(delivery.payload)) if delivery.action == "post" else line)
        return Outcome("sent", "written to the console", CONSOLE)


def build_senders(
    slack: SlackClient | None, pagerduty: PagerDutyClient | None, console: Console
) -> Mapping[str, Sender]:
    """The senders of Slack and PagerDuty, by provider; the console for a provider without a client."""
    fallback = ConsoleSender(console)
    return {
        "slack": SlackSender(slack) if slack else fallback,
        "pagerduty": PagerDutySender(pagerduty) if pagerduty else fallback,
    }


class JiraSender:
    """Files issues and comments on them. What may have been created is looked for first: an issue by its label, a
    comment by its last line."""

    is_console = False

    def __init__(self, client: JiraClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        mark = label_of(delivery)
        if delivery.action == "comment":
            if posted is None or posted == CONSOLE:
                return Outcome("missing", "its issue was not filed in Jira")
            found = self._client.find_comment(posted, mark) if delivery.maybe_taken else None
            if found is not None and found.kind != "refused":
                return found
            return self._client.comment(posted, f"{to_wiki_markup(delivery.payload)}\n{mark}")
        project, _, kind = delivery.target.partition(":")[2].partition("/")
        found = self._client.find(project, mark) if delivery.maybe_taken else None
        if found is not None and found.kind != "refused":
            return found
        title, text = str(delivery.payload["title"]), to_wiki_markup(delivery.payload)
        return self._client.create(Issue(project, kind or ISSUE_TYPE, title, text, mark))


class WebhookSender:
    """Sends tickets with the delivery id as idempotency key: a retry is no duplicate if the other side honors it."""

    is_console = False

    def __init__(self, client: WebhookClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        if delivery.action == "comment" and (posted is None or posted == CONSOLE):
            return Outcome("missing", "its ticket was not sent to the webhook")
        return self._client.send({**delivery.payload, "id": delivery.id}, delivery.id)


def label_of(delivery: Delivery) -> str:
    """The label by which an issue or a comment is found again."""
    return f"ai-audit-{delivery.id}"


def to_wiki_markup(payload: Mapping[str, Any]) -> str:
    """A ticket's text and links in Jira's wiki markup. The text is in a `noformat` block, so that untrusted names
    cannot format or mention; a `{noformat}` in the text, which would end the block, is broken up."""
    text = re.sub(r"\{(?=noformat)", "(", str(payload["text"]), flags=re.IGNORECASE)
    links = [f"[{link['text']}|{link['href']}]" for link in payload["links"]]
    return "\n".join(["{noformat}", text, "{noformat}", *links])


def build_ticket_senders(settings: Settings, console: Console) -> Mapping[str, Sender]:
    """The senders of tickets, by provider; the console for a provider that is not configured, and for all if sending is
    disabled."""
    fallback = ConsoleSender(console)
    jira: Sender = fallback
    webhook: Sender = fallback
    if settings.send and settings.jira_url and settings.jira_token:
        jira = JiraSender(JiraClient(settings.jira_token, settings.jira_url, settings.jira_email))
    if settings.send and settings.ticket_webhook_url:
        webhook = WebhookSender(WebhookClient(settings.ticket_webhook_url, settings.ticket_webhook_token))
    return {"jira": jira, "webhook": webhook}
