"""Slack messages: one per group of alerts, edited as the group changes, and a reply when an alert is resolved; pure.

The payloads contain no channel, token or metadata; the sender adds these. Untrusted text is escaped: it cannot format,
mention or link. Names are in code spans, where Slack does not interpret `*`, `_` or `:smile:`. The three characters
that start mentions and links even there are written as entities.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from rich.cells import cell_len, set_cell_size

from audit_assets.alerting.channels.pagerduty_event import draft_incident_link
from audit_assets.alerting.links import is_web_address
from audit_assets.alerting.notify import formatting
from audit_assets.alerting.notify.notification import AlertState, Contributor, Notification
from audit_assets.text.sanitize import CAUSE_LONGEST, LONGEST, NAME_LONGEST, escape

Block = dict[str, Any]

SECTION_LONGEST = 3000
FIELD_LONGEST = 2000
HEADER_LONGEST = 150
BUTTON_LONGEST = 75
URL_LONGEST = 3000

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "ˋ"})  # no backtick ends a code span
_MARKS = str.maketrans({"*": "∗", "~": "∼"})
_UNDERSCORES = re.compile(r"(?<!\w)_|_(?!\w)")  # Slack does not interpret underscores within a word, as in on_call


def escape_entities(text: str) -> str:
    """`text` without the characters that start a mention, a link or a code span."""
    return text.translate(_ENTITIES)


def code_span(text: str, longest: int = LONGEST) -> str:
    """`text` in a code span."""
    return f"`{escape_entities(escape(text, longest))}`"


def escape_mrkdwn(text: str, longest: int = 1000) -> str:
    """`text` from a rule file or the ledger, escaped so that it cannot format, mention or link."""
    return _UNDERSCORES.sub("ˍ", escape_entities(escape(text, longest)).translate(_MARKS))


def mrkdwn(text: str, longest: int = SECTION_LONGEST) -> Block:
    """A text object in Slack's markup; channel names and URLs in it are not linked."""
    return {"type": "mrkdwn", "text": _within(text, longest), "verbatim": True}


def plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": _within(text, longest), "emoji": False}


def section(text: str) -> Block:
    return {"type": "section", "text": mrkdwn(text)}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], total: int, widest: int = 24) -> str:
    """A monospace table: the first column left-aligned, figures right-aligned, the last column unpadded.

    Rows that do not fit into a section are left out; a last line counts the rows missing to `total`.
    """
    cut = [[_cut(escape(row[0]), widest), *row[1:]] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *cut, strict=True)]
    lines: list[str] = []
    for row in [list(header), *cut]:
        first, *middle, last = row
        cells = [set_cell_size(first, widths[0])]
        cells += [" " * (width - cell_len(cell)) + cell for cell, width in zip(middle, widths[1:-1], strict=True)]
        line = escape_entities("  ".join([*cells, last]).rstrip())
        if sum(map(units, lines)) + len(lines) + units(line) > SECTION_LONGEST - 200:
            break
        lines.append(line)
    more = total - (len(lines) - 1)
    return "\n".join(["```", *lines, *([f"and {more:,} more"] if more > 0 else []), "```"])


def _cut(text: str, widest: int) -> str:
    return text if cell_len(text) <= widest else set_cell_size(text, widest - 1).rstrip() + "…"


