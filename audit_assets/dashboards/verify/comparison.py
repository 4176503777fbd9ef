"""Compares tiles with their reconciliation queries: what a page shows in a scope, and the same from the raw rows."""

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from audit_assets.dashboards.definition.model import Definition, Source, Tile, Window
from audit_assets.dashboards.query.reader import NotPublishedError, Reader, ReadError, SnapshotReader, make_reader
from audit_assets.dashboards.query.scope import DAY, FILTERS, LONGEST_DAYS, Scope, Span
from audit_assets.dashboards.query.sql import Engine, Query, tile_query
from audit_assets.dashboards.verify.frame_diff import diff_frames, summary
from audit_assets.dashboards.verify.reconciliation_queries import (
    FILE,
    ReconciliationContext,
    ReconciliationQueries,
    build_query,
)
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.settings import Settings
from audit_assets.text import formatting
from audit_assets.text.formatting import Unit
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import publish

_WINDOWS: Mapping[Window, str] = {
    "24h": "24 hours to", "2d": "2 days to", "7d": "7 days to", "14d": "14 days to", "all": "all up to"
}  # fmt: skip
# How often a comparison is retried because a snapshot was published meanwhile.
_TRIES = 5
# The most days that a tile reads before its range: the trailing 14 days, and the 14 days before them.
_LOOKBACK_DAYS = 28
_MAX_ROWS = 5_000_000  # to copy from BigQuery
_UNITS: Mapping[str, Unit] = {"error_rate": "share", "max_latency_ms": "milliseconds"}


@dataclass(frozen=True)
class Comparison:
    """A tile, or the numbers of a mart, compared with its reconciliation query in one scope. `agrees` is None if a
    required table is not published; `missing` then names it. `note` states the limits of the reconciliation query."""

    id: str
    title: str
    scope: str
    shown: str
    raw: str
    rows: int
    agrees: bool | None
    missing: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class TileResult:
    """The result for a tile or a mart over all scopes. `agrees` is None if no scope could be compared."""

    id: str
    title: str
    agrees: bool | None
    checks: tuple[Comparison, ...]

    @property
    def displayed(self) -> Comparison:
        """The scope to show: the first that differs, else the first."""
        return next((check for check in self.checks if check.agrees is False), self.checks[0])


@contextmanager
def open_readers(settings: Settings, now: datetime, days: tuple[date, date] | None) -> Generator[tuple[Reader, Reader]]:
    """Yields the reader of the pages, and the reader of raw rows for the reconciliation queries. With DuckDB, both read
    the snapshot. With BigQuery, raw rows are copied to a local snapshot, so that another engine than the one that built
    the marts counts them; batches wait meanwhile. Raises WindowError if there are too many rows to copy."""
    if settings.engine == "duckdb":
        reader = SnapshotReader(settings.snapshot_folder)
        yield reader, reader
        return
    warehouse = BigQueryWarehouse(settings, read_policy(settings.policy_file).bigquery)
    first, last = days_to_compare(days, now)
    first -= _LOOKBACK_DAYS * DAY
    with (
        warehouse.maintenance_of_all_tables("audit verify-kpis") as session,
        TemporaryDirectory(prefix="audit-proofs-") as folder,
    ):
        ((rows,),) = session.fetch(
            f"select coalesce(sum(interaction_count), 0) from {SCHEMA}.ai_audit_daily"
            f" where date between date '{first.isoformat()}' and date '{last.isoformat()}'"
        )
        if rows > _MAX_ROWS:
            raise WindowError(
                f"{rows:,} interactions from {first} on would have to be copied, at most {_MAX_ROWS:,} are allowed: "
                "give fewer days with --from and --to"
            )
        publish(session, Path(folder), now, days=(first, last))
        yield make_reader(settings), SnapshotReader(Path(folder))


def scopes_to_check(
    reconciliation: ReconciliationQueries, reader: Reader, now: datetime, days: tuple[date, date] | None = None
) -> tuple[Scope, ...]:
    """The scopes to compare: ranges with and without filters, whose values are those with the most rows. `days` (UTC,
    both included) replace the ranges. Raises ReadError."""
    today = now.date()
    first = _first_day(reconciliation, reader, now) or today
    filters = _filters(reconciliation, reader, now)
    week = (today - 6 * DAY, today)
    whole = (max(first, today - (LONGEST_DAYS - 1) * DAY), today)
    middle = whole[0] + (whole[1] - whole[0]) // 2
    ranges = [days] if days else [week, whole, (middle, middle)]
    plain = [Scope(*of, now) for of in ranges]
    # Filters alternate between the short and the long range.
    narrowed = [Scope(*(days or (week, whole)[number % 2]), now, filters=each) for number, each in enumerate(filters)]
    return (*plain, *narrowed)


