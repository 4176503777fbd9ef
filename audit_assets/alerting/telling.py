"""What is to be told of a change, and to whom: rows for the outbox, in the transaction of the change itself."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting import outbox, pagerduty_event, record, slack_message, ticket
from audit_assets.alerting.ledger import alerts, deliveries
from audit_assets.alerting.outbox import Entry
from audit_assets.alerting.record import Evaluation
from audit_assets.alerting.story import Story, Told
from audit_assets.rules.model import Rule
from audit_assets.rules.routing import Routing

PAGERDUTY, SLACK = "pagerduty", "slack"

# PagerDuty alerts of one message; the rest is told by one more that counts them.
_ALERTS_A_GROUP = 24
_CLOSED_LISTED = 10


@dataclass(frozen=True, slots=True)
class Tale:
    """What changed in one message: the episodes that opened and those that closed."""

    rule: Rule
    group_key: str
    opened: tuple[Told, ...]
    closed: tuple[Told, ...]


def targets_of(rule: Rule, routing: Routing, is_drill: bool = False) -> list[str]:
    """Whom a rule tells, each once: `pagerduty:SERVICE`, `slack:#CHANNEL`, `jira:PROJECT` and `webhook`."""
    told: list[str] = []
    for route in (routing.routes[name] for name in rule.routes if name in routing.routes):
        if route.pagerduty is not None:
            told.append(f"{PAGERDUTY}:{route.pagerduty.service}")
        if route.slack is not None:
            told.append(f"{SLACK}:{route.slack}")
        if route.ticket is not None and (route.drill_tickets or not is_drill):
            told.append(route.ticket)
    return list(dict.fromkeys(told))


def tell(connection: Connection, story: Story, tale: Tale, routing: Routing, evaluation: Evaluation) -> None:
    """Puts what changed into the outbox. Whom a rule tells is decided when its message begins: an episode is closed
    where it was opened, whatever the routes say by then."""
    known = connection.execute(
        select(deliveries.c.target).where(deliveries.c.group_key == tale.group_key).distinct()
    ).scalars()
    wanted = targets_of(tale.rule, routing, story.is_drill) if tale.opened else ()
    for target in dict.fromkeys((*known, *wanted)):
        if target.startswith(f"{PAGERDUTY}:"):
            _page(connection, story, tale, target, evaluation)
        elif target.startswith(f"{SLACK}:"):
            _post(connection, story, tale, target, evaluation)
        else:
            _file(connection, story, tale, target)


def tell_taken(connection: Connection, group_key: str, about: str, now: datetime) -> None:
    """Puts who took which episodes into the messages of a group, which stay as they are otherwise: between two
    evaluations there are no facts to make them anew of. `about` tells this change from others of the same message."""
    told = [one.told for one in record.of_group(connection, group_key)]
    posts = select(deliveries.c.stream).where(deliveries.c.group_key == group_key, deliveries.c.action == "post")
    for stream in connection.execute(posts.distinct()).scalars().all():
        posted, newest = outbox.first_of(connection, stream, "post"), outbox.newest_content(connection, stream)
        if posted is None or newest is None or posted.status in ("superseded", "dead"):
            continue
        payload, fallback = (
            slack_message.with_takers(json.loads(content), told, now)
            for content in (newest.payload, newest.fallback or newest.payload)
        )
        if outbox.is_untold(posted):
            outbox.rewrite(connection, posted.seq, payload, fallback)
        else:
            entry = Entry(stream, posted.target, "edit", posted.rule_id, about, payload, fallback, group_key=group_key)
            _edit(connection, entry, about, now)


def _post(connection: Connection, story: Story, tale: Tale, target: str, evaluation: Evaluation) -> None:
    """One message a group: posted once, edited as it grows, answered in its thread where an episode closes."""
    stream, now = f"{tale.group_key}|{target}", story.now
    post = Entry(
        stream, target, "post", tale.rule.id, tale.group_key, slack_message.message(story),
        fallback=slack_message.minimal(story), group_key=tale.group_key,
    )  # fmt: skip
    posted = outbox.first_of(connection, stream, "post")
    if posted is None:
        outbox.enqueue(connection, post, now)
    elif not outbox.is_untold(posted):
        if posted.status in ("superseded", "dead"):  # there is no message to change
            return
        _edit(connection, post, evaluation.id, now)
        if tale.closed:
            answer = replace(post, action="reply", about=evaluation.id, payload=_reply(story, tale), fallback=None)
            outbox.enqueue(connection, answer, now)
    elif story.is_over:
        outbox.supersede(connection, now, deliveries.c.stream == stream)
    else:
        outbox.rewrite(connection, posted.seq, post.payload, slack_message.minimal(story))


def _edit(connection: Connection, post: Entry, about: str, now: datetime) -> None:
    """Changes a message to `post`; changes that wait need not be seen."""
    outbox.supersede(connection, now, deliveries.c.stream == post.stream, deliveries.c.action == "edit")
    outbox.enqueue(connection, replace(post, action="edit", about=about), now)


def _reply(story: Story, tale: Tale) -> Mapping[str, Any]:
    """One line an episode that closed; many at once are counted, so that a thread can be read."""
    lines = [slack_message.reply(story, told)["text"] for told in tale.closed[:_CLOSED_LISTED]]
    more = len(tale.closed) - len(lines)
    return {"text": "\n".join([*lines, *([f"and {more:,} more are back to normal"] if more else [])])}


def _file(connection: Connection, story: Story, tale: Tale, target: str) -> None:
    """One ticket a group: filed once, told its end once. It is for later, and does not follow each step meanwhile."""
    stream, now = f"{tale.group_key}|{target}", story.now
    entry = Entry(
        stream, target, "ticket", tale.rule.id, tale.group_key, ticket.opening(story, tale.group_key),
        group_key=tale.group_key,
    )  # fmt: skip
    filed = outbox.first_of(connection, stream, "ticket")
    if filed is None:
        outbox.enqueue(connection, entry, now)
    elif outbox.is_untold(filed):
        if story.is_over:
            outbox.supersede(connection, now, deliveries.c.stream == stream)
        else:
            outbox.rewrite(connection, filed.seq, entry.payload, None)
    elif story.is_over and filed.status not in ("superseded", "dead"):
        outbox.enqueue(connection, replace(entry, action="comment", payload=ticket.closing(story, tale.group_key)), now)


def _page(connection: Connection, story: Story, tale: Tale, target: str, evaluation: Evaluation) -> None:
    """An alert an episode, up to a number; the rest of a message in one that counts them."""
    for told in tale.closed:
        _resolve(connection, tale, target, told.key, evaluation)
    room = max(_ALERTS_A_GROUP - _told_apart(connection, tale, target), 0)
    for told in tale.opened[:room]:
        event = pagerduty_event.trigger(story, told)
        entry = _trigger(tale, target, told.key, event, about=told.key)
        outbox.enqueue(connection, replace(entry, alert_key=told.key), story.now)
    rest = tale.opened[room:]
    if rest:
        _in_summary(connection, rest)
    _summarise(connection, story, tale, target, evaluation, grew=bool(rest))


def _trigger(tale: Tale, target: str, key: str, event: Mapping[str, Any], about: str) -> Entry:
    return Entry(
        f"{key}|{target}", target, "trigger", tale.rule.id, about, event,
        fallback=pagerduty_event.minimal(dict(event)), group_key=tale.group_key,
    )  # fmt: skip


def _resolve(connection: Connection, tale: Tale, target: str, key: str, evaluation: Evaluation) -> None:
    """A resolve goes out where its trigger did, or may have."""
    stream = f"{key}|{target}"
    triggers = outbox.unclosed(connection, stream)
    if all(outbox.is_untold(trigger) for trigger in triggers):
        outbox.supersede(connection, evaluation.at, deliveries.c.stream == stream)
        return
    # One that may have been taken is not sent again, to wake somebody for what is over: its end is enough.
    for trigger in triggers:
        outbox.give_up_trying(connection, trigger.seq, evaluation.at)
    entry = Entry(
        stream, target, "resolve", tale.rule.id, evaluation.id, pagerduty_event.resolve(key),
        alert_key=triggers[0].alert_key, group_key=tale.group_key,
    )  # fmt: skip
    outbox.enqueue(connection, entry, evaluation.at)


def _told_apart(connection: Connection, tale: Tale, target: str) -> int:
    mine = (deliveries.c.group_key == tale.group_key, deliveries.c.target == target, deliveries.c.action == "trigger")
    return len(connection.execute(select(deliveries.c.seq).where(*mine, deliveries.c.alert_key.is_not(None))).all())


def _in_summary(connection: Connection, rest: Iterable[Told]) -> None:
    keys = [told.key for told in rest]
    connection.execute(update(alerts).where(alerts.c.key.in_(keys)).values(in_summary=True))


def _summarise(
    connection: Connection, story: Story, tale: Tale, target: str, evaluation: Evaluation, grew: bool
) -> None:
    key = record.summary_key(tale.group_key)
    mine = (alerts.c.group_key == tale.group_key, alerts.c.in_summary.is_(True), alerts.c.resolved_at.is_(None))
    left = len(connection.execute(select(alerts.c.key).where(*mine)).all())
    if not left:
        _resolve(connection, tale, target, key, evaluation)
    elif grew:
        environment = story.told[0].environment
        event = pagerduty_event.summary_trigger(tale.rule, environment, left, key, story)
        outbox.enqueue(connection, _trigger(tale, target, key, event, about=evaluation.id), evaluation.at)
