"""The columns of the dbt models, read from their contracts in dbt/models: one YAML file per model, named after it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from audit_assets.config.yaml_files import read_values

MODELS = Path(__file__).resolve().parents[2] / "dbt" / "models"

# A type that differs between the engines is written as a template in dbt's Jinja.
_BY_ENGINE = re.compile(r"\{\{ '(\w+)' if target\.type == 'bigquery' else '(\w+)' \}\}")


@dataclass(frozen=True)
class ColumnTypes:
    """A column's type in both engines."""

    bigquery: str
    duckdb: str


@cache
def contract(model: str) -> Mapping[str, ColumnTypes]:
    """Column → types of a dbt model, in the order of its contract. Raises KeyError if no model has that name, and
    ValueError if a column has no type or one that cannot be read."""
    for path in MODELS.glob(f"*/{model}.yml"):
        for documented in read_values(path.read_text(encoding="utf-8"))["models"]:
            if documented["name"] == model:
                return MappingProxyType({column["name"]: _types(path, column) for column in documented["columns"]})
    raise KeyError(model)


def contracts() -> Mapping[str, Mapping[str, ColumnTypes]]:
    """Model → column → types, for every model in staging and marts."""
    return {
        path.stem: contract(path.stem) for path in sorted(MODELS.glob("*/*.yml")) if path.with_suffix(".sql").exists()
    }


def _types(path: Path, column: Mapping[str, Any]) -> ColumnTypes:
    written = str(column.get("data_type") or "")
    if by_engine := _BY_ENGINE.fullmatch(written):
        return ColumnTypes(*by_engine.groups())
    if not written.isalnum():
        raise ValueError(
            f"{path.name}: {column['name']}: data_type {written!r} is no type; copy that of another column"
        )
    return ColumnTypes(written, written)
