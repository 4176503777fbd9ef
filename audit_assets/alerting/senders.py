"""The outbox's rows to Slack, PagerDuty or, where no token is set, the console."""

from collections.abc import Collection, Mapping

from rich.console import Console, Group
from rich.text import Text

from audit_assets.alerting.console import print_whole
from audit_assets.alerting.deliverer import Sender
from audit_assets.alerting.outbox import Delivery
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.slack_client import SlackClient
from audit_assets.alerting.slack_console import rendered
from audit_assets.alerting.slack_words import EDIT_IS_MOOT, REPLY_IS_MOOT

CONSOLE = "console"  # the reference of what was said there and went nowhere


class SlackSender:
    """Posts, edits and answers in threads. A message that may be there is looked for by its metadata first; where the
    token may not read the channel, it is posted again."""

    def __init__(self, client: SlackClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        channel = delivery.target.partition(":")[2]
        if posted is not None and ":" not in posted:  # said on the console, before there was a token
            posted = None
        if delivery.action in ("edit", "reply") and posted is None:
            return Outcome("sent", "its message was never at Slack")
        if delivery.action == "edit" and posted is not None:
            return _or_gone(self._client.edit(posted, delivery.payload), EDIT_IS_MOOT)
        thread = posted.partition(":")[2] if posted is not None and delivery.action == "reply" else None
        if delivery.maybe_taken and delivery.first_attempt_at is not None:
            # By its id, where one is known: the name of a channel is enough to write into it, and not to read it.
            place = posted.partition(":")[0] if posted is not None else channel
            found = self._client.find(place, delivery.id, delivery.first_attempt_at, thread)
            if found is not None and found.kind in ("sent", "retry", "uncertain"):
                return found
        outcome = self._client.post(channel, delivery.payload, delivery.id, thread)
        return _or_gone(outcome, REPLY_IS_MOOT) if delivery.action == "reply" else outcome


def _or_gone(outcome: Outcome, words: Collection[str]) -> Outcome:
    """Nobody is woken because somebody tidied up in Slack: a change to a message that is gone is done. Whether its
    channel takes messages is for the next post to say."""
    if outcome.kind in ("refused", "parked") and outcome.said.partition(":")[0] in words:
        return Outcome("sent", f"{outcome.said}: the message was deleted, or may not be changed")
    return outcome


class PagerDutySender:
    """Events carry their dedup key: sent twice they are one."""

    def __init__(self, client: PagerDutyClient) -> None:
        self._client = client

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        return self._client.send(delivery.payload)


class ConsoleSender:
    """Says on the console what would be sent, and shows a message as Slack would; for places without tokens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def send(self, delivery: Delivery, posted: str | None) -> Outcome:
        text = delivery.payload.get("title") or delivery.payload.get("text")
        text = text or delivery.payload.get("payload", {}).get("summary")
        said = text or f"{delivery.payload.get('event_action', delivery.action)} {delivery.alert_key or ''}"
        line = Text(f"→ {delivery.target} {delivery.action}: {said}", no_wrap=True, overflow="ignore")
        print_whole(self._console, Group(line, rendered(delivery.payload)) if delivery.action == "post" else line)
        return Outcome("sent", "written to the console", CONSOLE)


def senders_of(slack: SlackClient | None, pagerduty: PagerDutyClient | None, console: Console) -> Mapping[str, Sender]:
    """A sender a provider; the console for one without a client."""
    aloud = ConsoleSender(console)
    return {
        "slack": SlackSender(slack) if slack else aloud,
        "pagerduty": PagerDutySender(pagerduty) if pagerduty else aloud,
    }
