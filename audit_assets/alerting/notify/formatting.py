"""Formats the figures of a rule that fires: values, limits, windows and durations, the same on every channel.

The results are plain text; each channel escapes it in its own way. Times are UTC.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from audit_assets.alerting.links import Links
from audit_assets.alerting.notify.notification import AlertState, Notification
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Figures, Rule, Unit
from audit_assets.text import formatting
from audit_assets.text.sanitize import NAME_LONGEST, escape

ALL_CAPABILITIES = "all capabilities"
DRILL = "[DRILL] "  # the prefix of messages about a drill

_SIGNS = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}
_UNREADABLE = 1e15
_BARS = "▁▂▃▄▅▆▇█"


class AlertOrFinding(Protocol):
    """The fields that an AlertState and a Finding share."""

    @property
    def dimensions(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def condition(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def baseline(self) -> float | None: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def delta_percent(self) -> float | None: ...


def registered(notification: Notification) -> str:
    """New capabilities by name, and how many more there are; empty if the message is about something else."""
    names = ", ".join(escape(name, NAME_LONGEST) for name in notification.registered)
    return f"{names} and {notification.more_registered:,} more" if notification.more_registered else names


def subject(rule: Rule, alert: AlertOrFinding) -> str:
    """What the alert is about, escaped: its dimensions, `the sync`, or all capabilities."""
    return dimension_values(alert) or ("the sync" if rule.watch == "ai_audit_sync_state" else ALL_CAPABILITIES)


def dimension_values(alert: AlertOrFinding) -> str:
    """The values of the alert's dimensions, escaped; empty if it has none."""
    return ", ".join(escape(value) for _, value in alert.dimensions)


def condition_of(rule: Rule, alert: AlertOrFinding) -> Figures:
    """The condition that fired. If the rule file was edited since and no longer has it, the rule's main condition."""
    return rule.conditions.get(alert.condition, rule.form)


def figure(value: float | None, unit: Unit) -> str:
    """1,234 or 5.00 % or 12 min."""
    if value is None or not math.isfinite(value):
        return "not known"
    if abs(value) >= _UNREADABLE:
        return f"{value:.3g}"
    if unit == "share":
        return formatting.share(value)
    if unit == "minutes":
        return f"{value:,.0f} min"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def amount(rule: Rule, alert: AlertOrFinding, value: float | None) -> str:
    """`value` with its unit in words: 612 calls in 2 hours."""
    words = condition_of(rule, alert).value_is
    return figure(value, rule.form.unit) + (f" {words}" if words else "")


def usual(rule: Rule, alert: AlertOrFinding) -> str:
    """The usual value and how it is measured; empty if the rule has no baseline."""
    words = condition_of(rule, alert).baseline_is
    return f"usually {figure(alert.baseline, rule.form.unit)} ({words})" if words else ""


def how_much(rule: Rule, alert: AlertOrFinding) -> str:
    """The value and the usual value, in one line."""
    return ", ".join(filter(None, [amount(rule, alert, alert.value), usual(rule, alert)]))


def delta(alert: AlertOrFinding) -> str:
    """The deviation from the usual value; empty without a baseline, or with a baseline of zero."""
    percent = alert.delta_percent
    return "" if percent is None or not math.isfinite(percent) else percentage(percent)


def percentage(percent: float) -> str:
    """A deviation with its sign: +337 %."""
    return f"{percent:+,.0f} %" if abs(percent) < _UNREADABLE else f"{percent:+.3g} %"


def limit(rule: Rule, alert: AlertOrFinding) -> str:
    """The threshold, and the side on which the rule fires: above 500 calls in 2 hours."""
    return f"{_side(rule, condition_of(rule, alert))} {amount(rule, alert, alert.threshold)}"


def _side(rule: Rule, condition: Figures) -> str:
    """Taken from the comparison of value and threshold in the condition; from the rule's kind if there is none."""
    compared = rf"(?<!\w){re.escape(condition.value)}\s*([<>]=?)\s*{re.escape(condition.threshold)}(?![\w.])"
    found = re.search(compared, condition.fires_when)
    if found is not None:
        return _SIGNS[found[1]]
    return {"drop": "below", "news": "at most"}.get(rule.kind, "above")


def window(start: datetime, end: datetime, now: datetime) -> str:
    """2026-11-23 13:45 to 14:00 UTC; with a note if the window is still running at `now`."""
    start, end, at = start.astimezone(UTC), end.astimezone(UTC), now.astimezone(UTC)
    if start == end:
        return f"{start:%Y-%m-%d %H:%M} UTC"
    if end.date() == start.date():
        last = f"{end:%H:%M}"
    elif end.date() - start.date() == timedelta(days=1) and f"{end:%H:%M}" == "00:00":
        last = "24:00"
    else:
        last = f"{end:%Y-%m-%d %H:%M}"
    running = f", still running at {at:%H:%M}" if at < end else ""
    return f"{start:%Y-%m-%d %H:%M} to {last} UTC{running}"


def raw_logs(links: Links, alert: AlertState) -> str:
    """The link to the rows of the alert's calls; empty if it is not about calls. For a rule that evaluates the present
    moment, the link covers the last 24 hours."""
    capability = alert.dimension("capability")
    if alert.window_start < alert.window_end:
        return links.raw_logs(capability, alert.window_start, alert.window_end)
    return links.raw_logs(capability, alert.window_end - timedelta(days=1), alert.window_end) if capability else ""


def moment(at: datetime, now: datetime) -> str:
    """14:03 UTC; with the date if it differs from that of `now`."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def duration(span: timedelta) -> str:
    """1 h 20 min; never less than 0 min, since two clocks may differ slightly."""
    minutes = max(int(span.total_seconds() // 60), 0)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"


def known_up_to(data_until: datetime | None, now: datetime) -> str:
    """The time up to which the warehouse has the source's rows."""
    if data_until is None:
        return "data freshness unknown"
    return f"data known up to {moment(data_until, now)}, {duration(now - data_until)} ago"


def sparkline(values: tuple[float | None, ...], at_most: int = 12) -> str:
    """The last values as bars from zero to the highest, with gaps for unknown values; empty if all are unknown."""
    last = [value if value is not None and math.isfinite(value) else None for value in values[-at_most:]]
    known = [abs(value) for value in last if value is not None]
    if not known:
        return ""
    top = max(known) or 1.0
    return "".join(" " if value is None else _BARS[round(abs(value) / top * (len(_BARS) - 1))] for value in last)


def span_of_history(rule: Rule, values: tuple[float | None, ...], at_most: int = 12) -> str:
    """The time that a sparkline of `values` covers: the last 8 windows of 15 min."""
    width = TABLES[rule.watch].width
    noun = "the last {}" if len(values) > 1 else "{}"
    windows = noun.format(counted(min(len(values), at_most), "window" if width else "reading"))
    return f"{windows} of {duration(width)}" if width else windows


def counted(number: int, noun: str, nouns: str = "") -> str:
    """1 finding, 2,000 findings."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
