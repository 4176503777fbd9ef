"""What a ticket says: filed when a message begins, commented when all of it is over; pure.

Plain text, the same for JIRA and a webhook; each client lays it out in its own way.
"""

from datetime import UTC, datetime
from typing import Any

from audit_assets.alerting import wording
from audit_assets.alerting.links import is_web_address
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.pagerduty_event import draft
from audit_assets.alerting.story import Story, Told

TITLE_LONGEST = 255  # JIRA's limit of a summary
LISTED = 9  # besides the worst; the rest is counted
CONTRIBUTORS = 5
NAMED = 100  # capabilities a program is told by name


def opening(story: Story, group_key: str) -> dict[str, Any]:
    """A new ticket: title, text and links, and what a program needs to sort it. `group_key` is the same for its end."""
    worst = story.told[0]
    parts = [_how_it_is(story, worst), _others(story), _contributors(story), _what_it_finds(story)]
    links = [
        ("Dashboard", story.links.dashboard(worst.dimension("capability"))),
        ("Runbook", story.links.runbook(story.rule.runbook)),
        ("Raw logs", wording.raw_logs(story.links, worst)),
        ("Dagster run", story.run_url or ""),
        ("Draft incident", draft(story)),
    ]
    return _document(story, group_key, "opened", _title(story), "\n\n".join(filter(None, parts)), links)


def closing(story: Story, group_key: str) -> dict[str, Any]:
    """What a ticket is told when its last episode is over."""
    lines = [_how_it_ended(story, told) for told in story.told[: LISTED + 1]]
    text = "\n".join([*lines, *_more(len(story.told) - len(lines))])
    return _document(story, group_key, "closed", _title(story), text, [])


def _document(
    story: Story, group_key: str, event: str, title: str, text: str, links: list[tuple[str, str]]
) -> dict[str, Any]:
    names = sorted({told.dimension("capability") for told in story.told} - {""})
    return {
        "event": event,
        "ticket": group_key,
        "title": title,
        "text": text,
        "links": [{"text": words, "href": link} for words, link in links if is_web_address(link)],
        "rule": story.rule.id,
        "severity": story.rule.severity,
        "environment": story.told[0].environment,
        "capabilities": names[:NAMED],
    }


def _title(story: Story) -> str:
    """What a list of tickets shows: [DRILL] AI Copilot Audit Spike: code_review, +337 % and 4 more."""
    worst = story.told[0]
    much = "" if story.is_over else wording.delta(worst) or wording.amount(story.rule, worst, worst.value)
    more = f" and {len(story.told) - 1:,} more" if len(story.told) > 1 else ""
    mark = f"{wording.DRILL if story.is_drill else ''}{'Resolved: ' if story.is_over else ''}"
    said = f"{mark}{story.rule.title}: {wording.subject(story.rule, worst)}{f', {much}' if much else ''}{more}"
    return said if len(said) <= TITLE_LONGEST else f"{said[: TITLE_LONGEST - 1]}…"


def _how_it_is(story: Story, worst: Told) -> str:
    delta = wording.delta(worst)
    much = wording.how_much(story.rule, worst) + (f", {delta}" if delta else "")
    lines = [
        f"{wording.subject(story.rule, worst)}: {much}",
        f"Since: {_at(worst.since)}, for {wording.length(story.now - worst.since)} when this was filed",
        f"Window: {wording.window(worst.window_start, worst.window_end, story.now)}",
        f"Limit: {wording.limit(story.rule, worst)}",
    ]
    if worst.peak is not None and worst.peak != worst.value:
        lines.append(f"Worst so far: {wording.figure(worst.peak, story.rule.form.unit)}")
    return "\n".join(lines)


def _others(story: Story) -> str:
    others = story.told[1:]
    if not others:
        return ""
    lines = [f"- {_line(story, told)}" for told in others[:LISTED]]
    return "\n".join(["Also:", *lines, *_more(len(others) - len(lines))])


def _line(story: Story, told: Told) -> str:
    unit, delta = story.rule.form.unit, wording.delta(told)
    usual = f", usually {wording.figure(told.baseline, unit)}" if told.baseline is not None else ""
    said = f"{wording.subject(story.rule, told)}: {wording.figure(told.value, unit)}{usual}"
    return said + (f", {delta}" if delta else "")


def _contributors(story: Story) -> str:
    unit = story.rule.form.unit
    lines = [
        f"- {shown(part.name)}: {wording.figure(part.value, unit)}, usually {wording.figure(part.usual, unit)}"
        for part in story.contributors[:CONTRIBUTORS]
    ]
    return "\n".join(["Contributing most:", *lines]) if lines else ""


def _what_it_finds(story: Story) -> str:
    lines = [
        " ".join(story.rule.description.split()),
        *([f"Data known up to {_at(story.data_until)}."] if story.data_until is not None else []),
        f"Severity {story.rule.severity}, environment {story.told[0].environment}. In the ledger: {story.told[0].key}",
    ]
    return "\n".join(lines)


def _how_it_ended(story: Story, told: Told) -> str:
    """chat: over since 2026-11-23 14:00 UTC, after 1 h 20 min; at worst 90."""
    ended = told.resolved_at or story.now
    lasted = wording.length(ended - told.since)
    why = "" if told.resolve_reason in (None, "cleared") else f" ({told.resolve_reason.replace('_', ' ')})"
    worst = f"; at worst {wording.figure(told.peak, story.rule.form.unit)}" if told.peak is not None else ""
    name = wording.subject(story.rule, told)
    return f"{name}: over since {_at(ended)}{why}, after {lasted}{worst}"


def _at(at: datetime) -> str:
    """With its day, always: a ticket is read weeks later."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _more(number: int) -> list[str]:
    return [f"and {number:,} more"] if number > 0 else []
