"""What a page shows, as its address says it: a time range in UTC days, and filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from urllib.parse import urlencode

from audit_assets.dashboards.definition import Window

PRESETS = {"7d": 7, "14d": 14, "30d": 30, "90d": 90}
DEFAULT_PRESET = "7d"
LONGEST_DAYS = 800  # two years and some; more is never asked for in earnest
FILTERS = ("capability", "provider", "team", "owner", "activity", "workspace")
FIRST_DAY = date(2000, 1, 1)  # nothing was logged before; sums with days before year 1 overflow
LONGEST_VALUE = 500
MOST_VALUES = 50
DAY = timedelta(days=1)
_ENDS: tuple[Literal["from"], Literal["to"]] = ("from", "to")


@dataclass(frozen=True, slots=True)
class Span:
    """`start` <= time < `end`, UTC."""

    start: datetime
    end: datetime

    @property
    def before(self) -> "Span":
        """As long a time, right before."""
        return Span(self.start - (self.end - self.start), self.start)

    @property
    def first(self) -> date:
        """The first UTC day that it touches."""
        return self.start.date()

    @property
    def last(self) -> date:
        """The last UTC day that it touches."""
        return (self.end - timedelta(microseconds=1)).date()


@dataclass(frozen=True)
class Scope:
    """UTC days from `first` to `last`, both included, as of `now` (UTC); filter → chosen values, none chosen: all."""

    first: date
    last: date
    now: datetime
    preset: str | None = None
    exact: Span | None = None  # where the address names times, not days
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def end(self) -> datetime:
        """Where the range ends, UTC: now, or the end of its last day where that is over."""
        return min(self.now, datetime.combine(self.last + DAY, time(), UTC))

    def span(self, window: Window) -> Span:
        """The time of a window. Days are whole UTC days, the running one up to its end; hours reach back from `end`."""
        midnight = datetime.combine(self.last + DAY, time(), UTC)
        match window:
            case "range":
                return self.exact or Span(datetime.combine(self.first, time(), UTC), midnight)
            case "24h":
                return Span(self.end - DAY, self.end)
            case "2d":
                return Span(midnight - 2 * DAY, midnight)
            case "7d":
                return Span(midnight - 7 * DAY, midnight)
            case "14d":
                return Span(midnight - 14 * DAY, midnight)
            case "all":
                return Span(datetime(1970, 1, 1, tzinfo=UTC), midnight)

    def chosen(self, name: str) -> tuple[str, ...]:
        return self.filters.get(name, ())

    def with_filter(self, name: str, *values: str) -> "Scope":
        return replace(self, filters={**self.filters, name: values})

    def query(self, *without: str) -> str:
        """The scope as a part of an address, `capability=code_review&from=2026-11-01&to=2026-11-07`."""
        asked: list[tuple[str, str]] = []
        for name in FILTERS:
            if name not in without:
                asked += [(name, value) for value in self.chosen(name)]
        if self.exact is not None:
            asked += [("from", _written(self.exact.start)), ("to", _written(self.exact.end))]
        elif self.preset is None:
            asked += [("from", self.first.isoformat()), ("to", self.last.isoformat())]
        elif self.preset != DEFAULT_PRESET:
            asked.append(("range", self.preset))
        return urlencode(asked)


def read_scope(
    query: Mapping[str, str | Sequence[str]], now: datetime, preset: str = DEFAULT_PRESET
) -> tuple[Scope, tuple[str, ...]]:
    """The scope an address asks for, and what in it could not be used, each with what is shown in its place."""
    told: list[str] = []
    filters: dict[str, tuple[str, ...]] = {}
    for name in FILTERS:
        values = tuple(dict.fromkeys(value for value in _listed(query.get(name)) if value))
        usable = [value for value in values if len(value) <= LONGEST_VALUE and "\x00" not in value][:MOST_VALUES]
        if len(usable) < len(values):
            told.append(
                f"{name}: {len(values) - len(usable)} of {len(values)} values are not usable; they are left out"
            )
        if usable:
            filters[name] = tuple(usable)
    first, last, chosen = _range(query, now.date(), preset, told)
    scope = Scope(first, last, now, chosen, None, filters)
    return (scope if chosen else replace(scope, exact=_exact(query, scope))), tuple(told)


def _exact(query: Mapping[str, str | Sequence[str]], scope: Scope) -> Span | None:
    """The span of an address that names times, as links of alerts do: from=2026-11-28T00:05:00Z. Within its days."""
    whole = scope.span("range")
    given = [next(iter(_listed(query.get(name))), "") for name in ("from", "to")]
    if not any("T" in text for text in given):
        return None
    try:
        start, end = (_instant(text) if "T" in text else None for text in given)
    except ValueError:
        return None
    span = Span(max(start or whole.start, whole.start), min(end or whole.end, whole.end))
    return span if span.start < span.end and span != whole else None


def _instant(text: str) -> datetime:
    """In UTC, which an address without a zone means; whole seconds. Raises ValueError."""
    at = datetime.fromisoformat(text).replace(microsecond=0)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # the first or the last day there is, in a zone
        raise ValueError(text) from None


def _day(text: str, name: Literal["from", "to"]) -> date:
    """A range's first or last UTC day; a time that it ends at is outside it. Raises ValueError, OverflowError."""
    if "T" not in text:
        return date.fromisoformat(text[:10])
    return (_instant(text) - timedelta(seconds=name == "to")).date()


def _written(at: datetime) -> str:
    return f"{at.replace(tzinfo=None).isoformat()}Z"


def _range(
    query: Mapping[str, str | Sequence[str]], today: date, preset: str, told: list[str]
) -> tuple[date, date, str | None]:
    asked = next(iter(_listed(query.get("range"))), preset)
    if asked not in PRESETS:
        told.append(f"range={asked[:20]}: not one of {', '.join(PRESETS)}; the last {PRESETS[preset]} days are shown")
        asked = preset
    usual = today - timedelta(days=PRESETS[asked] - 1), today, asked
    given = {name: next(iter(_listed(query.get(name))), None) for name in ("from", "to")}
    if given["from"] is None and given["to"] is None:
        return usual
    days: dict[Literal["from", "to"], date | None] = {}
    for name in _ENDS:
        try:
            text = given[name]
            days[name] = None if text is None else _day(text, name)
        except (ValueError, OverflowError):
            told.append(
                f"{name}={(given[name] or '')[:20]}: not a day, as 2026-11-01; the last {PRESETS[asked]} days are shown"
            )
            return usual
    last = days["to"] or today
    first = days["from"] or max(last, FIRST_DAY) - timedelta(days=PRESETS[asked] - 1)
    if first > today:
        told.append(f"from {first}: lies in the future; the last {PRESETS[asked]} days are shown")
        return usual
    if last < FIRST_DAY:
        told.append(f"to {last}: lies before {FIRST_DAY}; the last {PRESETS[asked]} days are shown")
        return usual
    if first > last:
        told.append(f"from {first} to {last}: not in order; they are swapped")
        first, last = last, first
    last = min(last, today)
    if (last - first).days >= LONGEST_DAYS:
        first = last - timedelta(days=LONGEST_DAYS - 1)
        told.append(f"the range is longer than {LONGEST_DAYS} days; the last {LONGEST_DAYS} of it are shown")
    return first, last, None


def _listed(value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    return [value] if isinstance(value, str) else value
