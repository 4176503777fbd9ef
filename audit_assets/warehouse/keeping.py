"""What the stages after the sync do with a warehouse that is held, whatever its engine."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


class Keeper(Protocol):
    """What building, publishing and upkeep do with a warehouse that is held."""

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query in words that both engines have. Times are UTC."""
        ...

    def columns(self) -> Mapping[str, Mapping[str, str]]:
        """Column → DuckDB type of every table that is published, in order."""
        ...

    def views(self) -> Mapping[str, str]:
        """Views of the snapshot over raw rows, by their SQL; none where raw rows are not in it."""
        ...

    def copy(self, sql: str, path: Path) -> int:
        """Writes the rows of a query to a new Parquet file; how many."""
        ...

    def copy_days(self, table: str, day_of: str, paths: Mapping[date, Path]) -> Mapping[date, int]:
        """Writes each UTC day of a table to its new Parquet file; how many rows each. `day_of` is the day of a row."""
        ...

    def unbuilt_days(self) -> tuple[date, ...]:
        """The UTC days that changed since the models last read them."""
        ...

    def mark_built(self, days: Collection[date]) -> None:
        """Records that the models have read `days`. The caller has held the lock since before they did."""
        ...

    def tidy(self, before: datetime) -> int:
        """Drops delta rows of the sync state that started before `before` (UTC), keeps repairs and failures, and gives
        space back; how many rows went."""
        ...

    def forget_drill(self, capability: str) -> None:
        """Takes a drill's capability out of the registry, which no build does; business capabilities stay."""
        ...

    def copied_versions(self) -> Mapping[str, str]:
        """Table of the alert ledger → what its copy was made from."""
        ...

    def replace_copies(self, copies: Mapping[str, pa.Table], versions: Mapping[str, str]) -> None:
        """Puts each copy in the place of the one before, and its version on record, in one commit."""
        ...
