"""Generates the SQL of a tile over a source, for either engine. User input is passed as parameters only. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from audit_assets.dashboards.definition.load import LISTS_ROWS
from audit_assets.dashboards.definition.model import Filter, Source, Tile
from audit_assets.dashboards.query.scope import Scope, Span

Engine = Literal["duckdb", "bigquery"]

# Charts that show only the largest values of their second column, up to the tile's limit.
TOP_OF = ("area", "heatmap")

_PLACEHOLDER = re.compile(r"\{(filters|dims|from|to|now|week_ago|two_weeks_before|json (\w+) (\w+))\}")


@dataclass(frozen=True)
class Query:
    """SQL, its named parameters, the tables it reads, and the UTC days it needs of them."""

    sql: str
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    tables: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None


def tile_query(tile: Tile, source: Source, scope: Scope, span: Span | None = None, engine: Engine = "duckdb") -> Query:
    """The query of `tile` in `scope`, for `span` instead of the tile's own window if given."""
    by, figures = tile_columns(tile, source)
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
    """The query of `by` and `figures` of a source over `span`, grouped if a figure is an aggregate."""
    writer = _ScopeWriter(source, scope, span, engine)
    sql = statement(writer, by, figures, tile)
    return Query(sql, writer.parameters, source.reads, span.first, span.last)


def tile_columns(tile: Tile, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The group-by columns and the figures of `tile`; for a tile that lists rows, its columns and no figures."""
    if tile.show not in LISTS_ROWS:
        return tile.by, (*tile.measures, *tile.also)
    # Columns used in row links are selected too.
    linked = re.findall(r"\{(\w+)\}", " ".join(link.href for link in tile.row_links))
    linked += [link.unless for link in tile.row_links if link.unless is not None]
    named = [*tile.by, *tile.measures, *(name for name in linked if name in source.columns)]
    return tuple(dict.fromkeys(named)), ()


def statement(writer: "Writer", by: Sequence[str], figures: Sequence[str], tile: Tile | None = None) -> str:
    """The SQL of `by` and `figures` of the writer's source, with the conditions and order of `tile` if given."""
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
        # By position: an alias may have the name of the column it is computed from.
        lines.append(f"group by {', '.join(str(position) for position in range(1, len(by) + 1))}")
    # Rows are unique by their group-by columns or by their key, which makes the order total.
    unique = list(by) if aggregates or not source.key else list(source.key)
    lines += _order(tile, list(by), list(figures), unique)
    return "\n".join(lines)


def options_query(source: Source, column: str, scope: Scope, limit: int = 500, engine: Engine = "duckdb") -> Query:
    """The query of the distinct values of `column` in the range, in order, ignoring the filters."""
    free = Scope(scope.first, scope.last, scope.now)
    span = free.span("range")
    writer = _ScopeWriter(source, free, span, engine)
    sql = (
        f"select distinct {column}\nfrom {writer.rows()}\nwhere {column} is not null\norder by {column}\nlimit {limit}"
    )
    return Query(sql, {}, source.reads, span.first, span.last)


def _formula(sql: str, bigquery: str | None, engine: Engine) -> str:
    return bigquery if engine == "bigquery" and bigquery is not None else sql


def _order(tile: Tile | None, by: list[str], figures: list[str], unique: list[str]) -> list[str]:
    """The order, made total by `unique`: otherwise a limit would keep arbitrary rows."""
    if tile is None:
        return [f"order by {by[0]}"] if by else []
    if not by:
        return []
    if tile.order is not None:
        order = [f"{tile.order} desc nulls last", *(name for name in unique if name != tile.order)]
    elif by[0] in ("date", "created_at") or tile.show in TOP_OF or not figures:
        order = list(dict.fromkeys([*by, *unique]))
    else:
        order = [f"{figures[-1] if tile.show == 'box' else figures[0]} desc nulls last", *unique]
    return [f"order by {', '.join(order)}", *([] if tile.show in TOP_OF else [f"limit {tile.limit}"])]


class Writer:
    """Writes the SQL of one source's rows. Subclasses write times and filters: `_ScopeWriter` for the built-in pages,
    others for Looker and Metabase."""

    engine: Engine
    rest = ""  # SQL that names the rows beyond the largest; without it they have no name

    def __init__(self, source: Source, engine: Engine) -> None:
        self.source, self.engine = source, engine

    def rows(self) -> str:
        """The source's rows as a subquery."""
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
        """Conditions and filters joined with `and`; empty if there are none."""
        found = [
            f"({chosen} and {self.source.filtered[name]})" if name in self.source.filtered else chosen
            for name in filters
            if (chosen := self.chosen(name, filters[name]))
        ]
        return " and ".join([*conditions, *found])

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
        """SQL of the first UTC day, or of the day `days_before` it."""
        raise NotImplementedError

    def last(self, days_before: int = 0) -> str:
        """SQL of the last UTC day, or of the day `days_before` it."""
        raise NotImplementedError

    def start(self) -> str:
        """SQL of the start of the range, inclusive."""
        raise NotImplementedError

    def end(self) -> str:
        """SQL of the end of the range, exclusive."""
        raise NotImplementedError

    def now(self) -> str:
        raise NotImplementedError

    def chosen(self, name: Filter, column: str) -> str:
        """The condition of a filter; empty if it is not set."""
        raise NotImplementedError


class _ScopeWriter(Writer):
    """Writes times and filters of one scope, and collects the query parameters."""

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
