"""The scope of a page, parsed from its URL: a time range in UTC days, and filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from urllib.parse import urlencode

from audit_assets.dashboards.definition.model import Window

PRESETS = {"7d": 7, "14d": 14, "30d": 30, "90d": 90}
DEFAULT_PRESET = "7d"
LONGEST_DAYS = 800  # a little more than two years
FILTERS = ("capability", "provider", "team", "owner", "activity", "workspace")
FIRST_DAY = date(2000, 1, 1)  # nothing was logged before; date arithmetic below year 1 overflows
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
        """The preceding span of the same length."""
        return Span(self.start - (self.end - self.start), self.start)

    @property
    def first(self) -> date:
        """The first UTC day of the span."""
        return self.start.date()

    @property
    def last(self) -> date:
        """The last UTC day of the span."""
        return (self.end - timedelta(microseconds=1)).date()


@dataclass(frozen=True)
class Scope:
    """UTC days from `first` to `last`, both included, as of `now` (UTC), and filter → selected values; a filter without
    values selects all."""

    first: date
    last: date
    now: datetime
    preset: str | None = None
    exact: Span | None = None  # if the URL gives times instead of days
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def end(self) -> datetime:
        """The end of the range (UTC): now, or the end of its last day if that day is over."""
        return min(self.now, datetime.combine(self.last + DAY, time(), UTC))

    def span(self, window: Window) -> Span:
        """The span of a window. Days are whole UTC days, including the rest of the current day; hours count back from
        `end`."""
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
        """The scope as a query string: `capability=code_review&from=2026-11-01&to=2026-11-07`."""
        parameters: list[tuple[str, str]] = []
        for name in FILTERS:
            if name not in without:
                parameters += [(name, value) for value in self.chosen(name)]
        if self.exact is not None:
            parameters += [("from", _written(self.exact.start)), ("to", _written(self.exact.end))]
        elif self.preset is None:
            parameters += [("from", self.first.isoformat()), ("to", self.last.isoformat())]
        elif self.preset != DEFAULT_PRESET:
            parameters.append(("range", self.preset))
        return urlencode(parameters)


def read_scope(
    query: Mapping[str, str | Sequence[str]], now: datetime, preset: str = DEFAULT_PRESET
) -> tuple[Scope, tuple[str, ...]]:
    """Parses a query string. Returns the scope, and a notice for each value that was ignored or replaced."""
    notices: list[str] = []
    filters: dict[str, tuple[str, ...]] = {}
    for name in FILTERS:
        values = tuple(dict.fromkeys(value for value in _listed(query.get(name)) if value))
        usable = [value for value in values if len(value) <= LONGEST_VALUE and "\x00" not in value][:MOST_VALUES]
        if len(usable) < len(values):
            notices.append(
                f"{name.capitalize()}: ignored {len(values) - len(usable)} of {len(values)} values, which are invalid."
            )
        if usable:
            filters[name] = tuple(usable)
    first, last, chosen = _range(query, now.date(), preset, notices)
    scope = Scope(first, last, now, chosen, None, filters)
    return (scope if chosen else replace(scope, exact=_exact(query, scope))), tuple(notices)


def _exact(query: Mapping[str, str | Sequence[str]], scope: Scope) -> Span | None:
    """The span of a URL with times, as in links of alerts: from=2026-11-28T00:05:00Z. It is within the scope's days."""
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
    """A time in UTC, in whole seconds; UTC is the default zone. Raises ValueError."""
    at = datetime.fromisoformat(text).replace(microsecond=0)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # the first or last representable day, with a time zone
        raise ValueError(text) from None


def _day(text: str, name: Literal["from", "to"]) -> date:
    """The first or last UTC day of a range; its end time is exclusive. Raises ValueError, OverflowError."""
    if "T" not in text:
        return date.fromisoformat(text[:10])
    return (_instant(text) - timedelta(seconds=name == "to")).date()


def _written(at: datetime) -> str:
    return f"{at.replace(tzinfo=None).isoformat()}Z"


def _range(
    query: Mapping[str, str | Sequence[str]], today: date, preset: str, notices: list[str]
) -> tuple[date, date, str | None]:
    chosen = next(iter(_listed(query.get("range"))), preset)
    if chosen not in PRESETS:
        notices.append(
            f"range={chosen[:20]} is not one of {', '.join(PRESETS)}. Showing the last {PRESETS[preset]} days."
        )
        chosen = preset
    default = today - timedelta(days=PRESETS[chosen] - 1), today, chosen
    showing = f"Showing the last {PRESETS[chosen]} days."
    given = {name: next(iter(_listed(query.get(name))), None) for name in ("from", "to")}
    if given["from"] is None and given["to"] is None:
        return default
    days: dict[Literal["from", "to"], date | None] = {}
    for name in _ENDS:
        try:
            text = given[name]
            days[name] = None if text is None else _day(text, name)
        except (ValueError, OverflowError):
            notices.append(f"{name}={(given[name] or '')[:20]} is not a day such as 2026-11-01. {showing}")
            return default
    last = days["to"] or today
    first = days["from"] or max(last, FIRST_DAY) - timedelta(days=PRESETS[chosen] - 1)
    if first > today:
        notices.append(f"The start date {first} is in the future. {showing}")
        return default
    if last < FIRST_DAY:
        notices.append(f"The end date {last} is before {FIRST_DAY}. {showing}")
        return default
    if first > last:
        notices.append(f"The start date {first} is after the end date {last}. The dates were swapped.")
        first, last = last, first
    last = min(last, today)
    if (last - first).days >= LONGEST_DAYS:
        first = last - timedelta(days=LONGEST_DAYS - 1)
        notices.append(f"The range is longer than {LONGEST_DAYS} days. Showing its last {LONGEST_DAYS} days.")
    return first, last, None


def _listed(value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    return [value] if isinstance(value, str) else value
