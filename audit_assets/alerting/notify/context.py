"""Context that a message shows beside an episode's own figures: recent values and look-alike names; pure."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from audit_assets.alerting.notify.notification import AlertState
from audit_assets.rules.business_clock import BusinessCalendar
from audit_assets.rules.episode import Finding
from audit_assets.rules.evaluate import START, VALUE, RuleError, evaluate
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Rule

WINDOWS = 16

# Letters of other scripts, and digits, that look like a Latin letter. Unicode's list of confusables has 6,000 entries;
# these are the ones that a keyboard or a copied text produces.
_LATIN = str.maketrans(
    "абвеіјкмнорсѕтухԁһԛԝӏьαβεικνορτυχγωı01",
    "a6beijkmhopcstyxdhqwlbabeikvoptuxywiol",
)  # fmt: skip


def recent_values(
    rule: Rule,
    alerts: Sequence[AlertState],
    tables: Mapping[str, pl.DataFrame],
    as_of: datetime,
    calendar: BusinessCalendar,
) -> Mapping[str, tuple[float | None, ...]]:
    """Key → the rule's own figure in the last `WINDOWS` windows, oldest first, None for a window without a figure.
    Empty for rules that evaluate the present moment, and if the facts are missing."""
    if rule.window == "now" or rule.watch not in tables:
        return {}
    table = TABLES[rule.watch]
    first = as_of - (WINDOWS + 1) * table.width - timedelta(days=1 if table.width >= timedelta(days=1) else 0)
    # One figure for all windows: an episode may fire by an `any_of` condition, which has a figure of its own.
    own = rule.model_copy(update={"any_of": {}, "gates": {}})
    recent = tables[rule.watch].filter(pl.col(table.time) >= _edge(tables[rule.watch], table.time, first))
    try:
        found = evaluate(own, recent, as_of, calendar)
    except RuleError:
        return {}
    known: dict[str, tuple[float | None, ...]] = {}
    for alert in alerts:
        chosen = {"environment": alert.environment, **dict(alert.dimensions)}
        mine = found.filter(*(pl.col(name) == chosen[name] for name in table.grain if name in chosen))
        known[alert.key] = tuple(mine.sort(START).get_column(VALUE).tail(WINDOWS).to_list())
    return known


def finding_of(rule: Rule, alert: AlertState) -> Finding:
    """The newest firing window of an episode, as a Finding of the rules."""
    return Finding(
        rule.id, alert.environment, alert.dimensions, alert.value, alert.baseline, alert.threshold, alert.delta_percent,
        alert.window_start, alert.window_end, alert.condition,
    )  # fmt: skip


def _edge(rows: pl.DataFrame, column: str, at: datetime) -> pl.Expr:
    return pl.lit(at.date() if rows.schema[column] == pl.Date() else at)


def look_alikes(names: Iterable[str], known: Iterable[str]) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Each of `names` that looks like another name in `known` → that name and the differences. Of several look-alikes
    the first in alphabetical order is returned."""
    by_skeleton: dict[str, list[str]] = {}
    for name in sorted(set(known)):
        by_skeleton.setdefault(skeleton(name), []).append(name)
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in names:
        other = next((candidate for candidate in by_skeleton.get(skeleton(name), ()) if candidate != name), None)
        if other is not None:
            found[name] = other, describe_differences(name, other)
    return found


def skeleton(name: str) -> str:
    """`name` as a reader sees it: equal for names that look alike (compare the skeleton in Unicode UTS #39)."""
    visible = "".join(char for char in unicodedata.normalize("NFKC", name) if not _has_no_width(char))
    return " ".join(visible.casefold().translate(_LATIN).split())


def describe_differences(name: str, other: str) -> tuple[str, ...]:
    """How `name` differs from `other`, in words: `Cyrillic а (U+0430)`, `letter case`, …"""
    found = [_describe_character(char) for char in dict.fromkeys(name) if char not in other and _is_odd(char)]
    found += [f"no {_describe_character(char)}" for char in dict.fromkeys(other) if char not in name and _is_odd(char)]
    if name != name.strip() or other != other.strip():
        found.append("leading or trailing spaces")
    composed, other_composed = unicodedata.normalize("NFC", name), unicodedata.normalize("NFC", other)
    if composed == other_composed:
        return ("Unicode normalization (NFC or NFD)",)
    if composed.casefold() == other_composed.casefold():
        return ("letter case",)
    return tuple(found) or ("characters that look alike",)


def _has_no_width(char: str) -> bool:
    return unicodedata.category(char) == "Cf"


def _is_odd(char: str) -> bool:
    return not char.isascii() or char in "01"


def _describe_character(char: str) -> str:
    """`Cyrillic а (U+0430)`; an invisible character by its Unicode name."""
    name = unicodedata.name(char, "a character without a name")
    code = f"(U+{ord(char):04X})"
    if char.isascii():
        return f"the digit {char}"
    return f"{name.capitalize()} {code}" if not char.isprintable() else f"{name.split()[0].capitalize()} {char} {code}"
