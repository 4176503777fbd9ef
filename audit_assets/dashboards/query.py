"""The SQL of a tile: pure text over a source, for either engine, with a reader's words as parameters only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from audit_assets.dashboards.definition import Filter, Source, Tile
from audit_assets.dashboards.load import LISTS_ROWS
from audit_assets.dashboards.scope import Scope, Span

Engine = Literal["duckdb", "bigquery"]

# Charts that show the largest of their second column only, so many as the tile's limit says.
TOP_OF = ("area", "heatmap")

_PLACEHOLDER = re.compile(r"\{(filters|dims|from|to|now|week_ago|two_weeks_before|json (\w+) (\w+))\}")


@dataclass(frozen=True)
class Query:
    """SQL, the texts it is given by name, the tables it reads, and the UTC days it needs of them."""

    sql: str
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    tables: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None


def tile_query(tile: Tile, source: Source, scope: Scope, span: Span | None = None, engine: Engine = "duckdb") -> Query:
    """What `tile` shows of `scope`, or of another time than its own."""
    by, figures = columns_of(tile, source)
    return select(source, by, figures, scope, span or scope.span(tile.window), engine, tile)


def select(
    source: Source,
    by: Sequence[str],
    figures: Sequence[str],
    scope: Scope,
    span: Span,
    engine: Engine = "duckdb",
    tile: Tile | None = None,
) -> Query:
    """`by` and `figures` of a source over `span`, grouped where a figure is an aggregate."""
    writer = _ScopeWriter(source, scope, span, engine)
    sql = statement(writer, by, figures, tile)
    return Query(sql, writer.parameters, source.reads, span.first, span.last)


def columns_of(tile: Tile, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What `tile` is grouped by and its figures; for one that lists rows, its columns and no figure."""
    if tile.show not in LISTS_ROWS:
        return tile.by, (*tile.measures, *tile.also)
    # What a row's links name is asked for too.
    linked = re.findall(r"\{(\w+)\}", " ".join(link.href for link in tile.row_links))
    named = [*tile.by, *tile.measures, *(name for name in linked if name in source.columns)]
    return tuple(dict.fromkeys(named)), ()


def statement(writer: "Writer", by: Sequence[str], figures: Sequence[str], tile: Tile | None = None) -> str:
    """The SQL of `by` and `figures` of a writer's source, of one tile's rows where it is given."""
    source, engine = writer.source, writer.engine
    aggregates = {name: source.measures[name] for name in figures if name in source.measures}
    formulas = {name: _formula(figure.sql, figure.bigquery, engine) for name, figure in aggregates.items()}
    columns = {name: f"{formulas[name]} as {name}" if name in formulas else name for name in [*by, *figures]}
    conditions = [tile.where] if tile and tile.where else []
    if tile is not None and tile.show in TOP_OF:
        name = tile.by[1]
        largest = (
            f"select {name} from {writer.rows()} group by {name}"
            f" order by {formulas[tile.measures[0]]} desc, {name} limit {tile.limit}"
        )
        if tile.show == "heatmap":
            conditions.append(f"{name} in ({largest})")
        else:
            columns[name] = f"case when {name} in ({largest}) then {name}{writer.rest} end as {name}"
    lines = [f"select {', '.join(columns.values())}", f"from {writer.rows()}"]
    narrowed = writer.narrowed(conditions, source.outer_filters)
    if narrowed:
        lines.append(f"where {narrowed}")
    if aggregates and by:
        # By place: a column may be named as what it is made from.
        lines.append(f"group by {', '.join(str(place) for place in range(1, len(by) + 1))}")
    lines += _order(tile, list(by), list(figures))
    return "\n".join(lines)


def options_query(source: Source, column: str, scope: Scope, limit: int = 500, engine: Engine = "duckdb") -> Query:
    """The values that `column` has in the range, in order, whatever filters are chosen."""
    free = Scope(scope.first, scope.last, scope.now)
    span = free.span("range")
    writer = _ScopeWriter(source, free, span, engine)
    sql = (
        f"select distinct {column}\nfrom {writer.rows()}\nwhere {column} is not null\norder by {column}\nlimit {limit}"
    )
    return Query(sql, {}, source.reads, span.first, span.last)


def _formula(sql: str, bigquery: str | None, engine: Engine) -> str:
    return bigquery if engine == "bigquery" and bigquery is not None else sql


