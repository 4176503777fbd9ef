"""Formats figures, times and names for display."""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

Unit = Literal["count", "share", "percent", "milliseconds", "characters", "ratio", "instant"]
ColumnType = Literal["date", "instant", "text", "number", "flag"]

Value = float | int | str | bool | date | datetime | None
NOTHING = "–"


def figure(value: Value, unit: Unit) -> str:
    """A number with its unit: 7,481 · 2.10 % · 3.64 s · 840 ms. None is a dash."""
    if value is None or isinstance(value, str | bool):
        return NOTHING if value is None else str(value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return day(value)
    match unit:
        case "share":
            return share(value)
        case "percent":
            return f"{value:+,.0f} %" if abs(value) >= 10 else f"{value:+.1f} %"
        case "milliseconds":
            return duration(value)
        case "ratio":
            return f"{value:,.4g}"
        case _:
            return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.1f}"


def share(value: float) -> str:
    """A share of one in percent: 27.4 %, 2.10 %."""
    return f"{100 * value:,.1f} %" if abs(value) >= 0.1 else f"{100 * value:.2f} %"


def duration(milliseconds: float) -> str:
    """840 ms, 3.64 s, 2 min 5 s."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return age(timedelta(seconds=seconds))


def age(passed: timedelta) -> str:
    """2 min 48 s, 3 h 5 min, 4 days."""
    seconds = max(int(passed.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86400} days"


def day(value: date) -> str:
    return f"{value.day} {value:%b %Y}"


def instant(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def days(first: date, last: date) -> str:
    """22–28 Nov 2026; both UTC days are included."""
    if first == last:
        return day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{day(last)}"
    return f"{first.day} {first:%b}–{day(last)}" if first.year == last.year else f"{day(first)}–{day(last)}"


def cell(value: Value, kind: ColumnType, unit: Unit) -> str:
    """A value in a table cell."""
    if value is None:
        return NOTHING
    match kind:
        case "number":
            return figure(value, unit)
        case "flag":
            return "yes" if value else "no"
        case "instant" if isinstance(value, datetime):
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case _:
            return str(value)


def change(value: float | None, before: float | None) -> float | None:
    """The change in percent; None without a previous value or with a previous value of 0."""
    if value is None or not before:
        return None
    return 100 * (value / before - 1)


def shortened(text: str, longest: int = 40) -> str:
    """`text` on one line, with control and direction characters replaced, truncated to `longest` characters."""
    plain = "".join(character if character.isprintable() else "�" for character in text)
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"
