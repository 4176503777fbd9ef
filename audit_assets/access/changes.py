"""A change of access as a value: the action, its target, and a summary of who gains or loses what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from audit_assets.warehouse.access import MASKED_READER, RAW_READER, DatasetAccess

Effect = Literal["opens", "narrows", "keeps"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement."""

    sql: str

    @property
    def text(self) -> str:
        return f"{self.sql};"


@dataclass(frozen=True, slots=True)
class DatasetList:
    """A change of a dataset's access list. SQL has no statement that authorizes a view on a dataset."""

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
    """Sets exactly who sees raw values of a policy tag, and creates the tag if it is missing."""

    taxonomy: str
    tag: str
    description: str
    principals: frozenset[str]

    @property
    def text(self) -> str:
        members = _member_lines(RAW_READER, self.principals)
        return f"-- policyTags.setIamPolicy {self.taxonomy} / {self.tag}, exactly:{members}"


@dataclass(frozen=True, slots=True)
class Mask:
    """Sets how values of a tag are masked, and exactly for whom. None removes the mask."""

    taxonomy: str
    tag: str
    by: str | None
    principals: frozenset[str]

    @property
    def text(self) -> str:
        if self.by is None:
            return f"-- dataPolicies.delete {self.taxonomy} / {self.tag}"
        members = _member_lines(MASKED_READER, self.principals)
        return f"-- dataPolicies {self.taxonomy} / {self.tag}: {self.by}, exactly:{members}"


@dataclass(frozen=True, slots=True)
class ColumnTags:
    """Sets the tags of a table's columns; None removes a column's tag."""

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
    """One step. `target` is the object that changes; `summary` says who gains or loses what."""

    effect: Effect
    target: str
    summary: str
    action: Action


def _member_lines(role: str, principals: Collection[str]) -> str:
    return "".join(f"\n--   {role} {principal}" for principal in sorted(principals))
