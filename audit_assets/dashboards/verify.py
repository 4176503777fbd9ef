"""Tiles against their proofs: what a page would show, what the raw rows say, and where both differ."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from audit_assets.dashboards import words
from audit_assets.dashboards.definition import Definition, Page, Source, Tile, Unit, Window
from audit_assets.dashboards.proofs import Asked, Proofs, proof_query
from audit_assets.dashboards.query import Query, tile_query
from audit_assets.dashboards.reader import NotPublished, Reader
from audit_assets.dashboards.scope import DAY, FILTERS, LONGEST_DAYS, Scope, Span

# Sums of the same numbers in another order differ by less; a row too many among a hundred million by more.
NEARLY = 1e-9

_WINDOWS: Mapping[Window, str] = {
    "24h": "24 hours to", "2d": "2 days to", "7d": "7 days to", "14d": "14 days to", "all": "all up to"
}  # fmt: skip
_UNITS: Mapping[str, Unit] = {"error_rate": "share", "max_latency_ms": "milliseconds"}


@dataclass(frozen=True)
class Compared:
    """A tile, or the numbers of a mart, against its proof in one scope. `agrees` is None where a table it needs is not
    published, which `missing` says."""

    id: str
    title: str
    scope: str
    shown: str
    raw: str
    rows: int
    agrees: bool | None
    missing: str | None = None


@dataclass(frozen=True)
class Difference:
    """The first row that differs: what is shown, what raw says, and how many rows differ in all."""

    shown: str
    raw: str
    rows: int


def scopes_to_check(
    proofs: Proofs, reader: Reader, now: datetime, days: tuple[date, date] | None = None
) -> tuple[Scope, ...]:
    """Ranges with and without filters, whose values are those with the most rows. `days` (UTC, both included) take the
    place of the ranges. Raises ReadError."""
    today = now.date()
    first = _first_day(proofs, reader, now) or today
    filters = _filters(proofs, reader, now)
    week = (today - 6 * DAY, today)
    whole = (max(first, today - (LONGEST_DAYS - 1) * DAY), today)
    middle = whole[0] + (whole[1] - whole[0]) // 2
    ranges = [days] if days else [week, whole, (middle, middle)]
    plain = [Scope(*of, now) for of in ranges]
    # Filters are looked at under a short range and a long one in turn.
    narrowed = [Scope(*(days or (week, whole)[place % 2]), now, filters=one) for place, one in enumerate(filters)]
    return (*plain, *narrowed)


def verify(
    definition: Definition,
    proofs: Proofs,
    reader: Reader,
    scopes: Collection[Scope],
    only: Collection[str] = (),
    raw: Reader | None = None,
) -> Iterator[Compared]:
    """Each tile and mart (or those of `only`) in each scope, once where two scopes ask the same of it.

    `raw` is where the proofs' rows come from, where not from the same reader. Raises ReadError.
    """
    freshness = reader.freshness()
    built = freshness.last_synced_at if freshness else None
    for case in cases(definition, proofs):
        if only and case.id not in only:
            continue
        seen: set[object] = set()
        for scope in scopes:
            narrowed = case.narrowed(scope)
            if narrowed is None:
                continue
            running = min(built or scope.now, scope.now).date()
            shown, proof = case.queries(proofs, narrowed, running)
            key = (shown.sql, tuple(shown.parameters.items()), proof.sql)
            if key not in seen:
                seen.add(key)
                yield _compared(case, narrowed, reader, shown, raw or reader, proof)


@dataclass(frozen=True)
class Case:
    """What is compared: a tile with its source, or a mart."""

    id: str
    title: str
    proof: str
    answers_to: frozenset[str]
    tile: Tile | None = None
    source: Source | None = None
    shown: str = ""

    def narrowed(self, scope: Scope) -> Scope | None:
        """The scope with the filters it answers to; None where nothing of its filters is left."""
        left = {name: values for name, values in scope.filters.items() if name in self.answers_to}
        return None if scope.filters and not left else replace(scope, filters=left)

    def span(self, scope: Scope) -> Span:
        return scope.span(self.tile.window if self.tile else "range")

    def queries(self, proofs: Proofs, scope: Scope, running_day: date) -> tuple[Query, Query]:
        """What is shown of a scope, and its proof."""
        asked = Asked(scope, self.span(scope), running_day, sorted(self.answers_to))
        if self.tile is None or self.source is None:
            return proof_query(self.shown, proofs, asked), proof_query(self.proof, proofs, asked)
        asked = replace(
            asked, dims=sorted(self.source.filters), outer=sorted(self.source.outer_filters), limit=self.tile.limit
        )
        return tile_query(self.tile, self.source, scope), proof_query(self.proof, proofs, asked)

    def said(self, scope: Scope) -> str:
        """The scope in words: 22–28 Nov 2026, capability chat."""
        window = self.tile.window if self.tile else "range"
        if window == "range":
            time = words.days(scope.first, scope.last)
        else:
            time = f"{_WINDOWS[window]} {words.instant(scope.end) if window == '24h' else words.day(scope.last)}"
        chosen = [f"{name} {' or '.join(values)}" for name, values in scope.filters.items()]
        return ", ".join([time, *chosen])

    def unit(self, name: str) -> Unit:
        if self.source and (name in self.source.measures or name in self.source.columns):
            return self.source.unit(name)
        return _UNITS.get(name, "count")


def cases(definition: Definition, proofs: Proofs) -> Iterator[Case]:
    """All there is to compare: tiles in the order of their ids, then marts."""
    found: dict[str, tuple[Page, Tile]] = {tile.id: (page, tile) for page, tile in definition.tiles}
    for tile_id, proof in sorted(proofs.tiles.items()):
        _, tile = found[tile_id]
        source = definition.source(tile.source)
        yield Case(tile_id, tile.title, proof.sql, source.answers_to, tile, source)
    for name, total in proofs.also.items():
        yield Case(name, total.title, total.raw, frozenset(total.filters), shown=total.shown)


def difference(shown: pl.DataFrame, raw: pl.DataFrame, unit: Mapping[str, Unit]) -> Difference | None:
    """Where two results differ, whatever their order; None where they agree."""
    if set(shown.columns) != set(raw.columns):
        return Difference(f"columns {', '.join(shown.columns)}", f"columns {', '.join(raw.columns)}", 0)
    keys = [name for name in raw.columns if raw.schema[name] == pl.String or raw.schema[name].is_temporal()]
    numbers = [name for name in raw.columns if name not in keys]
    left, right = _in_order(shown, keys, numbers), _in_order(raw, keys, numbers)
    first: tuple[str, str] | None = None
    rows = at = there = 0
    while at < len(left) or there < len(right):
        one = left[at] if at < len(left) else None
        other = right[there] if there < len(right) else None
        order = _order(one, other, len(keys))
        at, there = at + (order <= 0), there + (order >= 0)
        if order == 0 and one is not None and other is not None and all(map(_same, one, other)):
            continue
        rows += 1
        if first is None:
            names = [*keys, *numbers]
            wrong = [
                name for name, a, b in zip(names, one or (), other or (), strict=False) if order == 0 and not _same(a, b)
            ]
            first = (
                _row_in_words(one if order <= 0 else None, names, keys, wrong, unit),
                _row_in_words(other if order >= 0 else None, names, keys, wrong, unit),
            )
    if first is None:
        return None
    # Two figures that round to the same text say nothing.
    return Difference(*first, rows)


def _compared(case: Case, scope: Scope, reader: Reader, shown: Query, raw: Reader, proof: Query) -> Compared:
    said = case.said(scope)
    try:
        left, right = reader.read(shown), raw.read(proof)
    except NotPublished as error:
        return Compared(case.id, case.title, said, "", "", 0, None, str(error))
    unit = {name: case.unit(name) for name in left.columns}
    found = difference(left, right, unit)
    if found is None:
        summary = _in_words(left, unit)
        return Compared(case.id, case.title, said, summary, summary, len(left), True)
    more = f" ({found.rows:,} rows differ)" if found.rows > 1 else ""
    return Compared(case.id, case.title, said, found.shown + more, found.raw, len(left), False)


def _in_order(rows: pl.DataFrame, keys: list[str], numbers: list[str]) -> list[tuple[Any, ...]]:
    return sorted(rows.select([*keys, *numbers]).rows(), key=_place)


def _place(row: tuple[Any, ...]) -> tuple[tuple[bool, Any], ...]:
    """Nothing comes last."""
    return tuple((value is None, 0 if value is None else value) for value in row)


def _order(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None, keys: int) -> int:
    """-1 where only the one is there, 1 where only the other is, 0 where both are the same row."""
    if one is None or other is None:
        return 1 if one is None else -1
    left, right = _place(one[:keys]), _place(other[:keys])
    return (left > right) - (left < right)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=NEARLY, abs_tol=NEARLY)
    return one == other


def _row_in_words(
    row: tuple[Any, ...] | None, names: list[str], keys: list[str], wrong: list[str], unit: Mapping[str, Unit]
) -> str:
    if row is None:
        return "no such row"
    values = dict(zip(names, row, strict=True))
    which = [_value(values[name], "count") for name in keys if values[name] is not None and name not in wrong]
    figures = [f"{name} {_value(values[name], unit.get(name, 'count'))}" for name in wrong or names[len(keys) :]]
    return " ".join([*which, *figures])


def _value(value: Any, unit: Unit) -> str:
    """To the sixth digit, so that one per cent shows."""
    if isinstance(value, float) and unit not in ("share", "percent", "milliseconds"):
        return f"{value:,.6g}"
    if isinstance(value, float) and unit == "share":
        return f"{100 * value:.4f} %"
    return words.figure(value, unit)


def _in_words(rows: pl.DataFrame, unit: Mapping[str, Unit]) -> str:
    """One row by its figures, more by their number and the sum of the first count."""
    if len(rows) == 1 and len(rows.columns) <= 3:
        return ", ".join(words.figure(rows[name].item(), unit.get(name, "count")) for name in rows.columns)
    said = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    counted = [name for name in rows.columns if rows.schema[name].is_integer() and unit.get(name) == "count"]
    if not counted or rows.is_empty():
        return said
    return f"{said}, {counted[0]} {int(rows[counted[0]].sum()):,}"


def _first_day(proofs: Proofs, reader: Reader, now: datetime) -> date | None:
    found = reader.read(_over_all("select min(date) as first from {rows}", proofs, now))
    return found["first"].item()


def _filters(proofs: Proofs, reader: Reader, now: datetime) -> list[Mapping[str, tuple[str, ...]]]:
    """One capability, one provider, two capabilities and a provider, one workspace; of workspaces one team and those
    that fell silent. Those with the most rows."""

    def most(column: str, table: str = "{rows}", count: int = 1) -> tuple[str, ...]:
        sql = (
            f"select {column} as name from {table} where {column} is not null"
            f" group by {column} order by count(*) desc, {column} limit {count}"
        )
        return tuple(reader.read(_over_all(sql, proofs, now))["name"].to_list())

    capabilities, providers, workspaces = most("capability", count=3), most("provider", count=2), most("workspace_id")
    found: list[Mapping[str, tuple[str, ...]]] = [
        {"capability": capabilities[:1]},
        {"provider": providers[:1]},
        {"capability": capabilities[1:], "provider": providers[-1:]},
        {"workspace": workspaces},
    ]
    try:
        found += [{"team": most("team", "analytics.ai_audit_workspaces")}, {"activity": ("inactive 7d",)}]
    except NotPublished:
        pass  # told with each tile that needs them
    return [one for one in found if all(one.values())]


def _over_all(sql: str, proofs: Proofs, now: datetime) -> Query:
    scope = Scope(now.date() - timedelta(days=LONGEST_DAYS - 1), now.date(), now)
    return proof_query(sql, proofs, Asked(scope, scope.span("range"), now.date(), FILTERS))
