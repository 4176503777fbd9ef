"""A change of access as a value: what is done, to what, and in words who gains or loses what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from audit_assets.warehouse.access import MASKED_READER, RAW_READER, AccessPlane, DatasetAccess

Effect = Literal["opens", "narrows", "keeps"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of SQL."""

    sql: str

    @property
    def text(self) -> str:
        return f"{self.sql};"


@dataclass(frozen=True, slots=True)
class DatasetList:
    """A change of a dataset's own list, which SQL has no words for where views are let in."""

    dataset: str
    add: DatasetAccess = field(default_factory=DatasetAccess)
    remove: DatasetAccess = field(default_factory=DatasetAccess)

    @property
    def text(self) -> str:
        lines = [f"-- datasets.patch {self.dataset}, access:"]
        for sign, access in (("+", self.add), ("-", self.remove)):
            lines += [f"--   {sign} READER {principal}" for principal in sorted(access.readers)]
            lines += [f"--   {sign} view {dataset}.{view}" for dataset, view in sorted(access.views)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class TagReaders:
    """A policy tag, made where it is absent, and exactly who sees raw values."""

    taxonomy: str
    tag: str
    description: str
    principals: frozenset[str]

    @property
    def text(self) -> str:
        held = _held(RAW_READER, self.principals)
        return f"-- policyTags.setIamPolicy {self.taxonomy} / {self.tag}, exactly:{held}"


@dataclass(frozen=True, slots=True)
class Mask:
    """How values of a tag are masked, and exactly for whom. None takes the mask away."""

    taxonomy: str
    tag: str
    by: str | None
    principals: frozenset[str]

    @property
    def text(self) -> str:
        if self.by is None:
            return f"-- dataPolicies.delete {self.taxonomy} / {self.tag}"
        held = _held(MASKED_READER, self.principals)
        return f"-- dataPolicies {self.taxonomy} / {self.tag}: {self.by}, exactly:{held}"


@dataclass(frozen=True, slots=True)
class ColumnTags:
    """The tags of a table's columns; None takes one away."""

    taxonomy: str
    dataset: str
    table: str
    tags: Mapping[str, str | None]

    @property
    def text(self) -> str:
        listed = "".join(f"\n--   {column}: {tag or 'no tag'}" for column, tag in sorted(self.tags.items()))
        return f"-- tables.patch {self.dataset}.{self.table}, policy tags:{listed}"


Action = Statement | DatasetList | TagReaders | Mask | ColumnTags


@dataclass(frozen=True, slots=True)
class Change:
    """One step. `target` is what it is about; `said` who gains or loses what."""

    effect: Effect
    target: str
    said: str
    action: Action


def _held(role: str, principals: Collection[str]) -> str:
    return "".join(f"\n--   {role} {one}" for one in sorted(principals))


def carry_out(action: Action, plane: AccessPlane) -> None:
    """Does it. Raises WarehouseError."""
    match action:
        case Statement(sql):
            plane.run(sql)
        case DatasetList(dataset, add, remove):
            plane.change_dataset(dataset, add, remove)
        case TagReaders(taxonomy, tag, description, principals):
            plane.set_tag_readers(taxonomy, tag, description, principals)
        case Mask(taxonomy, tag, by, principals):
            plane.set_mask(taxonomy, tag, by, principals)
        case ColumnTags(taxonomy, dataset, table, tags):
            plane.set_column_tags(taxonomy, dataset, table, tags)
