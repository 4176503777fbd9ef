"""What the source's catalog says of a relation the sync reads, and what is missing in it."""

from collections.abc import Callable, Mapping
from typing import Any

from audit_assets.ingest.extract import SourceTable, literal, quoted
from audit_assets.ingest.source_error import SourceError

Ask = Callable[[str], list[tuple[Any, ...]]]


def described(ask: Ask, name: str, columns: Mapping[str, str], setting: str) -> SourceTable:
    """The relation `name`, its schema before a dot, as the catalog has it. `columns` is field → column needed.

    Raises SourceError where the relation or a column is absent; `setting` is where observability/sync.yaml names them.
    """
    parts = ".".join(quoted(part) for part in name.split("."))
    ((found,),) = ask(f"select to_regclass({literal(parts)})::text")
    if found is None:
        raise SourceError(
            f"the source has no table {name}, or this role may not see its schema; "
            f"name it under {setting}.table in observability/sync.yaml and grant select on it"
        )
    types = dict(
        ask(
            "select attname::text, format_type(atttypid, null) from pg_attribute"
            f" where attrelid = to_regclass({literal(parts)}) and attnum > 0 and not attisdropped"
        )
    )
    for field, column in columns.items():
        if column not in types:
            raise SourceError(
                f"the source's table {name} has no column {column!r} for {field}; "
                f"it has {', '.join(sorted(types))}. Map it under {setting}.columns in observability/sync.yaml"
            )
    return SourceTable(parts, types)
