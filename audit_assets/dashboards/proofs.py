"""The proof of each figure, as proofs.yaml holds it, and its SQL: the same figure from the raw rows alone."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from audit_assets.dashboards.definition import Definition, Filter, Name, Text, TileId, tables_in
from audit_assets.dashboards.load import DefinitionError, read_file
from audit_assets.dashboards.query import Query
from audit_assets.dashboards.scope import Scope, Span
from audit_assets.rules.complaints import dotted
from audit_assets.rules.document import Place
from audit_assets.rules.model import Problem
from audit_assets.rules.spelling import did_you_mean

FILE = "proofs.yaml"

# Filters on single rows, and filters on the rows of a result; each is a column of its name, but for this one.
_COLUMNS: Mapping[str, str] = {"workspace": "workspace_id"}
_KNOWN = ("in_days", "in_time", "dims", "outer", "from", "to", "start", "end", "now", "limit", "running_day")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Proof(_Frozen):
    """The rows of a tile, from raw."""

    note: Text | None = Field(default=None, description="what the proof can show, and what it cannot")
    sql: Text = Field(description="a query with the tile's columns, by name")


class Total(_Frozen):
    """Numbers of a mart that tiles read, and the same from raw."""

    title: Text = Field(description="what is compared")
    filters: tuple[Filter, ...] = Field(default=(), description="the filters that narrow both")
    shown: Text = Field(description="a query of the mart")
    raw: Text = Field(description="the same from the raw rows")


class Proofs(_Frozen):
    """All proofs: of tiles by their id, of marts by their name."""

    parts: Mapping[Name, Text] = Field(default={}, description="queries that others name as {part}")
    tiles: Mapping[TileId, Proof] = Field(min_length=1, description="proofs by tile")
    also: Mapping[Name, Total] = Field(default={}, description="proofs of marts by table")


@dataclass(frozen=True)
class Asked:
    """What a proof is asked for: a scope, its time, the filters it answers to, and the tile's limit.

    `running_day` is the UTC day that was not over when the models were built.
    """

    scope: Scope
    span: Span
    running_day: date
    dims: Collection[str] = ()
    outer: Collection[str] = ()
    limit: int = 5000


def load_proofs(folder: Path, definition: Definition) -> Proofs:
    """The proofs of `folder`/proofs.yaml, one for each tile of `definition`. Raises DefinitionError."""
    proofs, document = read_file(folder / FILE, Proofs)
    problems = [
        Problem(FILE, document.line(place), dotted(place), said) for place, said in _misfits(proofs, definition)
    ]
    if problems:
        raise DefinitionError("\n".join(map(str, problems)))
    return proofs


def proof_query(sql: str, proofs: Proofs, asked: Asked) -> Query:
    """The SQL of a proof, filled in; a reader's words are parameters only."""
    parameters: dict[str, tuple[str, ...]] = {}

    def chosen(names: Collection[str]) -> str:
        conditions: list[str] = []
        for name in names:
            if asked.scope.chosen(name):
                parameters[name] = asked.scope.chosen(name)
                conditions.append(f"list_contains(${name}, {_COLUMNS.get(name, name)})")
        return " and ".join(conditions) or "true"

    def filled(found: re.Match[str]) -> str:
        span = asked.span
        match found[1]:
            case "in_days":
                return (
                    f"created_at >= {_midnight(span.first)} and created_at < {_midnight(span.last + timedelta(days=1))}"
                )
            case "in_time":
                return f"created_at >= {_instant(span.start)} and created_at < {_instant(span.end)}"
            case "dims":
                return chosen(asked.dims)
            case "outer":
                return chosen(asked.outer)
            case "from":
                return _date(span.first)
            case "to":
                return _date(span.last)
            case "start":
                return _instant(span.start)
            case "end":
                return _instant(span.end)
            case "now":
                return _instant(asked.scope.now)
            case "limit":
                return str(asked.limit)
            case "running_day":
                return _date(asked.running_day)
            case name:
                return f"({_PLACEHOLDER.sub(filled, proofs.parts[name].strip())})"

    whole = _PLACEHOLDER.sub(filled, sql.strip())
    return Query(whole, parameters, tables_in(whole))


def _misfits(proofs: Proofs, definition: Definition) -> Iterator[tuple[Place, str]]:
    """Fields that are well-formed each but name what is not there."""
    tiles = {tile.id: tile for _, tile in definition.tiles}
    for tile_id in proofs.tiles:
        if tile_id not in tiles:
            yield ("tiles", tile_id), f"no page has a tile {tile_id}{did_you_mean(tile_id, tiles)}"
    for tile_id, tile in tiles.items():
        if tile_id not in proofs.tiles:
            yield ("tiles",), f"{tile_id}, “{tile.title}”, has no proof; write a query of its figures from raw"
    known = (*_KNOWN, *proofs.parts)
    queries: list[tuple[Place, str]] = [
        *((("parts", name), sql) for name, sql in proofs.parts.items()),
        *((("tiles", name, "sql"), proof.sql) for name, proof in proofs.tiles.items()),
        *((("also", name, "shown"), total.shown) for name, total in proofs.also.items()),
        *((("also", name, "raw"), total.raw) for name, total in proofs.also.items()),
    ]
    broken = False
    for place, sql in queries:
        for name in dict.fromkeys(_PLACEHOLDER.findall(sql)):
            if name not in known:
                broken = True
                yield place, f"{{{name}}}: neither a part nor a known place{did_you_mean(name, known)}"
    for name in () if broken else proofs.parts:
        if _leads_to(name, name, proofs):
            yield ("parts", name), f"{{{name}}} is within itself; a part may name those that do not need it"
    for name, total in proofs.also.items():
        if f"analytics.{name}" not in total.shown:
            yield ("also", name, "shown"), f"does not read analytics.{name}; a proof is named for the mart it is of"


def _leads_to(start: str, wanted: str, proofs: Proofs, seen: frozenset[str] = frozenset()) -> bool:
    needs = {name for name in _PLACEHOLDER.findall(proofs.parts[start]) if name in proofs.parts}
    return wanted in needs or any(_leads_to(name, wanted, proofs, seen | {start}) for name in needs - seen - {start})


def _date(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _midnight(day: date) -> str:
    return _instant(datetime.combine(day, time(), UTC))


def _instant(at: datetime) -> str:
    return f"timestamptz '{at:%Y-%m-%d %H:%M:%S.%f}+00'"
