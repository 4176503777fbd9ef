"""Tickets: filed when a group opens, commented when all its alerts are resolved; pure.

Plain text, the same for Jira and a webhook; each client adds its own markup.
"""

from datetime import UTC, datetime
from typing import Any

from audit_assets.alerting.channels.pagerduty_event import draft_incident_link
from audit_assets.alerting.links import is_web_address
from audit_assets.alerting.notify import formatting
from audit_assets.alerting.notify.notification import AlertState, Notification
from audit_assets.text.sanitize import CAUSE_LONGEST, escape

TITLE_LONGEST = 255  # Jira's limit for a summary
LISTED = 9  # alerts listed besides the worst; the rest is counted
CONTRIBUTORS = 5
NAMES_LISTED = 100  # entries in `capabilities`


def new_ticket(notification: Notification, group_key: str) -> dict[str, Any]:
    """A new ticket: title, text, links, and fields by which a program can route it. The closing comment has the same
    `group_key`."""
    worst = notification.alerts[0]
    cause = f"Last error: {escape(notification.cause, CAUSE_LONGEST)}" if notification.cause else ""
    names = f"New names: {formatting.registered(notification)}" if notification.registered else ""
    parts = [
        _status_lines(notification, worst),
        _other_alerts(notification),
        _contributors(notification),
        names,
        cause,
        _description(notification),
    ]
    links = [
        ("Dashboard", notification.links.dashboard(worst.dimension("capability"))),
        ("Runbook", notification.links.runbook(notification.rule.runbook)),
        ("Raw logs", formatting.raw_logs(notification.links, worst)),
        ("Dagster run", notification.run_url or ""),
        ("Draft incident", draft_incident_link(notification)),
    ]
    return _document(notification, group_key, "opened", _title(notification), "\n\n".join(filter(None, parts)), links)


def closing_comment(notification: Notification, group_key: str) -> dict[str, Any]:
    """The comment on the ticket when the last alert is resolved."""
    lines = [_resolution_line(notification, alert) for alert in notification.alerts[: LISTED + 1]]
    text = "\n".join([*lines, *_more(len(notification.alerts) - len(lines))])
    return _document(notification, group_key, "closed", _title(notification), text, [])


def _document(
    notification: Notification, group_key: str, event: str, title: str, text: str, links: list[tuple[str, str]]
) -> dict[str, Any]:
    names = sorted({alert.dimension("capability") for alert in notification.alerts} - {""})
    return {
        "event": event,
        "ticket": group_key,
        "title": title,
        "text": text,
        "links": [{"text": label, "href": link} for label, link in links if is_web_address(link)],
        "rule": notification.rule.id,
        "severity": notification.rule.severity,
        "environment": notification.alerts[0].environment,
        "capabilities": names[:NAMES_LISTED],
    }


def _title(notification: Notification) -> str:
    """[DRILL] AI Copilot Audit Spike: code_review, +337 % and 4 more."""
    rule, worst = notification.rule, notification.alerts[0]
    figure = formatting.delta(worst) or formatting.amount(rule, worst, worst.value)
    suffix = f", {figure}" if figure and not notification.is_over else ""
    more = f" and {len(notification.alerts) - 1:,} more" if len(notification.alerts) > 1 else ""
    prefix = f"{formatting.DRILL if notification.is_drill else ''}{'Resolved: ' if notification.is_over else ''}"
    title = f"{prefix}{rule.title}: {formatting.subject(rule, worst)}{suffix}{more}"
    return title if len(title) <= TITLE_LONGEST else f"{title[: TITLE_LONGEST - 1]}…"


def _status_lines(notification: Notification, worst: AlertState) -> str:
    delta = formatting.delta(worst)
    figures = formatting.how_much(notification.rule, worst) + (f", {delta}" if delta else "")
    lines = [
        f"{formatting.subject(notification.rule, worst)}: {figures}",
        f"Since: {_at(worst.since)}, for {formatting.duration(notification.now - worst.since)} when this was filed",
        f"Window: {formatting.window(worst.window_start, worst.window_end, notification.now)}",
        f"Limit: {formatting.limit(notification.rule, worst)}",
    ]
    if worst.peak is not None and worst.peak != worst.value:
        lines.append(f"Worst so far: {formatting.figure(worst.peak, notification.rule.form.unit)}")
    return "\n".join(lines)


def _other_alerts(notification: Notification) -> str:
    others = notification.alerts[1:]
    if not others:
        return ""
    lines = [f"- {_line(notification, alert)}" for alert in others[:LISTED]]
    return "\n".join(["Also:", *lines, *_more(len(others) - len(lines))])


def _line(notification: Notification, alert: AlertState) -> str:
    unit, delta = notification.rule.form.unit, formatting.delta(alert)
    usual = f", usually {formatting.figure(alert.baseline, unit)}" if alert.baseline is not None else ""
    line = f"{formatting.subject(notification.rule, alert)}: {formatting.figure(alert.value, unit)}{usual}"
    return line + (f", {delta}" if delta else "")


def _contributors(notification: Notification) -> str:
    unit = notification.rule.form.unit
    lines = [
        f"- {escape(part.name)}: {formatting.figure(part.value, unit)}, usually {formatting.figure(part.usual, unit)}"
        for part in notification.contributors[:CONTRIBUTORS]
    ]
    return "\n".join(["Contributing most:", *lines]) if lines else ""


def _description(notification: Notification) -> str:
    rule, worst = notification.rule, notification.alerts[0]
    lines = [
        " ".join(rule.description.split()),
        *([f"Data known up to {_at(notification.data_until)}."] if notification.data_until is not None else []),
        f"Severity {rule.severity}, environment {worst.environment}. Alert key: {worst.key}",
    ]
    return "\n".join(lines)


def _resolution_line(notification: Notification, alert: AlertState) -> str:
    """chat: resolved at 2026-11-23 14:00 UTC after 1 h 20 min; worst value 90."""
    ended = alert.resolved_at or notification.now
    lasted = formatting.duration(ended - alert.since)
    reason = "" if alert.resolve_reason in (None, "cleared") else f" ({alert.resolve_reason.replace('_', ' ')})"
    peak = formatting.figure(alert.peak, notification.rule.form.unit)
    worst = f"; worst value {peak}" if alert.peak is not None else ""
    name = formatting.subject(notification.rule, alert)
    return f"{name}: resolved at {_at(ended)}{reason} after {lasted}{worst}"


def _at(at: datetime) -> str:
    """Always with the date: tickets are read weeks later."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _more(number: int) -> list[str]:
    return [f"and {number:,} more"] if number > 0 else []
