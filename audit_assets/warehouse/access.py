"""What access needs of BigQuery, as a protocol, and the values that pass: who reads what there now."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

VIEWER = "roles/bigquery.dataViewer"
RAW_READER = "roles/datacatalog.categoryFineGrainedReader"
MASKED_READER = "roles/bigquerydatapolicy.maskedReader"


@dataclass(frozen=True, slots=True)
class DatasetAccess:
    """A dataset's own list: who reads all of it, and the views (dataset, view) it lets in."""

    readers: frozenset[str] = frozenset()
    views: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class RowPolicyThere:
    """A row access policy as BigQuery has it."""

    filter: str
    principals: frozenset[str]


@dataclass(frozen=True, slots=True)
class TagThere:
    """A policy tag: who sees raw values; how they are masked, and for whom."""

    raw: frozenset[str] = frozenset()
    mask: str | None = None
    masked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TableThere:
    """A table or view: who may read it by a grant of its own, its row policies, and its columns' tags by name."""

    readers: frozenset[str] = frozenset()
    row_policies: Mapping[str, RowPolicyThere] = field(default_factory=dict[str, RowPolicyThere])
    column_tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class State:
    """What is there now. `tables` are those of the warehouse's dataset, `views` those beside it, by name;
    `view_texts` their SQL. None: the dataset is not there."""

    warehouse: DatasetAccess | None
    beside: DatasetAccess | None
    tables: Mapping[str, TableThere]
    views: Mapping[str, TableThere]
    view_texts: Mapping[str, str]
    tags: Mapping[str, TagThere]


class AccessPlane(Protocol):
    """BigQuery as far as access goes. Every method raises WarehouseError, with the permission that is missing."""

    def run(self, statement: str) -> None:
        """Runs one statement to its end."""
        ...

    def dataset(self, dataset: str) -> DatasetAccess | None:
        """The dataset's own list, None where there is no such dataset."""
        ...

    def change_dataset(self, dataset: str, add: DatasetAccess, remove: DatasetAccess) -> None:
        """Adds to the list and removes from it, and leaves all else on it as it is."""
        ...

    def names(self, dataset: str) -> frozenset[str]:
        """The tables and views of a dataset that is there."""
        ...

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        """Who holds roles/bigquery.dataViewer on the table or view itself."""
        ...

    def row_policies(self, dataset: str, table: str) -> Mapping[str, RowPolicyThere]:
        """The table's row access policies by name."""
        ...

    def view_texts(self, dataset: str) -> Mapping[str, str]:
        """The SQL of each view of the dataset."""
        ...

    def tags(self, taxonomy: str) -> Mapping[str, TagThere]:
        """The taxonomy's tags by name; none where there is no such taxonomy."""
        ...

    def column_tags(self, taxonomy: str, dataset: str, table: str) -> Mapping[str, str]:
        """Column → the name of its tag, or the resource of one that is not of the taxonomy."""
        ...

    def set_tag_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        """Makes the tag, and its taxonomy, where absent; exactly `principals` see raw values then."""
        ...

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        """Exactly `principals` see values masked by `mask`; None takes the mask away."""
        ...

    def set_column_tags(self, taxonomy: str, dataset: str, table: str, tags: Mapping[str, str | None]) -> None:
        """Gives columns their tags by name; None takes a column's tag away."""
        ...
