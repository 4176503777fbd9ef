"""The values of observability/access/*.yaml: groups, what each reads, and which rows and columns of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from audit_assets.rules.model import Line, Prose

# IAM folds the case of addresses: written in lower case they compare as they are.
Principal = Annotated[
    str, StringConstraints(pattern=r"^((user|group|serviceAccount):[a-z0-9._+-]+@[a-z0-9.-]+|domain:[a-z0-9.-]+)$")
]
Former = Annotated[
    str,
    StringConstraints(
        pattern=r"^((user|group|serviceAccount):[a-z0-9._+-]+@[a-z0-9.-]+|domain:[a-z0-9.-]+"
        r"|projectReaders|allUsers|allAuthenticatedUsers)$"
    ),
]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,127}$")]
Which = Literal["warehouse", "views"]
Masking = Literal["SHA256", "ALWAYS_NULL", "DEFAULT_MASKING_VALUE", "LAST_FOUR_CHARACTERS"]
Page = Literal["overview", "capability", "workspace"]

EVERY_ROW = "true"
# `filter: true` is a boolean in YAML and a condition to us.
Filter = Annotated[Prose, BeforeValidator(lambda given: EVERY_ROW if given is True else given)]
# A policy of rows is known for ours by its name, so that one whose YAML is gone can be taken back.
PREFIX = "ai_audit_"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Group(_Frozen):
    """People or accounts that may do the same."""

    description: Prose = Field(description="who they are")
    principals: tuple[Principal, ...] = Field(
        min_length=1, description="group:, user:, serviceAccount: and an address in lower case, or domain: and a domain"
    )


class Groups(_Frozen):
    """groups.yaml."""

    groups: Mapping[GroupName, Group] = Field(min_length=1, description="readers by name")
    writers: Mapping[GroupName, Group] = Field(
        min_length=1, description="the accounts that sync and build; policies of rows and columns hold for them too"
    )
    former: tuple[Former, ...] = Field(
        default=(), description="principals that could read once and shall not: what they hold is taken back"
    )


class Read(_Frozen):
    """What a group reads."""

    why: Prose = Field(description="what it reads that for")
    datasets: tuple[Which, ...] = Field(default=(), description="whole datasets: warehouse, views")
    tables: tuple[Identifier, ...] = Field(default=(), description="tables of the warehouse")
    views: tuple[Identifier, ...] = Field(default=(), description="views of views.yaml")


class Grants(_Frozen):
    """grants.yaml."""

    reads: Mapping[GroupName, Read] = Field(min_length=1, description="what each group reads, by group")


class View(_Frozen):
    """An authorised view: part of one table, for readers who may not read the table."""

    description: Prose = Field(description="what a row is")
    of: Identifier = Field(description="the table it reads")
    columns: tuple[Identifier, ...] = Field(default=(), description="columns taken as they are")
    computed: Mapping[Identifier, Prose] = Field(default={}, description="column to SQL expression")
    where: Prose | None = Field(default=None, description="a SQL condition; every row, where it is left out")


class Views(_Frozen):
    """views.yaml."""

    views: Mapping[Identifier, View] = Field(default={}, description="authorised views by name")


class RowPolicy(_Frozen):
    """Rows that some may see. Who is in several policies sees what any of them shows."""

    why: Prose = Field(description="why these rows")
    to: tuple[GroupName, ...] = Field(min_length=1, description="groups and writers")
    filter: Filter = Field(description="a SQL condition over one row, without a subquery; true for every row")


class Rows(_Frozen):
    """The policies of one table."""

    policies: Mapping[Identifier, RowPolicy] = Field(min_length=1, description="policies by name")


class RowPolicies(_Frozen):
    """rows.yaml."""

    tables: Mapping[Identifier, Rows] = Field(default={}, description="policies by table")


class Masked(_Frozen):
    """Who sees something else in a value's place."""

    to: tuple[GroupName, ...] = Field(min_length=1, description="groups")
    by: Masking = Field(description="SHA256, ALWAYS_NULL, DEFAULT_MASKING_VALUE or LAST_FOUR_CHARACTERS")


class Tag(_Frozen):
    """A kind of column, and who sees its values."""

    description: Prose = Field(description="what the columns have in common")
    raw: tuple[GroupName, ...] = Field(min_length=1, description="groups and writers that see the values")
    masked: Masked | None = Field(default=None, description="groups that see something in their place")
    denied: tuple[GroupName, ...] = Field(
        default=(), description="groups that read the table but whose queries must leave these columns out"
    )
    columns: Mapping[Identifier, tuple[Identifier, ...]] = Field(min_length=1, description="columns by table")


class Columns(_Frozen):
    """columns.yaml."""

    taxonomy: Line = Field(description="the taxonomy's name, unique in the organisation")
    tags: Mapping[Identifier, Tag] = Field(default={}, description="policy tags by name")


class Folder(_Frozen):
    """A folder of dashboards in Looker, a collection in Metabase."""

    folder: Line = Field(description="its path")
    pages: tuple[Page, ...] = Field(min_length=1, description="overview, capability, workspace")
    view: tuple[GroupName, ...] = Field(min_length=1, description="groups that may look")


class Dashboards(_Frozen):
    """dashboards.yaml."""

    folders: tuple[Folder, ...] = Field(min_length=1, description="folders and who may look")


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it, checked: the files fit one another and the tables."""

    groups: Groups
    grants: Grants
    views: Views
    rows: RowPolicies
    columns: Columns
    dashboards: Dashboards

    def principals(self, names: Iterable[str]) -> frozenset[str]:
        """The principals of those groups and writers."""
        known = {**self.groups.groups, **self.groups.writers}
        return frozenset(principal for name in names for principal in known[name].principals)

    @property
    def managed(self) -> frozenset[str]:
        """Every principal the YAML names. What others hold is not ours to take."""
        return self.principals([*self.groups.groups, *self.groups.writers]) | frozenset(self.groups.former)

    def called(self, principal: str) -> str:
        """The group's name for a principal, with the principal itself."""
        known = {**self.groups.groups, **self.groups.writers}
        names = [name for name, group in known.items() if principal in group.principals]
        return f"{', '.join(names)} ({principal})" if names else principal


@dataclass(frozen=True, slots=True)
class Datasets:
    """Where the warehouse is: project, its dataset, and the location of both."""

    project: str
    dataset: str
    location: str

    @property
    def views(self) -> str:
        """The dataset of the authorised views, beside the warehouse's."""
        return f"{self.dataset}_views"

    def which(self, which: Which) -> str:
        return self.dataset if which == "warehouse" else self.views

    def path(self, dataset: str, name: str) -> str:
        """A table's or view's name as SQL has it."""
        return f"`{self.project}.{dataset}.{name}`"
