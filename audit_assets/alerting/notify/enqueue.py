"""Queues the messages about a state change: rows in the outbox, written in the transaction of the change itself."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting.channels import pagerduty_event, slack_message, ticket
from audit_assets.alerting.delivery import outbox
from audit_assets.alerting.delivery.outbox import Entry, Payload
from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.store import Evaluation
from audit_assets.alerting.ledger.tables import alerts, deliveries, has_action
from audit_assets.alerting.notify.notification import AlertState, Notification
from audit_assets.rules.model import Rule
from audit_assets.rules.routing import Routing

PAGERDUTY, SLACK = "pagerduty", "slack"

_ALERTS_PER_GROUP = 24  # PagerDuty alerts per message; one more alert counts the rest
_RESOLVED_LISTED = 10


@dataclass(frozen=True, slots=True)
class GroupChange:
    """The changes in the group of one message: the episodes that opened and those that closed."""

    rule: Rule
    group_key: str
    opened: tuple[AlertState, ...]
    closed: tuple[AlertState, ...]


def targets_of(rule: Rule, routing: Routing, is_drill: bool = False) -> list[str]:
    """The targets of a rule, without duplicates: `pagerduty:SERVICE`, `slack:#CHANNEL`, `jira:PROJECT`, `webhook`."""
    targets: list[str] = []
    for route in (routing.routes[name] for name in rule.routes if name in routing.routes):
        if route.pagerduty is not None:
            targets.append(f"{PAGERDUTY}:{route.pagerduty.service}")
        if route.slack is not None:
            targets.append(f"{SLACK}:{route.slack}")
        if route.ticket is not None and (route.drill_tickets or not is_drill):
            targets.append(route.ticket)
    return list(dict.fromkeys(targets))


def enqueue_notification(
    connection: Connection, notification: Notification, change: GroupChange, routing: Routing, evaluation: Evaluation
) -> None:
    """Queues the messages about `change` for every target of its rule.

    The targets are fixed when the group's first message is queued: an episode is closed at the targets where it was
    opened, even if the routes have changed since.
    """
    known = connection.execute(
        select(deliveries.c.target).where(deliveries.c.group_key == change.group_key).distinct()
    ).scalars()
    wanted = targets_of(change.rule, routing, notification.is_drill) if change.opened else ()
    for target in dict.fromkeys((*known, *wanted)):
        if target.startswith(f"{PAGERDUTY}:"):
            _enqueue_pages(connection, notification, change, target, evaluation)
        elif target.startswith(f"{SLACK}:"):
            _enqueue_post(connection, notification, change, target, evaluation)
        else:
            _enqueue_ticket(connection, notification, change, target)


def enqueue_ack_update(connection: Connection, group_key: str, about: str, now: datetime) -> None:
    """Adds to the messages of a group who acknowledged which episodes. The rest of each message stays as it is:
    between two evaluations there are no facts to render it from. `about` distinguishes this edit from other edits of
    the same message."""
    group_alerts = [stored.alert for stored in store.alerts_of_group(connection, group_key)]
    posts = select(deliveries.c.stream).where(deliveries.c.group_key == group_key, has_action("post"))
    for stream in connection.execute(posts.distinct()).scalars().all():
        posted, newest = outbox.newest_post(connection, stream), outbox.newest_content(connection, stream)
        if posted is None or newest is None or posted.status in ("superseded", "dead"):
            continue
        payload, fallback = (
            slack_message.with_acknowledgements(content, group_alerts, now)
            for content in (newest.payload, newest.fallback or newest.payload)
        )
        if posted.is_unsent:
            outbox.rewrite(connection, posted.seq, payload, fallback)
        else:
            entry = Entry(stream, posted.target, "edit", posted.rule_id, about, payload, fallback, group_key=group_key)
            _enqueue_edit(connection, entry, about, now)


def _enqueue_post(
    connection: Connection, notification: Notification, change: GroupChange, target: str, evaluation: Evaluation
) -> None:
    """One Slack message per group: posted once, edited as the group changes. An edit notifies nobody, so episodes that
    join the group are also named in a reply that the channel shows; episodes that close, in a reply in the thread."""
    stream, now = f"{change.group_key}|{target}", notification.now
    post = Entry(
        stream, target, "post", change.rule.id, change.group_key, slack_message.message(notification),
        fallback=slack_message.minimal(notification), group_key=change.group_key,
    )  # fmt: skip
    posted = outbox.newest_post(connection, stream)
    if posted is None:
        outbox.enqueue(connection, post, now)
    elif not posted.is_unsent:
        # Without a message to edit, new episodes get a message of their own.
        if posted.status in ("superseded", "dead"):
            if change.opened and not notification.is_over:
                outbox.enqueue(connection, replace(post, about=evaluation.id), now)
            return
        _enqueue_edit(connection, post, evaluation.id, now)
        reply = replace(post, action="reply", fallback=None)
        if change.opened:
            joined = slack_message.joined_reply(notification, change.opened)
            outbox.enqueue(connection, replace(reply, about=f"{evaluation.id}/opened", payload=joined), now)
        if change.closed:
            resolved = _resolved_replies(notification, change)
            outbox.enqueue(connection, replace(reply, about=evaluation.id, payload=resolved), now)
    elif notification.is_over:
        outbox.supersede(connection, stream, now)
    else:
        outbox.rewrite(connection, posted.seq, post.payload, slack_message.minimal(notification))


def _enqueue_edit(connection: Connection, post: Entry, about: str, now: datetime) -> None:
    """Queues an edit that replaces the message by `post`. Earlier edits that are not sent yet are dropped."""
    outbox.supersede(connection, post.stream, now, only="edit")
    outbox.enqueue(connection, replace(post, action="edit", about=about), now)


def _resolved_replies(notification: Notification, change: GroupChange) -> Payload:
    """One line per closed episode. Beyond `_RESOLVED_LISTED` they are counted, which keeps the thread readable."""
    lines = [slack_message.resolved_reply(notification, alert)["text"] for alert in change.closed[:_RESOLVED_LISTED]]
    more = len(change.closed) - len(lines)
    return {"text": "\n".join([*lines, *([f"and {more:,} more are back to normal"] if more else [])])}


def _enqueue_ticket(connection: Connection, notification: Notification, change: GroupChange, target: str) -> None:
    """One ticket per group: filed once, commented once when all episodes are over. It does not follow changes between,
    since a ticket is for later work."""
    stream, now = f"{change.group_key}|{target}", notification.now
    entry = Entry(
        stream, target, "ticket", change.rule.id, change.group_key, ticket.new_ticket(notification, change.group_key),
        group_key=change.group_key,
    )  # fmt: skip
    filed = outbox.first_row(connection, stream, "ticket")
    if filed is None:
        outbox.enqueue(connection, entry, now)
    elif filed.is_unsent:
        if notification.is_over:
            outbox.supersede(connection, stream, now)
        else:
            outbox.rewrite(connection, filed.seq, entry.payload, None)
    elif notification.is_over and filed.status not in ("superseded", "dead"):
        outbox.enqueue(
            connection,
            replace(entry, action="comment", payload=ticket.closing_comment(notification, change.group_key)),
            now,
        )


def _enqueue_pages(
    connection: Connection, notification: Notification, change: GroupChange, target: str, evaluation: Evaluation
) -> None:
    """One PagerDuty alert per episode, up to `_ALERTS_PER_GROUP` per group; one summary alert counts the rest."""
    for alert in change.closed:
        _enqueue_resolve(connection, change, target, alert.key, evaluation)
    room = max(_ALERTS_PER_GROUP - _count_triggers(connection, change, target), 0)
    for alert in change.opened[:room]:
        event = pagerduty_event.trigger(notification, alert)
        entry = _trigger_entry(change, target, alert.key, event, about=alert.key)
        outbox.enqueue(connection, replace(entry, alert_key=alert.key), notification.now)
    rest = change.opened[room:]
    if rest:
        _mark_in_summary(connection, rest)
    _enqueue_summary(connection, notification, change, target, evaluation, grew=bool(rest))


def _trigger_entry(change: GroupChange, target: str, key: str, event: Payload, about: str) -> Entry:
    return Entry(
        f"{key}|{target}", target, "trigger", change.rule.id, about, event,
        fallback=pagerduty_event.minimal(dict(event)), group_key=change.group_key,
    )  # fmt: skip


def _enqueue_resolve(
    connection: Connection, change: GroupChange, target: str, key: str, evaluation: Evaluation
) -> None:
    """Queues a resolve if the trigger was sent, or may have been; otherwise drops the trigger."""
    stream = f"{key}|{target}"
    triggers = outbox.unresolved_triggers(connection, stream)
    if all(trigger.is_unsent for trigger in triggers):
        outbox.supersede(connection, stream, evaluation.at)
        return
    # A trigger that may have been accepted is not sent again: that would page somebody for an episode that is over. The
    # resolve is enough.
    for trigger in triggers:
        outbox.cancel_retries(connection, trigger.seq, evaluation.at)
    entry = Entry(
        stream, target, "resolve", change.rule.id, evaluation.id, pagerduty_event.resolve(key),
        alert_key=triggers[0].alert_key, group_key=change.group_key,
    )  # fmt: skip
    outbox.enqueue(connection, entry, evaluation.at)


def _count_triggers(connection: Connection, change: GroupChange, target: str) -> int:
    mine = (deliveries.c.group_key == change.group_key, deliveries.c.target == target, has_action("trigger"))
    return len(connection.execute(select(deliveries.c.seq).where(*mine, deliveries.c.alert_key.is_not(None))).all())


def _mark_in_summary(connection: Connection, rest: Iterable[AlertState]) -> None:
    for keys in store.in_batches([alert.key for alert in rest]):
        connection.execute(update(alerts).where(alerts.c.key.in_(keys)).values(in_summary=True))


def _enqueue_summary(
    connection: Connection,
    notification: Notification,
    change: GroupChange,
    target: str,
    evaluation: Evaluation,
    grew: bool,
) -> None:
    key = store.summary_key(change.group_key)
    mine = (alerts.c.group_key == change.group_key, alerts.c.in_summary.is_(True), alerts.c.resolved_at.is_(None))
    left = len(connection.execute(select(alerts.c.key).where(*mine)).all())
    if not left:
        _enqueue_resolve(connection, change, target, key, evaluation)
    elif grew:
        environment = notification.alerts[0].environment
        event = pagerduty_event.summary_trigger(change.rule, environment, left, key, notification)
        outbox.enqueue(connection, _trigger_entry(change, target, key, event, about=evaluation.id), evaluation.at)
