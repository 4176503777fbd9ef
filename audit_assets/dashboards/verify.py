"""Tiles against their proofs: what a page would show of a scope, what the raw rows say, and whether they agree."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import polars as pl

from audit_assets.dashboards import words
from audit_assets.dashboards.definition import Definition, Source, Tile, Unit, Window
from audit_assets.dashboards.differences import difference, summary
from audit_assets.dashboards.proofs import FILE, Asked, Proofs, proof_query
from audit_assets.dashboards.query import Engine, Query, tile_query
from audit_assets.dashboards.reader import NotPublishedError, Reader, ReadError
from audit_assets.dashboards.scope import DAY, FILTERS, LONGEST_DAYS, Scope, Span

_WINDOWS: Mapping[Window, str] = {
    "24h": "24 hours to", "2d": "2 days to", "7d": "7 days to", "14d": "14 days to", "all": "all up to"
}  # fmt: skip
# How often a comparison is begun again because what is published changed meanwhile.
_TRIES = 5
_UNITS: Mapping[str, Unit] = {"error_rate": "share", "max_latency_ms": "milliseconds"}


@dataclass(frozen=True)
class Compared:
    """A tile, or the numbers of a mart, against its proof in one scope. `agrees` is None where a table it needs is not
    published, which `missing` says; `note` says what the proof cannot show."""

    id: str
    title: str
    scope: str
    shown: str
    raw: str
    rows: int
    agrees: bool | None
    missing: str | None = None
    note: str | None = None


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

    `raw` is where the proofs' rows come from, where not from the same reader; it speaks DuckDB. Raises ReadError.
    """
    for case in cases(definition, proofs):
        if only and case.id not in only:
            continue
        seen: set[object] = set()
        for scope in scopes:
            narrowed = case.narrowed(scope)
            if narrowed is None:
                continue
            key = case.key(proofs, narrowed)
            if key not in seen:
                seen.add(key)
                yield _compared(case, proofs, narrowed, reader, raw or reader)


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
    note: str | None = None

    def narrowed(self, scope: Scope) -> Scope | None:
        """The scope with the filters it answers to; None where nothing of its filters is left."""
        left = {name: values for name, values in scope.filters.items() if name in self.answers_to}
        return None if scope.filters and not left else replace(scope, filters=left)

    def span(self, scope: Scope) -> Span:
        return scope.span(self.tile.window if self.tile else "range")

    def queries(
        self, proofs: Proofs, scope: Scope, running_day: date, engine: Engine = "duckdb"
    ) -> tuple[Query, Query]:
        """What is shown of a scope, a tile in its engine's words, and its proof in DuckDB's."""
        asked = Asked(scope, self.span(scope), running_day, sorted(self.answers_to))
        if self.tile is None or self.source is None:
            return proof_query(self.shown, proofs, asked), proof_query(self.proof, proofs, asked)
        asked = replace(
            asked, dims=sorted(self.source.filters), outer=sorted(self.source.outer_filters), limit=self.tile.limit
        )
        return tile_query(self.tile, self.source, scope, engine=engine), proof_query(self.proof, proofs, asked)

    def key(self, proofs: Proofs, scope: Scope) -> object:
        """What two scopes share that ask the same of it."""
        queries = self.queries(proofs, scope, scope.now.date())
        return tuple((query.sql, tuple(query.parameters.items())) for query in queries)

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
    tiles = {tile.id: tile for _, tile in definition.tiles}
    for tile_id, proof in sorted(proofs.tiles.items()):
        tile = tiles[tile_id]
        source = definition.source(tile.source)
        yield Case(tile_id, tile.title, proof.sql, source.answers_to, tile, source, note=proof.note)
    for name, total in proofs.also.items():
        yield Case(name, total.title, total.raw, frozenset(total.filters), shown=total.shown)


def _compared(case: Case, proofs: Proofs, scope: Scope, reader: Reader, raw: Reader) -> Compared:
    compared = Compared(case.id, case.title, case.said(scope), "", "", 0, None, note=case.note)
    try:
        left, right = _both(case, proofs, scope, reader, raw)
    except NotPublishedError as error:
        return replace(compared, missing=str(error))
    except ReadError as error:
        raise ReadError(f"{case.id} cannot be compared with its proof in {FILE}: {error}") from error
    units: dict[str, Unit] = {name: case.unit(name) for name in left.columns}
    found = difference(left, right, units)
    if found is None:
        told = summary(left, units)
        return replace(compared, shown=told, raw=told, rows=len(left), agrees=True)
    more = f" ({found.rows:,} rows differ)" if found.rows > 1 else ""
    return replace(compared, shown=found.shown + more, raw=found.raw, rows=len(left), agrees=False)


def _both(case: Case, proofs: Proofs, scope: Scope, reader: Reader, raw: Reader) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is shown and what raw says, of one and the same snapshot. Raises ReadError."""
    for _ in range(_TRIES):
        before = reader.freshness()
        # The models are built right after a sync: its day was the running one.
        synced = (before.last_synced_at if before else None) or scope.now
        shown, proof = case.queries(proofs, scope, min(synced, scope.now).date(), reader.engine)
        # What is shown of a mart is asked in DuckDB's words too, which BigQuery does not take.
        of_mart = case.tile is None and reader.engine != "duckdb"
        rows = (raw if of_mart else reader).read(shown), raw.read(proof)
        after = reader.freshness()
        if before is not None and after is not None and before.snapshot_id == after.snapshot_id:
            return rows
    raise ReadError("what is published changes faster than it can be compared; try again, or with fewer tiles")


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
    with suppress(NotPublishedError):  # told with each tile that needs it
        found += [{"team": most("team", "analytics.ai_audit_workspaces")}, {"activity": ("inactive 7d",)}]
    return [one for one in found if all(one.values())]


def _over_all(sql: str, proofs: Proofs, now: datetime) -> Query:
    scope = Scope(now.date() - timedelta(days=LONGEST_DAYS - 1), now.date(), now)
    return proof_query(sql, proofs, Asked(scope, scope.span("range"), now.date(), FILTERS))
