"""The protocol through which access uses BigQuery, and its values: who currently reads what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

VIEWER = "roles/bigquery.dataViewer"
RAW_READER = "roles/datacatalog.categoryFineGrainedReader"
MASKED_READER = "roles/bigquerydatapolicy.maskedReader"


@dataclass(frozen=True, slots=True)
class DatasetAccess:
    """A dataset's access list: who reads all of it, and the views (dataset, view) authorized on it."""

    readers: frozenset[str] = frozenset()
    views: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class RowPolicyState:
    """A row access policy in BigQuery."""

    filter: str
    principals: frozenset[str]


@dataclass(frozen=True, slots=True)
class TagState:
    """A policy tag in BigQuery: who sees raw values, how they are masked, and for whom."""

    raw: frozenset[str] = frozenset()
    mask: str | None = None
    masked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TableState:
    """A table or view in BigQuery: its own readers, its row policies, and the tags of its columns by name."""

    readers: frozenset[str] = frozenset()
    row_policies: Mapping[str, RowPolicyState] = field(default_factory=dict[str, RowPolicyState])
    column_tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class AccessState:
    """The current access in BigQuery. `tables` are those of the warehouse's dataset, `views` those of the views
    dataset, both by name; `view_texts` is the views' SQL. `warehouse` and `views_dataset` are None if the dataset does
    not exist."""

    warehouse: DatasetAccess | None
    views_dataset: DatasetAccess | None
    tables: Mapping[str, TableState]
    views: Mapping[str, TableState]
    view_texts: Mapping[str, str]
    tags: Mapping[str, TagState]


class AccessPlane(Protocol):
    """The access control of BigQuery. Every method raises WarehouseError, which names a missing permission."""

    def run(self, statement: str) -> None:
        """Runs one statement and waits for its end."""
        ...

    def dataset(self, dataset: str) -> DatasetAccess | None:
        """The dataset's access list; None if the dataset does not exist."""
        ...

    def change_dataset(self, dataset: str, add: DatasetAccess, remove: DatasetAccess) -> None:
        """Adds entries to the access list and removes entries; all others stay unchanged."""
        ...

    def names(self, dataset: str) -> frozenset[str]:
        """The tables and views of an existing dataset."""
        ...

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        """Who has roles/bigquery.dataViewer on the table or view itself."""
        ...

    def row_policies(self, dataset: str, table: str) -> Mapping[str, RowPolicyState]:
        """The table's row access policies by name."""
        ...

    def view_texts(self, dataset: str) -> Mapping[str, str]:
        """The SQL of each view of the dataset."""
        ...

    def tags(self, taxonomy: str) -> Mapping[str, TagState]:
        """The taxonomy's tags by name; empty if the taxonomy does not exist."""
        ...

    def column_tags(self, taxonomy: str, dataset: str, table: str) -> Mapping[str, str]:
        """Column → the name of its tag, or the tag's resource if it belongs to another taxonomy."""
        ...

    def set_tag_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        """Lets exactly `principals` see raw values; creates the tag and its taxonomy if they are missing."""
        ...

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        """Lets exactly `principals` see values masked by `mask`; None removes the mask."""
        ...

    def set_column_tags(self, taxonomy: str, dataset: str, table: str, tags: Mapping[str, str | None]) -> None:
        """Sets the tags of columns by name; None removes a column's tag."""
        ...
