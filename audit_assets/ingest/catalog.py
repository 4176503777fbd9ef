"""Looks up a source relation in the catalog of Postgres and checks that it has the columns the sync needs."""

from collections.abc import Callable, Mapping
from typing import Any

from audit_assets.ingest.extract import NAIVE_TYPES, ZONED_TYPES, SourceTable, literal, quoted
from audit_assets.ingest.policy import parts_of
from audit_assets.ingest.source_connection import SourceError

RunQuery = Callable[[str], list[tuple[Any, ...]]]

_TIMES = ("created_at", "last_accessed_at")
_DOCUMENTS = ("request_metadata", "response_metadata")

# pg_type.typcategory and typtype.
_STRING, _ARRAY = "S", "A"
_OF_PARTS = {"c": "a row", "r": "a range", "m": "a range"}


def describe_table(run_query: RunQuery, name: str, columns: Mapping[str, str], setting: str) -> SourceTable:
    """The relation `name` (with its schema before a dot) from the catalog; domains are resolved to their base type.

    `columns` maps each field to the column it needs, `setting` is the key in observability/sync.yaml that names them.
    Raises SourceError if the relation or a column is missing, or if a column's type cannot be read as its field.
    """
    names = parts_of(name)
    relation = ".".join(map(quoted, names))
    ((found,),) = run_query(f"select to_regclass({literal(relation)})::text")
    if found is None:
        dotted = f'; a table with a dot in its name is quoted there: "{name}"' if len(names) == 2 else ""
        raise SourceError(
            f"the source has no table {name}, or this role may not see its schema; "
            f"name it under {setting}.table in observability/sync.yaml and grant select on it{dotted}"
        )
    rows = run_query(
        f"""with recursive resolved as (
            select attname::text as name, atttypid as type from pg_attribute
            where attrelid = to_regclass({literal(relation)}) and attnum > 0 and not attisdropped
            union all
            select resolved.name, t.typbasetype from resolved join pg_type t on t.oid = resolved.type
            where t.typtype = 'd'
        )
        select resolved.name, format_type(t.oid, null), t.typcategory::text, t.typtype::text
        from resolved join pg_type t on t.oid = resolved.type where t.typtype <> 'd'"""
    )
    kinds = {column: (kind, category, form) for column, kind, category, form in rows}
    for field, column in columns.items():
        if column not in kinds:
            raise SourceError(
                f"the source's table {name} has no column {column!r} for {field}; "
                f"it has {', '.join(sorted(kinds))}. Map it under {setting}.columns in observability/sync.yaml"
            )
        problem = _type_problem(field, column, *kinds[column])
        if problem is not None:
            raise SourceError(
                f"the source's table {name} has for {field} the column {column!r} of {kinds[column][0]}, {problem}; "
                f"name another column under {setting}.columns in observability/sync.yaml, or a view that converts it"
            )
    return SourceTable(relation, {column: kind for column, (kind, _, _) in kinds.items()})


def _type_problem(field: str, column: str, kind: str, category: str, form: str) -> str | None:
    """Why a column of this type cannot be read as the field; None if it can."""
    if field in _TIMES:
        if kind in (*ZONED_TYPES, *NAIVE_TYPES) or category == _STRING:
            return None
        if category == "N":
            return f"a number whose unit is not known (to_timestamp({column} / 1000.0) converts milliseconds)"
        return "which is not a time"
    if field in _DOCUMENTS:
        return None if kind in ("jsonb", "json") or category == _STRING else "which is not JSON"
    if category == _ARRAY:
        return "a list"
    return _OF_PARTS.get(form)
