"""Finds the differences between two results that should be equal: row by row, regardless of their order."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from audit_assets.text import formatting
from audit_assets.text.formatting import Unit

# Sums of the same numbers in another order differ by less; one extra row in a hundred million differs by more.
NEARLY = 1e-9

Row = tuple[Any, ...]


@dataclass(frozen=True)
class FrameDiff:
    """The first row that differs, as text: the shown row, the raw row, and how many rows differ in total."""

    shown: str
    raw: str
    rows: int


def diff_frames(shown: pl.DataFrame, raw: pl.DataFrame, units: Mapping[str, Unit]) -> FrameDiff | None:
    """None if both have the same rows. Text and time columns identify a row; numbers may differ by rounding."""
    if set(shown.columns) != set(raw.columns):
        return FrameDiff(f"columns {', '.join(shown.columns)}", f"columns {', '.join(raw.columns)}", 0)
    keys = [name for name in raw.columns if raw.schema[name] == pl.String or raw.schema[name].is_temporal()]
    names = [*keys, *(name for name in raw.columns if name not in keys)]
    pairs = list(_differing(_sorted_rows(shown, names), _sorted_rows(raw, names), len(keys)))
    if not pairs:
        return None
    left, right = pairs[0]
    both = left is not None and right is not None
    wrong = [name for name, a, b in zip(names, left or (), right or (), strict=False) if both and not _equal(a, b)]

    def text(row: Row | None) -> str:
        return "no such row" if row is None else _row_text(dict(zip(names, row, strict=True)), keys, wrong, units)

    return FrameDiff(text(left), text(right), len(pairs))


def summary(rows: pl.DataFrame, units: Mapping[str, Unit]) -> str:
    """A single row as its figures; several rows as their number and the sum of the first count column."""
    if len(rows) == 1 and len(rows.columns) <= 3:
        return ", ".join(formatting.figure(rows[name].item(), units.get(name, "count")) for name in rows.columns)
    text = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    counts = [name for name in rows.columns if rows.schema[name].is_integer() and units.get(name) == "count"]
    return f"{text}, {counts[0]} {int(rows[counts[0]].sum()):,}" if counts and len(rows) else text


def _differing(shown: Sequence[Row], raw: Sequence[Row], keys: int) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows of one side only, and pairs of rows that are not equal. Both sides are sorted."""
    i = j = 0
    while i < len(shown) or j < len(raw):
        left = shown[i] if i < len(shown) else None
        right = raw[j] if j < len(raw) else None
        if left is not None and right is not None:
            left_key, right_key = _sort_key(left[:keys]), _sort_key(right[:keys])
            if left_key < right_key:
                right = None
            elif left_key > right_key:
                left = None
        i, j = i + (left is not None), j + (right is not None)
        if left is None or right is None or not all(map(_equal, left, right)):
            yield left, right


def _sorted_rows(rows: pl.DataFrame, names: list[str]) -> list[Row]:
    return sorted(rows.select(names).rows(), key=_sort_key)


def _sort_key(row: Row) -> tuple[tuple[bool, Any], ...]:
    """Nulls sort last."""
    return tuple((value is None, 0 if value is None else value) for value in row)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=NEARLY, abs_tol=NEARLY)
    return left == right


def _row_text(row: Mapping[str, Any], keys: list[str], wrong: list[str], units: Mapping[str, Unit]) -> str:
    identity = [formatting.figure(row[name], "count") for name in keys if row[name] is not None and name not in wrong]
    named = wrong or [name for name in row if name not in keys]
    return " ".join([*identity, *(f"{name} {_exactly(row[name], units.get(name, 'count'))}" for name in named)])


def _exactly(value: Any, unit: Unit) -> str:
    """A value with seven significant digits, so that different figures do not look the same."""
    if isinstance(value, float):
        return f"{100 * value:.7g} %" if unit == "share" else f"{value:,.7g}"
    return formatting.figure(value, unit) if not isinstance(value, int) or isinstance(value, bool) else f"{value:,}"
