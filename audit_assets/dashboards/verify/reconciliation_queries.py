"""The reconciliation queries of proofs.yaml and their SQL: each figure computed from the raw rows alone."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from pydantic import Field

from audit_assets.config.validation import FrozenModel, Problem, did_you_mean, dotted
from audit_assets.config.yaml_files import FieldPath
from audit_assets.dashboards.definition.load import DefinitionError, read_file
from audit_assets.dashboards.definition.model import Definition, Filter, Name, Text, TileId, tables_in
from audit_assets.dashboards.query.scope import Scope, Span
from audit_assets.dashboards.query.sql import Query
from audit_assets.ingest.policy import CLASSES, Statuses

FILE = "proofs.yaml"

# The column of a filter, if its name differs from the filter's.
_COLUMNS: Mapping[str, str] = {"workspace": "workspace_id"}
_KNOWN = ("in_days", "in_time", "dims", "outer", "from", "to", "start", "end", "now", "limit", "running_day")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class ReconciliationQuery(FrozenModel):
    """The rows of a tile, computed from the raw rows."""

    note: Text | None = Field(default=None, description="what the query can verify, and what it cannot")
    sql: Text = Field(description="a query with the tile's columns, by name")


class MartReconciliation(FrozenModel):
    """Numbers of a mart that tiles read, and the same numbers from the raw rows."""

    title: Text = Field(description="what is compared")
    filters: tuple[Filter, ...] = Field(default=(), description="the filters that apply to both queries")
    shown: Text = Field(description="a query on the mart")
    raw: Text = Field(description="the same on the raw rows")


class ReconciliationQueries(FrozenModel):
    """All reconciliation queries: of tiles by id, of marts by name."""

    parts: Mapping[Name, Text] = Field(default={}, description="queries that others include as {part}")
    tiles: Mapping[TileId, ReconciliationQuery] = Field(min_length=1, description="reconciliation queries by tile")
    also: Mapping[Name, MartReconciliation] = Field(default={}, description="reconciliation queries of marts by table")


@dataclass(frozen=True)
class ReconciliationContext:
    """The parameters of a reconciliation query: a scope, its span, the supported filters, and the tile's limit.

    `running_day` is the current UTC day at the time the models were built.
    """

    scope: Scope
    span: Span
    running_day: date
    dims: Collection[str] = ()
    outer: Collection[str] = ()
    limit: int = 5000


def load_reconciliation_queries(folder: Path, definition: Definition, statuses: Statuses) -> ReconciliationQueries:
    """Loads the reconciliation queries of `folder`/proofs.yaml, one for each tile of `definition`; {success_words},
    {error_words} and {unknown_words} in its parts are the status words of `statuses`. Raises DefinitionError."""
    reconciliation, document = read_file(folder / FILE, ReconciliationQueries)
    words = {f"{name}_words": f"select unnest([{statuses.sql_list(name)}])" for name in CLASSES}
    reconciliation = reconciliation.model_copy(update={"parts": {**words, **reconciliation.parts}})
    problems = [
        Problem(FILE, document.line(field_path), dotted(field_path), message)
        for field_path, message in _violations(reconciliation, definition)
    ]
    if problems:
        raise DefinitionError("\n".join(map(str, problems)))
    return reconciliation


def build_query(sql: str, reconciliation: ReconciliationQueries, context: ReconciliationContext) -> Query:
    """The query with its placeholders filled. User input is passed as parameters only."""
    parameters: dict[str, tuple[str, ...]] = {}

    def chosen(names: Collection[str]) -> str:
        conditions: list[str] = []
        for name in names:
            if context.scope.chosen(name):
                parameters[name] = context.scope.chosen(name)
                conditions.append(f"list_contains(${name}, {_COLUMNS.get(name, name)})")
        return " and ".join(conditions) or "true"

    def filled(found: re.Match[str]) -> str:
        span = context.span
        match found[1]:
            case "in_days":
                return (
                    f"created_at >= {_midnight(span.first)} and created_at < {_midnight(span.last + timedelta(days=1))}"
                )
            case "in_time":
                return f"created_at >= {_instant(span.start)} and created_at < {_instant(span.end)}"
            case "dims":
                return chosen(context.dims)
            case "outer":
                return chosen(context.outer)
            case "from":
                return _date(span.first)
            case "to":
                return _date(span.last)
            case "start":
                return _instant(span.start)
            case "end":
                return _instant(span.end)
            case "now":
                return _instant(context.scope.now)
            case "limit":
                return str(context.limit)
            case "running_day":
                return _date(context.running_day)
            case name:
                return f"({_PLACEHOLDER.sub(filled, reconciliation.parts[name].strip())})"

    whole = _PLACEHOLDER.sub(filled, sql.strip())
    return Query(whole, parameters, tables_in(whole))


def _violations(reconciliation: ReconciliationQueries, definition: Definition) -> Iterator[tuple[FieldPath, str]]:
    """Fields that are valid on their own but refer to something that does not exist."""
    tiles = {tile.id: tile for _, tile in definition.tiles}
    for tile_id in reconciliation.tiles:
        if tile_id not in tiles:
            yield ("tiles", tile_id), f"no page has a tile {tile_id}{did_you_mean(tile_id, tiles)}"
    for tile_id, tile in tiles.items():
        if tile_id not in reconciliation.tiles:
            yield (
                ("tiles",),
                f"{tile_id}, “{tile.title}”, has no reconciliation query; add a query of its figures from the raw rows",
            )
    known = (*_KNOWN, *reconciliation.parts)
    queries: list[tuple[FieldPath, str]] = [
        *((("parts", name), sql) for name, sql in reconciliation.parts.items()),
        *((("tiles", name, "sql"), query.sql) for name, query in reconciliation.tiles.items()),
        *((("also", name, "shown"), mart.shown) for name, mart in reconciliation.also.items()),
        *((("also", name, "raw"), mart.raw) for name, mart in reconciliation.also.items()),
    ]
    broken = False
    for field_path, sql in queries:
        for name in dict.fromkeys(_PLACEHOLDER.findall(sql)):
            if name not in known:
                broken = True
                yield field_path, f"{{{name}}}: neither a part nor a known placeholder{did_you_mean(name, known)}"
    for name in () if broken else reconciliation.parts:
        if _leads_to(name, name, reconciliation):
            yield ("parts", name), f"{{{name}}} includes itself; remove the circular reference"
    for name, mart in reconciliation.also.items():
        if f"analytics.{name}" not in mart.shown:
            yield ("also", name, "shown"), f"does not read analytics.{name}; name the entry after the mart it reads"


def _leads_to(
    start: str, wanted: str, reconciliation: ReconciliationQueries, seen: frozenset[str] = frozenset()
) -> bool:
    needs = {name for name in _PLACEHOLDER.findall(reconciliation.parts[start]) if name in reconciliation.parts}
    return wanted in needs or any(
        _leads_to(name, wanted, reconciliation, seen | {start}) for name in needs - seen - {start}
    )


def _date(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _midnight(day: date) -> str:
    return _instant(datetime.combine(day, time(), UTC))


def _instant(at: datetime) -> str:
    return f"timestamptz '{at:%Y-%m-%d %H:%M:%S.%f}+00'"
