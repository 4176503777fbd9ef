"""What PagerDuty is told: events of its Events API v2 as values, without routing key; pure.

A key names one episode, so that a late retry of one cannot touch the next, and the same event twice is one incident.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from audit_assets.alerting import wording
from audit_assets.alerting.links import encoded, is_web_address
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.story import Story, Told
from audit_assets.rules.model import Rule

CLIENT = "AI Audit Observability"
SUMMARY_LONGEST = 1024
TITLE_LONGEST = 255
CONTRIBUTORS = 5


def trigger(story: Story, told: Told) -> dict[str, Any]:
    """Opens the incident of `told`, or brings it up to date."""
    capability = told.dimension("capability")
    links = [
        ("Dashboard", story.links.dashboard(capability)),
        ("Runbook", story.links.runbook(story.rule.runbook)),
        ("Raw logs", wording.raw_logs(story.links, told)),
        ("Dagster run", story.run_url or ""),
    ]
    delta = wording.delta(told)
    said = f"{story.rule.title}: {wording.subject(story.rule, told)}, {wording.how_much(story.rule, told)}"
    return _event(
        story.rule,
        told.environment,
        key=told.key,
        summary=said + (f", {delta}" if delta else ""),
        component=wording.subject(story.rule, told) if told.dimensions else wording.EVERYTHING,
        at=told.opened_at,
        details=_details(story, told),
        links=links,
    )


def summary_trigger(rule: Rule, environment: str, count: int, key: str, story: Story) -> dict[str, Any]:
    """One incident for the `count` episodes beyond those that have one each."""
    newest = max((told.window_end for told in story.told), default=story.now)
    return _event(
        rule,
        environment,
        key=key,
        summary=f"{rule.title}: {wording.counted(count, 'more capability', 'more capabilities')}",
        component=f"{count:,} more",
        at=newest,
        details={
            "count": count,
            "what": "each has its episode in the ledger: audit alerts list",
            "data_known_up_to": _data(story),
        },
        links=[
            ("Dashboard", story.links.dashboard("")),
            ("Runbook", story.links.runbook(rule.runbook)),
            ("Dagster run", story.run_url or ""),
        ],
    )


def resolve(key: str) -> dict[str, Any]:
    """Closes the incident of `key`, and says no more."""
    return {"event_action": "resolve", "dedup_key": key}


def notice(key: str, text: str) -> dict[str, Any]:
    """Opens an incident about the alerter itself."""
    payload = {"summary": text[:1024], "source": "ai-audit-observability", "severity": "error", "class": "delivery"}
    return {"event_action": "trigger", "dedup_key": key, "payload": payload}


def minimal(event: dict[str, Any]) -> dict[str, Any]:
    """What PagerDuty asks for and nothing else: tried once where it refuses the whole event."""
    if event["event_action"] != "trigger":
        return dict(event)
    payload = event["payload"]
    kept = {name: event[name] for name in ("routing_key", "event_action", "dedup_key") if name in event}
    required = {"summary": _ascii(payload["summary"]), "source": payload["source"], "severity": payload["severity"]}
    return {**kept, "payload": required}


def draft_link(web_address: str, title: str, service_id: str = "") -> str:
    """PagerDuty's form for a new incident, for a person to send; empty without the account's web address.

    `web_address` is https://<subdomain>.pagerduty.com. The form's query is not documented: many link to it with
    `service_id`; a `title` that it does not take is ignored.
    """
    if not is_web_address(web_address):
        return ""
    asked = {"service_id": service_id, "title": _cut(shown(title, TITLE_LONGEST), TITLE_LONGEST)}
    query = "&".join(f"{name}={encoded(text)}" for name, text in asked.items() if text)
    parts = urlsplit(web_address)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/incidents/create?{query}"


def draft(story: Story) -> str:
    """The form for an incident of this message, where its rule pages nobody; empty where it does, where all is over or
    a drill, and where the account's web address is not set."""
    if story.pages or story.is_over or story.is_drill:
        return ""
    worst = story.told[0]
    title = f"{story.rule.title}: {wording.subject(story.rule, worst)}"
    return draft_link(story.links.pagerduty_url, title, story.links.pagerduty_service_id)


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
    leading = [{"href": link, "text": text} for text, link in links if is_web_address(link)]
    client_url = next((link["href"] for link in leading if link["text"] == "Dashboard"), None)
    return {
        "event_action": "trigger",
        "dedup_key": key,
        "client": CLIENT,
        **({"client_url": client_url} if client_url else {}),
        **({"links": leading} if leading else {}),
        "payload": {
            "summary": _cut(f"{wording.DRILL if environment == 'sim' else ''}{summary}", SUMMARY_LONGEST),
            "source": f"ai-audit/{shown(environment)}",
            "severity": rule.severity,
            "timestamp": _instant(at),
            "component": component,
            "group": shown(environment),
            "class": rule.id,
            "custom_details": details,
        },
    }


def _details(story: Story, told: Told) -> dict[str, Any]:
    """What the incident's page lists, in words a person reads."""
    rule, unit = story.rule, story.rule.form.unit
    details: dict[str, Any] = {
        "value": wording.amount(rule, told, told.value),
        "usual": wording.usual(rule, told).removeprefix("usually ") or None,
        "threshold": wording.limit(rule, told),
        "delta": wording.delta(told) or None,
        "worst_so_far": wording.figure(told.peak, unit) if told.peak is not None else None,
        "window": wording.window(told.window_start, told.window_end, story.now),
        "since": f"{_instant(told.since)}, for {wording.length((told.resolved_at or story.now) - told.since)}",
        "condition": wording.way_of(rule, told).fires_when,
        "what_it_means": rule.description,
        "contributors": [
            f"{shown(part.name)}: {wording.figure(part.value, unit)}, usually {wording.figure(part.usual, unit)}"
            for part in story.contributors[:CONTRIBUTORS]
        ]
        or None,
        "last_windows": wording.sparkline(told.history) or None,
        "data_known_up_to": _data(story),
    }
    return {name: said for name, said in details.items() if said is not None}


def _data(story: Story) -> str:
    return wording.known_up_to(story.data_until, story.now).removeprefix("data known up to ")


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _ascii(text: str) -> str:
    return _cut(text, TITLE_LONGEST).encode("ascii", "backslashreplace").decode()[:SUMMARY_LONGEST]
