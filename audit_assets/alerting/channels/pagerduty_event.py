"""PagerDuty events (Events API v2) as values, without the routing key; pure.

The dedup key identifies one episode: a late retry cannot change the next episode's incident, and the same event sent
twice is one incident.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from audit_assets.alerting.links import encode, is_web_address
from audit_assets.alerting.notify import formatting
from audit_assets.alerting.notify.notification import AlertState, Notification
from audit_assets.rules.model import Rule
from audit_assets.text.sanitize import CAUSE_LONGEST, escape

CLIENT = "AI Audit Observability"
SUMMARY_LONGEST = 1024
TITLE_LONGEST = 255
CONTRIBUTORS = 5


def trigger(notification: Notification, alert: AlertState) -> dict[str, Any]:
    """The event that opens or updates the incident of `alert`."""
    capability = alert.dimension("capability")
    links = [
        ("Dashboard", notification.links.dashboard(capability)),
        ("Runbook", notification.links.runbook(notification.rule.runbook)),
        ("Raw logs", formatting.raw_logs(notification.links, alert)),
        ("Dagster run", notification.run_url or ""),
    ]
    rule, delta = notification.rule, formatting.delta(alert)
    subject = formatting.subject(rule, alert)
    summary = f"{rule.title}: {subject}, {formatting.how_much(rule, alert)}"
    return _event(
        rule,
        alert.environment,
        key=alert.key,
        summary=summary + (f", {delta}" if delta else ""),
        component=subject if alert.dimensions else formatting.ALL_CAPABILITIES,
        at=alert.opened_at,
        details=_details(notification, alert),
        links=links,
    )


def summary_trigger(rule: Rule, environment: str, count: int, key: str, notification: Notification) -> dict[str, Any]:
    """The event of the summary incident, which covers the `count` episodes that have no incident of their own."""
    newest = max((alert.window_end for alert in notification.alerts), default=notification.now)
    return _event(
        rule,
        environment,
        key=key,
        summary=f"{rule.title}: {formatting.counted(count, 'more capability', 'more capabilities')}",
        component=f"{count:,} more",
        at=newest,
        details={
            "count": count,
            "what": "run `audit alerts list` to see every alert",
            "data_known_up_to": _data(notification),
        },
        links=[
            ("Dashboard", notification.links.dashboard("")),
            ("Runbook", notification.links.runbook(rule.runbook)),
            ("Dagster run", notification.run_url or ""),
        ],
    )


def resolve(key: str) -> dict[str, Any]:
    """The event that closes the incident of `key`."""
    return {"event_action": "resolve", "dedup_key": key}


def notice(key: str, text: str) -> dict[str, Any]:
    """The event that opens an incident about the alerting system itself."""
    payload = {"summary": text[:1024], "source": "ai-audit-observability", "severity": "error", "class": "delivery"}
    return {"event_action": "trigger", "dedup_key": key, "payload": payload}


def minimal(event: dict[str, Any]) -> dict[str, Any]:
    """The event with required fields only: the fallback if PagerDuty refuses the full event."""
    if event["event_action"] != "trigger":
        return dict(event)
    payload = event["payload"]
    kept = {name: event[name] for name in ("routing_key", "event_action", "dedup_key") if name in event}
    required = {"summary": _ascii(payload["summary"]), "source": payload["source"], "severity": payload["severity"]}
    return {**kept, "payload": required}


def draft_link(web_address: str, title: str, service_id: str = "") -> str:
    """The link to PagerDuty's form for a new incident, which a person submits; empty without the account's web address.

    `web_address` is https://<subdomain>.pagerduty.com. The query parameters are not documented: links with `service_id`
    are common; if the form does not support `title`, it ignores it.
    """
    if not is_web_address(web_address):
        return ""
    parameters = {"service_id": service_id, "title": _cut(escape(title, TITLE_LONGEST), TITLE_LONGEST)}
    query = "&".join(f"{name}={encode(text)}" for name, text in parameters.items() if text)
    parts = urlsplit(web_address)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/incidents/create?{query}"


def draft_incident_link(notification: Notification) -> str:
    """The link to a new incident about this message, if its rule does not page. Empty if the rule pages, if all alerts
    are resolved or drills, and if the account's web address is not set."""
    if notification.pages or notification.is_over or notification.is_drill:
        return ""
    worst = notification.alerts[0]
    title = f"{notification.rule.title}: {formatting.subject(notification.rule, worst)}"
    return draft_link(notification.links.pagerduty_url, title, notification.links.pagerduty_service_id)


def _event(
    rule: Rule,
    environment: str,
    key: str,
    summary: str,
    component: str,
    at: datetime,
    details: dict[str, Any],
    links: list[tuple[str, str]],
) -> dict[str, Any]:
    web_links = [{"href": link, "text": text} for text, link in links if is_web_address(link)]
    client_url = next((link["href"] for link in web_links if link["text"] == "Dashboard"), None)
    return {
        "event_action": "trigger",
        "dedup_key": key,
        "client": CLIENT,
        **({"client_url": client_url} if client_url else {}),
        **({"links": web_links} if web_links else {}),
        "payload": {
            "summary": _cut(f"{formatting.DRILL if environment == 'sim' else ''}{summary}", SUMMARY_LONGEST),
            "source": f"ai-audit/{escape(environment)}",
            "severity": rule.severity,
            "timestamp": _instant(at),
            "component": component,
            "group": escape(environment),
            "class": rule.id,
            "custom_details": details,
        },
    }


def _details(notification: Notification, alert: AlertState) -> dict[str, Any]:
    """The custom details that the incident's page lists."""
    rule, unit = notification.rule, notification.rule.form.unit
    lasted = formatting.duration((alert.resolved_at or notification.now) - alert.since)
    details: dict[str, Any] = {
        "value": formatting.amount(rule, alert, alert.value),
        "usual": formatting.usual(rule, alert).removeprefix("usually ") or None,
        "threshold": formatting.limit(rule, alert),
        "delta": formatting.delta(alert) or None,
        "worst_so_far": formatting.figure(alert.peak, unit) if alert.peak is not None else None,
        "window": formatting.window(alert.window_start, alert.window_end, notification.now),
        "since": f"{_instant(alert.since)}, for {lasted}",
        "condition": formatting.condition_of(rule, alert).fires_when,
        "what_it_means": rule.description,
        "contributors": [
            f"{escape(part.name)}: {formatting.counted(int(part.value), 'row')}"
            if rule.watch == "asset_checks"
            else f"{escape(part.name)}: {formatting.figure(part.value, unit)}, "
            f"usually {formatting.figure(part.usual, unit)}"
            for part in notification.contributors[:CONTRIBUTORS]
        ]
        or None,
        "last_error": escape(notification.cause, CAUSE_LONGEST) if notification.cause else None,
        "new_names": formatting.registered(notification) or None,
        "last_windows": formatting.sparkline(alert.history) or None,
        "data_known_up_to": _data(notification),
    }
    return {name: detail for name, detail in details.items() if detail is not None}


def _data(notification: Notification) -> str:
    return formatting.known_up_to(notification.data_until, notification.now).removeprefix("data known up to ")


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _ascii(text: str) -> str:
    return _cut(text, TITLE_LONGEST).encode("ascii", "backslashreplace").decode()[:SUMMARY_LONGEST]