def units(text: str) -> int:
    """The length of `text` in UTF-16 code units, as Slack may count it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _within(text: str, longest: int) -> str:
    while units(text) > longest:
        text = text[: longest // 2 if units(text) > 2 * longest else len(text) - 20].rstrip("…") + "…"
    return text


RESOLVED_COLOR = "#16A34A"
LISTED = 9  # alerts listed besides the worst; the rest is counted
CONTRIBUTORS = 5
KEY_LONGEST = 255
JOINED_LISTED = 10
ALIKE_LISTED = 8
ACKNOWLEDGERS_LISTED, NAMES_LISTED = 4, 3  # people who acknowledged, and alerts named per person
ACKNOWLEDGED = "Acknowledged by "


def message(notification: Notification) -> dict[str, Any]:
    """The message at `notification.now`: `text`, which Slack shows in desktop notifications, and one attachment of
    blocks."""
    color = RESOLVED_COLOR if notification.is_over else notification.rule.colour
    payload = {"text": _text(notification), "attachments": [{"color": color, "blocks": _blocks(notification)}]}
    return with_acknowledgements(payload, notification.alerts, notification.now)


def minimal(notification: Notification) -> dict[str, Any]:
    """The same message without blocks: the fallback if Slack refuses the blocks."""
    worst = _worst(notification)
    lines = [_text(notification), _headline(notification, worst), _window(notification, worst)]
    for label, link in _links(notification, worst):
        line = f"{label}: {escape_entities(link)}"
        if _is_button_link(link) and len("\n".join([*lines, line])) <= SECTION_LONGEST:
            lines.append(line)
    return with_acknowledgements({"text": "\n".join(lines)}, notification.alerts, notification.now)


def with_acknowledgements(payload: Mapping[str, Any], alerts: Sequence[AlertState], now: datetime) -> dict[str, Any]:
    """`payload`, a message or its minimal form, with lines that say who acknowledged which of `alerts`. Earlier such
    lines are replaced."""
    acknowledgements = _acknowledgement_lines(alerts, now)
    if "attachments" not in payload:
        lines = [line for line in payload["text"].split("\n") if not line.startswith(ACKNOWLEDGED)]
        for line in acknowledgements:
            if units("\n".join([*lines, line])) < SECTION_LONGEST:
                lines.append(line)
        return {**payload, "text": "\n".join(lines)}
    (attachment,) = payload["attachments"]
    *blocks, footer = attachment["blocks"]
    blocks = [block for block in blocks if block["type"] != "context"]
    if acknowledgements:
        blocks.append({"type": "context", "elements": [mrkdwn(line) for line in acknowledgements]})
    return {**payload, "attachments": [{**attachment, "blocks": [*blocks, footer]}]}


def resolved_reply(notification: Notification, alert: AlertState) -> dict[str, Any]:
    """The reply in the thread when `alert` is resolved."""
    return {"text": f"{_drill_prefix(alert)}{_resolved_line(notification, alert)}"}


def joined_reply(notification: Notification, opened: Sequence[AlertState]) -> dict[str, Any]:
    """A reply that names the alerts that joined the message, worst first. The channel shows it as well, since the edit
    of the message notifies nobody."""
    keys = {alert.key for alert in opened}
    joined = [alert for alert in notification.alerts if alert.key in keys]
    lines = [f"{escape_mrkdwn(_title(notification))}: also"]
    for alert in joined[:JOINED_LISTED]:
        figures = escape_mrkdwn(formatting.how_much(notification.rule, alert))
        prefix = "" if notification.is_drill else _drill_prefix(alert)
        delta = formatting.delta(alert)
        lines.append(f"{prefix}{_subject(notification, alert)}: {figures}{f', {delta}' if delta else ''}")
    more = len(joined) - JOINED_LISTED
    return {"text": "\n".join([*lines, *([f"and {more:,} more"] if more > 0 else [])]), "reply_broadcast": True}


def reminder(alerts: Sequence[AlertState], now: datetime) -> dict[str, Any]:
    """The reminder in the thread while `alerts`, worst first, stay open."""
    open_for = formatting.duration(now - min(alert.since for alert in alerts))
    return {"text": f"Still open after {open_for}: {_names(alerts)}"}


def _blocks(notification: Notification) -> list[Block]:
    worst = _worst(notification)
    blocks: list[Block] = [
        {"type": "header", "text": plain(_title(notification), HEADER_LONGEST)},
        section(_headline(notification, worst)),
        {"type": "section", "fields": [mrkdwn(text, FIELD_LONGEST) for text in _fields(notification, worst)]},
    ]
    others = [alert for alert in notification.alerts if alert is not worst]
    if others:
        blocks.append(section(_table(notification, others)))
    if notification.look_alikes:
        blocks.append(section(_look_alikes(notification)))
    if notification.contributors:
        blocks.append(section(_contributors(notification)))
    if notification.registered:
        names = ", ".join(code_span(name, NAME_LONGEST) for name in notification.registered)
        more = f" and {notification.more_registered:,} more" if notification.more_registered else ""
        blocks.append(section(f"*New names*\n{names}{more}"))
    if notification.cause:
        blocks.append(section(f"*Last error*\n{code_span(notification.cause, CAUSE_LONGEST)}"))
    buttons = [
        _button(label, link, number)
        for number, (label, link) in enumerate(_links(notification, worst))
        if _is_button_link(link)
    ]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    blocks.append({"type": "context", "elements": [mrkdwn(text) for text in _context(notification, worst)]})
    return blocks


def _look_alikes(notification: Notification) -> str:
    """One line per capability whose name looks like another one, worst first; the rest is counted."""
    capabilities = [alert.dimension("capability") for alert in notification.alerts]
    alike = [name for name in dict.fromkeys(capabilities) if name in notification.look_alikes]
    lines: list[str] = []
    for name in alike[:ALIKE_LISTED]:
        other, differences = notification.look_alikes[name]
        differs_by = escape_mrkdwn(", ".join(differences))
        lines.append(f"{code_span(escape(name))} looks like {code_span(escape(other))}, differs by: {differs_by}")
    more = len(alike) - len(lines)
    return "\n".join([*lines, *([f"and {more:,} more that look like another"] if more else [])])


def _worst(notification: Notification) -> AlertState:
    """The worst open alert; if all are resolved, the worst of them."""
    return next((alert for alert in notification.alerts if alert.state != "resolved"), notification.alerts[0])


def _title(notification: Notification) -> str:
    prefix = formatting.DRILL if notification.is_drill else ""
    return f"{prefix}{'Resolved: ' if notification.is_over else ''}{notification.rule.title}"


def _drill_prefix(alert: AlertState) -> str:
    """The prefix of a drill among alerts that are no drills; if all are drills, the title has it."""
    return formatting.DRILL if alert.is_drill else ""


def _text(notification: Notification) -> str:
    """The text of the desktop notification, and the line above the attachment: short, and enough to decide whether to
    act at once."""
    worst = _worst(notification)
    prefix = "" if notification.is_drill else _drill_prefix(worst)
    figure = formatting.delta(worst) or escape_mrkdwn(formatting.amount(notification.rule, worst, worst.value))
    suffix = f", {figure}" if figure and not notification.is_over else ""
    more = f" and {len(notification.alerts) - 1:,} more" if len(notification.alerts) > 1 else ""
    return f"{escape_mrkdwn(_title(notification))}: {prefix}{_subject(notification, worst)}{suffix}{more}"


def _subject(notification: Notification, alert: AlertState) -> str:
    name = formatting.subject(notification.rule, alert)
    return code_span(name) if alert.dimensions else name


def _headline(notification: Notification, worst: AlertState) -> str:
    prefix = "" if notification.is_drill else _drill_prefix(worst)
    if notification.is_over:
        return f"{prefix}{_resolved_line(notification, worst)}"
    amount, usual = formatting.amount(notification.rule, worst, worst.value), formatting.usual(notification.rule, worst)
    delta = formatting.delta(worst)
    headline = f"{prefix}{_subject(notification, worst)}: *{escape_mrkdwn(amount)}*"
    headline += f", {escape_mrkdwn(usual)}" if usual else ""
    headline += f"  *{delta}*" if delta else ""
    bars = formatting.sparkline(worst.history)
    return f"{headline}\n`{bars}`  {formatting.span_of_history(notification.rule, worst.history)}" if bars else headline


def _fields(notification: Notification, worst: AlertState) -> list[str]:
    has_capability = worst.dimension("capability") or not worst.dimensions
    subject = _subject(notification, worst)
    is_of_calls = worst.dimensions or subject == formatting.ALL_CAPABILITIES
    pairs = [
        ("Capability" if is_of_calls else "Component", subject if has_capability else ""),
        ("Delta", "" if notification.is_over else formatting.delta(worst)),
        ("Last window that fired" if notification.is_over else "Window", _span(notification, worst)),
        ("Since", _since(notification, worst)),
        ("Worst so far", _worst_so_far(notification, worst)),
        ("Limit", escape_mrkdwn(formatting.limit(notification.rule, worst))),
    ]
    return [f"*{label}*\n{text}" for label, text in pairs if text]


def _worst_so_far(notification: Notification, worst: AlertState) -> str:
    """The peak, if it differs from the current value; a resolved message has it in the headline."""
    is_shown = worst.peak is not None and worst.peak != worst.value and not notification.is_over
    return formatting.figure(worst.peak, notification.rule.form.unit) if is_shown else ""


def _span(notification: Notification, worst: AlertState) -> str:
    return formatting.window(worst.window_start, worst.window_end, notification.now)


def _window(notification: Notification, worst: AlertState) -> str:
    return f"Window {_span(notification, worst)}; {formatting.known_up_to(notification.data_until, notification.now)}"


def _since(notification: Notification, alert: AlertState) -> str:
    start = formatting.moment(alert.since, notification.now)
    if alert.resolved_at is None:
        return f"{start}, for {formatting.duration(notification.now - alert.since)}"
    return f"{start} to {formatting.moment(alert.resolved_at, notification.now)}"


def _table(notification: Notification, others: list[AlertState]) -> str:
    """The alerts besides the worst: an open one with its sparkline, a resolved one with the time it was resolved."""
    rule, unit = notification.rule, notification.rule.form.unit
    has_baseline = formatting.condition_of(rule, others[0]).baseline_is is not None
    has_bars = any(formatting.sparkline(alert.history) for alert in others[:LISTED])
    header = ["also", "value", *(["usual", "delta"] if has_baseline else []), "last windows" if has_bars else ""]
    rows: list[list[str]] = []
    for alert in others[:LISTED]:
        name = f"{'' if notification.is_drill else _drill_prefix(alert)}{formatting.subject(rule, alert)}"
        figures = [formatting.figure(alert.value, unit)]
        figures += [formatting.figure(alert.baseline, unit), formatting.delta(alert)] if has_baseline else []
        last = formatting.sparkline(alert.history)
        if alert.resolved_at is not None:
            last = f"resolved {formatting.moment(alert.resolved_at, notification.now)}"
        rows.append([name, *figures, last])
    return table(header, rows, len(others))


def _contributors(notification: Notification) -> str:
    parts = notification.contributors[:CONTRIBUTORS]
    if notification.rule.watch == "asset_checks":
        checks = [[part.name, f"{part.value:,.0f}", ""] for part in parts]
        return "*Failing checks*\n" + table(["check", "rows", ""], checks, len(checks), widest=60)
    unit = notification.rule.form.unit
    rows = [
        [part.name, formatting.figure(part.value, unit), formatting.figure(part.usual, unit), _deviation(part)]
        for part in parts
    ]
    return "*Contributing most*\n" + table(["capability", "value", "usual", "delta"], rows, len(rows))


def _deviation(part: Contributor) -> str:
    return formatting.percentage((part.value / part.usual - 1) * 100) if part.usual else "new"


def _links(notification: Notification, worst: AlertState) -> list[tuple[str, str]]:
    return [
        ("Open Dashboard", notification.links.dashboard(worst.dimension("capability"))),
        ("Runbook", notification.links.runbook(notification.rule.runbook)),
        ("Raw logs", formatting.raw_logs(notification.links, worst)),
        ("Draft incident", draft_incident_link(notification)),
    ]


def _is_button_link(link: str) -> bool:
    return is_web_address(link) and len(link) <= URL_LONGEST


def _button(label: str, link: str, number: int) -> Block:
    style = {"style": "primary"} if number == 0 else {}
    return {"type": "button", "text": plain(label, BUTTON_LONGEST), "url": link, "action_id": f"link_{number}", **style}


def _context(notification: Notification, worst: AlertState) -> list[str]:
    rule, freshness = notification.rule, formatting.known_up_to(notification.data_until, notification.now)
    description = [] if notification.is_over else [escape_mrkdwn(" ".join(rule.description.split()), 2000)]
    labels = map(escape_mrkdwn, [rule.severity, f"routes: {', '.join(rule.routes)}", worst.environment])
    key = code_span(worst.key, KEY_LONGEST)
    return [*description, freshness[0].upper() + freshness[1:], " · ".join([*labels, key])]


def _acknowledgement_lines(alerts: Sequence[AlertState], now: datetime) -> list[str]:
    """One line per person, with the time of their first acknowledgement, and the names of the alerts unless these are
    all alerts."""
    by_person: dict[str, list[AlertState]] = {}
    for alert in alerts:
        if alert.acknowledged_at is not None:
            by_person.setdefault(alert.acknowledged_by or "", []).append(alert)
    open_alerts = [alert for alert in alerts if alert.state != "resolved"] or alerts
    is_all = len(by_person) == 1 and all(alert.acknowledged_at is not None for alert in open_alerts)
    lines: list[str] = []
    for name, acknowledged in list(by_person.items())[:ACKNOWLEDGERS_LISTED]:
        first = min(alert.acknowledged_at for alert in acknowledged if alert.acknowledged_at is not None)
        suffix = "" if is_all else f": {_names(acknowledged)}"
        lines.append(f"{ACKNOWLEDGED}{code_span(name)} at {formatting.moment(first, now)}{suffix}")
    more = len(by_person) - len(lines)
    return [*lines, *([f"{ACKNOWLEDGED}{more:,} more"] if more > 0 else [])]


def _names(alerts: Sequence[AlertState]) -> str:
    names = [code_span(formatting.dimension_values(alert) or formatting.ALL_CAPABILITIES) for alert in alerts]
    more = len(names) - NAMES_LISTED
    return ", ".join(names[:NAMES_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _resolved_line(notification: Notification, alert: AlertState) -> str:
    """search_answer is back to normal: 12 calls in 2 hours, usually 10; worst value 90; lasted 1 h 20 min."""
    ended, unit = alert.resolved_at or notification.now, notification.rule.form.unit
    parts = [
        f"{_subject(notification, alert)} {_resolution(notification, alert)}{_newest_value(notification, alert)}",
        f"worst value {escape_mrkdwn(formatting.figure(alert.peak, unit))}" if alert.peak is not None else "",
        f"lasted {formatting.duration(ended - alert.since)}",
    ]
    return "; ".join(filter(None, parts))


def _resolution(notification: Notification, alert: AlertState) -> str:
    is_singular = bool(alert.dimensions) or formatting.subject(notification.rule, alert) != formatting.ALL_CAPABILITIES
    verb = "is" if is_singular else "are"
    if alert.resolve_reason in (None, "cleared"):
        return f"{verb} {'no longer new' if notification.rule.kind == 'news' else 'back to normal'}"
    reason = {"rule_removed": "the rule was removed"}.get(alert.resolve_reason, alert.resolve_reason.replace("_", " "))
    return f"{verb} no longer monitored by this rule: {escape_mrkdwn(reason)}"


def _newest_value(notification: Notification, alert: AlertState) -> str:
    """The value of the newest window, if known; `alert.value` is that of the last window that fired."""
    newest = next(chain(reversed(alert.history), [None]))
    if newest is None or alert.resolve_reason not in (None, "cleared"):
        return ""
    rule = notification.rule
    has_baseline = formatting.condition_of(rule, alert).baseline_is is not None and alert.baseline is not None
    usual = f", usually {formatting.figure(alert.baseline, rule.form.unit)}" if has_baseline else ""
    return f": {escape_mrkdwn(formatting.amount(rule, alert, newest))}{usual}"
