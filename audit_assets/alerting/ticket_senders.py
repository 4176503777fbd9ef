"""The outbox's tickets to JIRA, a webhook or, where neither is set up, the console."""

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from audit_assets.alerting.deliverer import Sender
from audit_assets.alerting.jira_client import Issue, JiraClient
from audit_assets.alerting.outbox import Delivery
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.senders import CONSOLE, ConsoleSender
from audit_assets.alerting.webhook_client import WebhookClient
from audit_assets.settings import Settings

ISSUE_TYPE = "Task"


class JiraSender:
    """Files issues and comments them. What may be there is looked for first: an issue by its label, a comment by its
    last line."""

    def __init__(self, client: JiraClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        mark = label_of(delivery)
        if delivery.action == "comment":
            if posted is None or posted == CONSOLE:
                return Outcome("sent", "its issue was never at JIRA")
            found = self._client.find_comment(posted, mark) if delivery.maybe_taken else None
            if found is not None and found.kind != "refused":
                return found
            return self._client.comment(posted, f"{in_wiki_markup(delivery.payload)}\n{mark}")
        project, _, kind = delivery.target.partition(":")[2].partition("/")
        found = self._client.find(project, mark) if delivery.maybe_taken else None
        if found is not None and found.kind != "refused":
            return found
        title, text = str(delivery.payload["title"]), in_wiki_markup(delivery.payload)
        return self._client.create(Issue(project, kind or ISSUE_TYPE, title, text, mark))


class WebhookSender:
    """Each delivery carries its own id as its key: sent twice it is one, where the other side keeps to it."""

    def __init__(self, client: WebhookClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        if delivery.action == "comment" and (posted is None or posted == CONSOLE):
            return Outcome("sent", "its ticket was never at the webhook")
        return self._client.send({**delivery.payload, "id": delivery.id}, delivery.id)


def label_of(delivery: Delivery) -> str:
    """What an issue or a comment is found again by."""
    return f"ai-audit-{delivery.id}"


def in_wiki_markup(payload: Mapping[str, Any]) -> str:
    """A ticket's text and links as JIRA reads them. In a block that formats nothing, so that a name from outside
    neither formats nor mentions anybody; the one thing that would end the block is broken up."""
    text = re.sub(r"\{(?=noformat)", "(", str(payload["text"]), flags=re.IGNORECASE)
    links = [f"[{link['text']}|{link['href']}]" for link in payload["links"]]
    return "\n".join(["{noformat}", text, "{noformat}", *links])


def ticket_senders(settings: Settings, console: Console) -> Mapping[str, Sender]:
    """A sender a kind of ticket; the console for one that is not set up, and for all where nothing is to be sent."""
    aloud = ConsoleSender(console)
    jira: Sender = aloud
    webhook: Sender = aloud
    if settings.send and settings.jira_url and settings.jira_token:
        jira = JiraSender(JiraClient(settings.jira_token, settings.jira_url, settings.jira_email))
    if settings.send and settings.ticket_webhook_url:
        webhook = WebhookSender(WebhookClient(settings.ticket_webhook_url, settings.ticket_webhook_token))
    return {"jira": jira, "webhook": webhook}