def verify(
    definition: Definition,
    reconciliation: ReconciliationQueries,
    reader: Reader,
    scopes: Collection[Scope],
    only: Collection[str] = (),
    raw: Reader | None = None,
) -> Iterator[Comparison]:
    """Compares each tile and mart (or those in `only`) in each scope, once if two scopes give the same queries.

    `raw` reads the raw rows, if not `reader`; its dialect is DuckDB's. Raises ReadError.
    """
    for case in cases(definition, reconciliation):
        if only and case.id not in only:
            continue
        seen: set[object] = set()
        for scope in scopes:
            narrowed = case.narrowed(scope)
            if narrowed is None:
                continue
            key = case.key(reconciliation, narrowed)
            if key not in seen:
                seen.add(key)
                yield _compared(case, reconciliation, narrowed, reader, raw or reader)


def group_by_tile(found: list[Comparison]) -> tuple[TileResult, ...]:
    """The results by tile, in the order of `found`, where the comparisons of a tile are next to each other."""
    results: list[TileResult] = []
    for name, group in groupby(found, key=lambda compared: compared.id):
        checks = tuple(group)
        agreed = [check.agrees for check in checks if check.agrees is not None]
        results.append(TileResult(name, checks[0].title, all(agreed) if agreed else None, checks))
    return tuple(results)


@dataclass(frozen=True)
class Case:
    """A tile with its source, or a mart, to compare with its reconciliation query `raw_sql`."""

    id: str
    title: str
    raw_sql: str
    supported_filters: frozenset[str]
    tile: Tile | None = None
    source: Source | None = None
    shown: str = ""
    note: str | None = None

    def narrowed(self, scope: Scope) -> Scope | None:
        """The scope with only the supported filters; None if it has filters and none of them is supported."""
        left = {name: values for name, values in scope.filters.items() if name in self.supported_filters}
        return None if scope.filters and not left else replace(scope, filters=left)

    def span(self, scope: Scope) -> Span:
        return scope.span(self.tile.window if self.tile else "range")

    def queries(
        self, reconciliation: ReconciliationQueries, scope: Scope, running_day: date, engine: Engine = "duckdb"
    ) -> tuple[Query, Query]:
        """The query of what is shown in a scope (a tile in the dialect of `engine`), and the reconciliation query in
        DuckDB's dialect."""
        context = ReconciliationContext(scope, self.span(scope), running_day, sorted(self.supported_filters))
        if self.tile is None or self.source is None:
            return build_query(self.shown, reconciliation, context), build_query(self.raw_sql, reconciliation, context)
        context = replace(
            context, dims=sorted(self.source.filters), outer=sorted(self.source.outer_filters), limit=self.tile.limit
        )
        return tile_query(self.tile, self.source, scope, engine=engine), build_query(
            self.raw_sql, reconciliation, context
        )

    def key(self, reconciliation: ReconciliationQueries, scope: Scope) -> object:
        """Equal for scopes that give the same queries."""
        queries = self.queries(reconciliation, scope, scope.now.date())
        return tuple((query.sql, tuple(query.parameters.items())) for query in queries)

    def describe_scope(self, scope: Scope) -> str:
        """The scope in words: 22–28 Nov 2026, capability chat."""
        window = self.tile.window if self.tile else "range"
        if window == "range":
            time = formatting.days(scope.first, scope.last)
        else:
            time = (
                f"{_WINDOWS[window]} {formatting.instant(scope.end) if window == '24h' else formatting.day(scope.last)}"
            )
        chosen = [f"{name} {' or '.join(values)}" for name, values in scope.filters.items()]
        return ", ".join([time, *chosen])

    def unit(self, name: str) -> Unit:
        if self.source and (name in self.source.measures or name in self.source.columns):
            return self.source.unit(name)
        return _UNITS.get(name, "count")


def cases(definition: Definition, reconciliation: ReconciliationQueries) -> Iterator[Case]:
    """Everything to compare: tiles ordered by id, then marts."""
    tiles = {tile.id: tile for _, tile in definition.tiles}
    for tile_id, query in sorted(reconciliation.tiles.items()):
        tile = tiles[tile_id]
        source = definition.source(tile.source)
        yield Case(tile_id, tile.title, query.sql, source.supported_filters, tile, source, note=query.note)
    for name, mart in reconciliation.also.items():
        yield Case(name, mart.title, mart.raw, frozenset(mart.filters), shown=mart.shown)