def _order(tile: Tile | None, by: list[str], figures: list[str]) -> list[str]:
    if tile is None:
        return [f"order by {by[0]}"] if by else []
    if not by:
        return []
    if tile.order is not None:
        # Where two are alike, by the rest, so that a limit always keeps the same rows.
        order = ", ".join([f"{tile.order} desc nulls last", *(name for name in by if name != tile.order)])
    elif by[0] in ("date", "created_at") or tile.show in ("scatter", *TOP_OF):
        order = ", ".join(by)
    elif figures:
        order = ", ".join([f"{figures[-1] if tile.show == 'box' else figures[0]} desc nulls last", *by])
    else:
        order = by[0]
    return [f"order by {order}", *([] if tile.show in TOP_OF else [f"limit {tile.limit}"])]


class Writer:
    """Writes the rows of one source. What says a time or a filter is left to those who know it: `_ScopeWriter` for the
    built-in pages, others for Looker and Metabase."""

    engine: Engine
    rest = ""  # what the rows beyond the largest are named; without one they are a band without a name

    def __init__(self, source: Source, engine: Engine) -> None:
        self.source, self.engine = source, engine

    def rows(self) -> str:
        """The source's rows as something to select from."""
        if self.source.sql is not None:
            return f"({self.filled(self.source.sql.strip())}) as rows_of_source"
        narrowed = self.narrowed(
            [*([self.source.where] if self.source.where else []), *self.time()], self.source.filters
        )
        where = f" where {narrowed}" if narrowed else ""
        return f"(select * from analytics.{self.source.table}{where}) as rows_of_source"

    def filled(self, sql: str) -> str:
        """A source's query with its placeholders filled."""
        return _PLACEHOLDER.sub(self._filling, sql)

    def narrowed(self, conditions: Sequence[str], filters: Mapping[Filter, str]) -> str:
        """Conditions and filters in one, nothing where there are none."""
        return " and ".join([*conditions, *(said for name in filters if (said := self.chosen(name, filters[name])))])

    def time(self) -> list[str]:
        """The conditions of the time range."""
        column = self.source.time
        if column is None:
            return []
        kind = self.source.columns[column].type if column in self.source.columns else "date"
        if kind == "date":
            return [f"{column} between {self.first()} and {self.last()}"]
        return [f"{column} >= {self.start()}", f"{column} < {self.end()}"]

    def _filling(self, found: re.Match[str]) -> str:
        match found[1].split(" "):
            case ["filters"]:
                return self.narrowed(self.time(), self.source.filters) or "true"
            case ["dims"]:
                return self.narrowed([], self.source.filters) or "true"
            case ["from"]:
                return self.first()
            case ["to"]:
                return self.last()
            case ["now"]:
                return self.now()
            case ["week_ago"]:
                return self.last(7)
            case ["two_weeks_before"]:
                return self.first(14)
            case ["json", column, name]:
                of = "json_value" if self.engine == "bigquery" else "json_extract_string"
                return f"{of}({column}, '$.{name}')"
            case _:
                raise AssertionError(found[0])

    def first(self, days_before: int = 0) -> str:
        """The first UTC day, or so many days before it."""
        raise NotImplementedError

    def last(self, days_before: int = 0) -> str:
        """The last UTC day, or so many days before it."""
        raise NotImplementedError

    def start(self) -> str:
        """The moment from which on rows are in the range."""
        raise NotImplementedError

    def end(self) -> str:
        """The moment from which on they are not."""
        raise NotImplementedError

    def now(self) -> str:
        raise NotImplementedError

    def chosen(self, name: Filter, column: str) -> str:
        """The condition of a filter, nothing where it is not set."""
        raise NotImplementedError


class _ScopeWriter(Writer):
    """Writes them in one scope, and collects the parameters they take."""

    def __init__(self, source: Source, scope: Scope, span: Span, engine: Engine) -> None:
        super().__init__(source, engine)
        self.scope, self.span = scope, span
        self.parameters: dict[str, tuple[str, ...]] = {}

    def first(self, days_before: int = 0) -> str:
        return _date(self.span.first - timedelta(days=days_before))

    def last(self, days_before: int = 0) -> str:
        return _date(self.span.last - timedelta(days=days_before))

    def start(self) -> str:
        return _instant(self.span.start)

    def end(self) -> str:
        return _instant(self.span.end)

    def now(self) -> str:
        return _instant(self.scope.now)

    def chosen(self, name: Filter, column: str) -> str:
        values = self.scope.chosen(name)
        if not values:
            return ""
        self.parameters[name] = values
        if self.engine == "bigquery":
            return f"{column} in unnest(@{name})"
        return f"list_contains(${name}, {column})"


def _date(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _instant(at: datetime) -> str:
    return f"timestamp '{at:%Y-%m-%d %H:%M:%S.%f}+00'"
