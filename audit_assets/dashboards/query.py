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
    lists = tile.show in LISTS_ROWS
    if lists:
        # What a row's links name is asked for too.
        linked = re.findall(r"\{(\w+)\}", " ".join(link.href for link in tile.row_links))
        named = [*tile.by, *tile.measures, *(name for name in linked if name in source.columns)]
        return select(source, dict.fromkeys(named), (), scope, span or scope.span(tile.window), engine, tile)
    figures = [*tile.measures, *tile.also]
    return select(source, tile.by, figures, scope, span or scope.span(tile.window), engine, tile)


def select(
    source: Source,
    by: Sequence[str] | Mapping[str, None],
    figures: Sequence[str],
    scope: Scope,
    span: Span,
    engine: Engine = "duckdb",
    tile: Tile | None = None,
) -> Query:
    """`by` and `figures` of a source over `span`, grouped where a figure is an aggregate."""
    writer = _Writer(source, scope, span, engine)
    aggregates = {name: source.measures[name] for name in figures if name in source.measures}
    formulas = {name: _formula(figure.sql, figure.bigquery, engine) for name, figure in aggregates.items()}
    columns = {name: f"{formulas[name]} as {name}" if name in formulas else name for name in [*by, *figures]}
    conditions = [*([tile.where] if tile and tile.where else []), *writer.outer_conditions()]
    if tile is not None and tile.show in TOP_OF:
        name = tile.by[1]
        largest = (
            f"select {name} from {writer.rows()} group by {name}"
            f" order by {formulas[tile.measures[0]]} desc limit {tile.limit}"
        )
        if tile.show == "heatmap":
            conditions.append(f"{name} in ({largest})")
        else:  # the rest is one band without a name
            columns[name] = f"case when {name} in ({largest}) then {name} end as {name}"
    lines = [f"select {', '.join(columns.values())}", f"from {writer.rows()}"]
    if conditions:
        lines.append(f"where {' and '.join(conditions)}")
    if aggregates and by:
        # By place: a column may be named as what it is made from.
        lines.append(f"group by {', '.join(str(place) for place in range(1, len(by) + 1))}")
    lines += _order(tile, list(by), list(figures))
    return Query("\n".join(lines), writer.parameters, source.reads, span.first, span.last)


def options_query(source: Source, column: str, scope: Scope, limit: int = 500, engine: Engine = "duckdb") -> Query:
    """The values that `column` has in the range, in order, whatever filters are chosen."""
    free = Scope(scope.first, scope.last, scope.now)
    span = free.span("range")
    writer = _Writer(source, free, span, engine)
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
        order = f"{tile.order} desc nulls last"
    elif by[0] in ("date", "created_at") or tile.show in ("scatter", *TOP_OF):
        order = ", ".join(by)
    else:
        order = f"{figures[-1] if tile.show == 'box' else figures[0]} desc nulls last" if figures else by[0]
    return [f"order by {order}", *([] if tile.show in TOP_OF else [f"limit {tile.limit}"])]


class _Writer:
    """Writes the rows of one source in one scope, and collects the parameters they take."""

    def __init__(self, source: Source, scope: Scope, span: Span, engine: Engine) -> None:
        self.source, self.scope, self.span, self.engine = source, scope, span, engine
        self.parameters: dict[str, tuple[str, ...]] = {}

    def rows(self) -> str:
        """The source's rows as something to select from."""
        if self.source.sql is not None:
            return f"({_PLACEHOLDER.sub(self._filled, self.source.sql.strip())}) as rows_of_source"
        conditions = [*([self.source.where] if self.source.where else []), *self._conditions()]
        narrowed = f" where {' and '.join(conditions)}" if conditions else ""
        return f"(select * from analytics.{self.source.table}{narrowed}) as rows_of_source"

    def outer_conditions(self) -> list[str]:
        return [
            self._chosen(name, column) for name, column in self.source.outer_filters.items() if self._is_chosen(name)
        ]

    def _conditions(self) -> list[str]:
        return [*self._time(), *self._dims()]

    def _time(self) -> list[str]:
        column = self.source.time
        if column is None:
            return []
        kind = self.source.columns[column].type if column in self.source.columns else "date"
        if kind == "date":
            return [f"{column} between {_date(self.span.first)} and {_date(self.span.last)}"]
        return [f"{column} >= {_instant(self.span.start)}", f"{column} < {_instant(self.span.end)}"]

    def _dims(self) -> list[str]:
        return [self._chosen(name, column) for name, column in self.source.filters.items() if self._is_chosen(name)]

    def _is_chosen(self, name: Filter) -> bool:
        return bool(self.scope.chosen(name))

    def _chosen(self, name: Filter, column: str) -> str:
        self.parameters[name] = self.scope.chosen(name)
        if self.engine == "bigquery":
            return f"{column} in unnest(@{name})"
        return f"list_contains(${name}, {column})"

    def _filled(self, found: re.Match[str]) -> str:
        match found[1].split(" "):
            case ["filters"]:
                return " and ".join(self._conditions()) or "true"
            case ["dims"]:
                return " and ".join(self._dims()) or "true"
            case ["from"]:
                return _date(self.span.first)
            case ["to"]:
                return _date(self.span.last)
            case ["now"]:
                return _instant(self.scope.now)
            case ["week_ago"]:
                return _date(self.span.last - timedelta(days=7))
            case ["two_weeks_before"]:
                return _date(self.span.first - timedelta(days=14))
            case ["json", column, name]:
                of = "json_value" if self.engine == "bigquery" else "json_extract_string"
                return f"{of}({column}, '$.{name}')"
            case _:
                raise AssertionError(found[0])


def _date(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _instant(at: datetime) -> str:
    return f"timestamp '{at:%Y-%m-%d %H:%M:%S.%f}+00'"