def _compared(
    case: Case, reconciliation: ReconciliationQueries, scope: Scope, reader: Reader, raw: Reader
) -> Comparison:
    compared = Comparison(case.id, case.title, case.describe_scope(scope), "", "", 0, None, note=case.note)
    try:
        left, right = _both(case, reconciliation, scope, reader, raw)
    except NotPublishedError as error:
        return replace(compared, missing=str(error))
    except ReadError as error:
        raise ReadError(f"{case.id} cannot be compared with its reconciliation query in {FILE}: {error}") from error
    units: dict[str, Unit] = {name: case.unit(name) for name in left.columns}
    found = diff_frames(left, right, units)
    if found is None:
        text = summary(left, units)
        return replace(compared, shown=text, raw=text, rows=len(left), agrees=True)
    more = f" ({found.rows:,} rows differ)" if found.rows > 1 else ""
    return replace(compared, shown=found.shown + more, raw=found.raw, rows=len(left), agrees=False)


def _both(
    case: Case, reconciliation: ReconciliationQueries, scope: Scope, reader: Reader, raw: Reader
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows shown and the raw rows, from the same snapshot. Raises ReadError."""
    for _ in range(_TRIES):
        before = reader.freshness()
        # The models are built right after a sync, so the running day is the day of the sync.
        synced = (before.last_synced_at if before else None) or scope.now
        shown_query, raw_query = case.queries(reconciliation, scope, min(synced, scope.now).date(), reader.engine)
        # The query of a mart is in DuckDB's dialect, which BigQuery does not accept.
        of_mart = case.tile is None and reader.engine != "duckdb"
        rows = (raw if of_mart else reader).read(shown_query), raw.read(raw_query)
        after = reader.freshness()
        if before is not None and after is not None and before.snapshot_id == after.snapshot_id:
            return rows
    raise ReadError("snapshots are published faster than tiles can be compared; try again, or compare fewer tiles")


def _first_day(reconciliation: ReconciliationQueries, reader: Reader, now: datetime) -> date | None:
    found = reader.read(_over_all("select min(date) as first from {rows}", reconciliation, now))
    return found["first"].item()


def count_calls(
    reconciliation: ReconciliationQueries, raw: Reader, now: datetime, days: tuple[date, date] | None = None
) -> int:
    """The number of raw calls in these UTC days, or in the longest range. Raises ReadError."""
    counted = _over_all("select count(*) as rows from {calls} where {in_days}", reconciliation, now, days)
    return raw.read(counted)["rows"].item()


def _filters(
    reconciliation: ReconciliationQueries, reader: Reader, now: datetime
) -> list[Mapping[str, tuple[str, ...]]]:
    """The filters to compare, with the values that have the most rows: one capability, one provider, two capabilities
    and a provider, one workspace, one team, and inactive workspaces."""

    def most(column: str, table: str = "{calls}", count: int = 1) -> tuple[str, ...]:
        sql = (
            f"select {column} as name from {table} where {column} is not null"
            f" group by {column} order by count(*) desc, {column} limit {count}"
        )
        return tuple(reader.read(_over_all(sql, reconciliation, now))["name"].to_list())

    capabilities, providers, workspaces = most("capability", count=3), most("provider", count=2), most("workspace_id")
    found: list[Mapping[str, tuple[str, ...]]] = [
        {"capability": capabilities[:1]},
        {"provider": providers[:1]},
        {"capability": capabilities[1:], "provider": providers[-1:]},
        {"workspace": workspaces},
    ]
    with suppress(NotPublishedError):  # reported with each tile that needs it
        found += [{"team": most("team", "analytics.ai_audit_workspaces")}, {"activity": ("inactive 7d",)}]
    return [filters for filters in found if all(filters.values())]


def days_to_compare(days: tuple[date, date] | None, now: datetime) -> tuple[date, date]:
    """`days` (UTC, both included), or the longest range up to `now` without them."""
    return days or (now.date() - (LONGEST_DAYS - 1) * DAY, now.date())


def _over_all(
    sql: str, reconciliation: ReconciliationQueries, now: datetime, days: tuple[date, date] | None = None
) -> Query:
    scope = Scope(*days_to_compare(days, now), now)
    return build_query(sql, reconciliation, ReconciliationContext(scope, scope.span("range"), now.date(), FILTERS))
