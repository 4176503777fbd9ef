"""What is told of a rule that fires, in words: figures, limits, windows and lengths of time, the same on every channel.

Plain text; each channel escapes it in its own way. Times are UTC.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from audit_assets.alerting.links import Links
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.story import Told
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Figures, Rule, Unit

EVERYTHING = "all capabilities"
DRILL = "[DRILL] "  # before what is told of one

_SIGNS = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}
_UNREADABLE = 1e15
_BARS = "▁▂▃▄▅▆▇█"


class Judged(Protocol):
    """What a finding and a told episode have in common."""

    @property
    def dimensions(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def way(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def baseline(self) -> float | None: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def delta_percent(self) -> float | None: ...


def subject(rule: Rule, judged: Judged) -> str:
    """Whom it is about, fit to be shown."""
    return named(judged) or ("the sync" if rule.watch == "ai_audit_sync_state" else EVERYTHING)


def named(judged: Judged) -> str:
    """What its dimensions are, fit to be shown; empty without any."""
    return ", ".join(shown(value) for _, value in judged.dimensions)


def way_of(rule: Rule, judged: Judged) -> Figures:
    """The condition that held. A file edited since may no longer have it: then the rule's own."""
    return rule.ways.get(judged.way, rule.form)


def figure(value: float | None, unit: Unit) -> str:
    """1,234 or 5.0 % or 12 min."""
    if value is None or not math.isfinite(value):
        return "not known"
    if abs(value) >= _UNREADABLE:
        return f"{value:.3g}"
    if unit == "share":
        return f"{value * 100:,.1f} %"
    if unit == "minutes":
        return f"{value:,.0f} min"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def amount(rule: Rule, judged: Judged, value: float | None) -> str:
    """`value` with what it counts: 612 calls in 2 hours."""
    words = way_of(rule, judged).value_is
    return figure(value, rule.form.unit) + (f" {words}" if words else "")


def usual(rule: Rule, judged: Judged) -> str:
    """What it usually is, and by which measure; empty where the rule knows none."""
    words = way_of(rule, judged).baseline_is
    return f"usually {figure(judged.baseline, rule.form.unit)} ({words})" if words else ""


def how_much(rule: Rule, judged: Judged) -> str:
    """The value and what is usual, in one line."""
    return ", ".join(filter(None, [amount(rule, judged, judged.value), usual(rule, judged)]))


def delta(judged: Judged) -> str:
    """The deviation from what is usual; empty without a baseline, or with one of zero."""
    percent = judged.delta_percent
    return "" if percent is None or not math.isfinite(percent) else percentage(percent)


def percentage(percent: float) -> str:
    """A deviation with its sign: +337 %."""
    return f"{percent:+,.0f} %" if abs(percent) < _UNREADABLE else f"{percent:+.3g} %"


def limit(rule: Rule, judged: Judged) -> str:
    """The figure at which it fires, and on which side: above 500 calls in 2 hours."""
    return f"{_side(rule, way_of(rule, judged))} {amount(rule, judged, judged.threshold)}"


def _side(rule: Rule, way: Figures) -> str:
    """As the condition compares value and threshold; by the rule's kind where it compares something else."""
    compared = rf"(?<!\w){re.escape(way.value)}\s*([<>]=?)\s*{re.escape(way.threshold)}(?![\w.])"
    found = re.search(compared, way.fires_when)
    if found is not None:
        return _SIGNS[found[1]]
    return {"drop": "below", "news": "at most"}.get(rule.kind, "above")


def window(start: datetime, end: datetime, now: datetime) -> str:
    """2026-11-23 13:45 to 14:00 UTC; says where it is still running at `now`."""
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


def raw_logs(links: Links, told: Told) -> str:
    """Where its calls are listed; empty where it is about no calls. A moment's window reaches a day back."""
    capability = told.dimension("capability")
    if told.window_start < told.window_end:
        return links.raw_logs(capability, told.window_start, told.window_end)
    return links.raw_logs(capability, told.window_end - timedelta(days=1), told.window_end) if capability else ""


def moment(at: datetime, now: datetime) -> str:
    """14:03 UTC, with its day where that is not `now`'s."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def length(span: timedelta) -> str:
    """1 h 20 min; at least 0 min, since two clocks may differ by a little."""
    minutes = max(int(span.total_seconds() // 60), 0)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"


def known_up_to(data_until: datetime | None, now: datetime) -> str:
    """How far the warehouse knows the source."""
    if data_until is None:
        return "how far the data are known is not on record"
    return f"data known up to {moment(data_until, now)}, {length(now - data_until)} ago"


def sparkline(values: tuple[float | None, ...], at_most: int = 12) -> str:
    """The last values as bars from zero to the highest, gaps where one is not known; empty without any."""
    last = [value if value is not None and math.isfinite(value) else None for value in values[-at_most:]]
    known = [abs(value) for value in last if value is not None]
    if not known:
        return ""
    top = max(known) or 1.0
    return "".join(" " if value is None else _BARS[round(abs(value) / top * (len(_BARS) - 1))] for value in last)


def span_of_history(rule: Rule, values: tuple[float | None, ...], at_most: int = 12) -> str:
    """What a sparkline of `values` spans: the last 8 windows of 15 min."""
    width = TABLES[rule.watch].width
    noun = "the last {}" if len(values) > 1 else "{}"
    said = noun.format(counted(min(len(values), at_most), "window" if width else "reading"))
    return f"{said} of {length(width)}" if width else said


def counted(number: int, noun: str, nouns: str = "") -> str:
    """1 finding, 2,000 findings."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
