"""Where two results differ that should be alike: row by row, in whatever order they came."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from audit_assets.dashboards import words
from audit_assets.dashboards.definition import Unit

# Sums of the same numbers in another order differ by less; a row too many among a hundred million by more.
NEARLY = 1e-9

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """The first row that differs, in words: what is shown, what raw says, and how many rows differ in all."""

    shown: str
    raw: str
    rows: int


def difference(shown: pl.DataFrame, raw: pl.DataFrame, units: Mapping[str, Unit]) -> Difference | None:
    """None where both hold the same rows. Texts and times say which row is which; numbers may differ by rounding."""
    if set(shown.columns) != set(raw.columns):
        return Difference(f"columns {', '.join(shown.columns)}", f"columns {', '.join(raw.columns)}", 0)
    keys = [name for name in raw.columns if raw.schema[name] == pl.String or raw.schema[name].is_temporal()]
    names = [*keys, *(name for name in raw.columns if name not in keys)]
    found = list(_differing(_in_order(shown, names), _in_order(raw, names), len(keys)))
    if not found:
        return None
    one, other = found[0]
    both = one is not None and other is not None
    wrong = [name for name, a, b in zip(names, one or (), other or (), strict=False) if both and not _same(a, b)]

    def said(row: Row | None) -> str:
        return "no such row" if row is None else _row_in_words(dict(zip(names, row, strict=True)), keys, wrong, units)

    return Difference(said(one), said(other), len(found))


def summary(rows: pl.DataFrame, units: Mapping[str, Unit]) -> str:
    """One row by its figures, more by their number and the sum of the first count."""
    if len(rows) == 1 and len(rows.columns) <= 3:
        return ", ".join(words.figure(rows[name].item(), units.get(name, "count")) for name in rows.columns)
    said = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    counts = [name for name in rows.columns if rows.schema[name].is_integer() and units.get(name) == "count"]
    return f"{said}, {counts[0]} {int(rows[counts[0]].sum()):,}" if counts and len(rows) else said


def _differing(shown: Sequence[Row], raw: Sequence[Row], keys: int) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows of one side only, and pairs that are not alike; both sides are in order."""
    at = there = 0
    while at < len(shown) or there < len(raw):
        one = shown[at] if at < len(shown) else None
        other = raw[there] if there < len(raw) else None
        if one is not None and other is not None:
            left, right = _place(one[:keys]), _place(other[:keys])
            if left < right:
                other = None
            elif left > right:
                one = None
        at, there = at + (one is not None), there + (other is not None)
        if one is None or other is None or not all(map(_same, one, other)):
            yield one, other


def _in_order(rows: pl.DataFrame, names: list[str]) -> list[Row]:
    return sorted(rows.select(names).rows(), key=_place)


def _place(row: Row) -> tuple[tuple[bool, Any], ...]:
    """Nothing comes last."""
    return tuple((value is None, 0 if value is None else value) for value in row)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=NEARLY, abs_tol=NEARLY)
    return one == other


def _row_in_words(row: Mapping[str, Any], keys: list[str], wrong: list[str], units: Mapping[str, Unit]) -> str:
    which = [words.figure(row[name], "count") for name in keys if row[name] is not None and name not in wrong]
    named = wrong or [name for name in row if name not in keys]
    return " ".join([*which, *(f"{name} {_exactly(row[name], units.get(name, 'count'))}" for name in named)])


def _exactly(value: Any, unit: Unit) -> str:
    """To the seventh digit: figures that differ must not read alike."""
    if isinstance(value, float):
        return f"{100 * value:.7g} %" if unit == "share" else f"{value:,.7g}"
    return words.figure(value, unit) if not isinstance(value, int) or isinstance(value, bool) else f"{value:,}"
