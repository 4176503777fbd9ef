"""The values of observability/access/*.yaml: groups, what each reads, and which rows and columns of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from audit_assets.config.validation import FrozenModel
from audit_assets.rules.model import Line, Prose

# IAM ignores the case of addresses. In lower case they can be compared as they are.
Principal = Annotated[
    str, StringConstraints(pattern=r"^((user|group|serviceAccount):[a-z0-9._+-]+@[a-z0-9.-]+|domain:[a-z0-9.-]+)$")
]
FormerPrincipal = Annotated[
    str,
    StringConstraints(
        pattern=r"^((user|group|serviceAccount):[a-z0-9._+-]+@[a-z0-9.-]+|domain:[a-z0-9.-]+"
        r"|projectReaders|allUsers|allAuthenticatedUsers)$"
    ),
]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,127}$")]
DatasetRole = Literal["warehouse", "views"]
Masking = Literal["SHA256", "ALWAYS_NULL", "DEFAULT_MASKING_VALUE", "LAST_FOUR_CHARACTERS"]
Page = Literal["overview", "capability", "workspace"]

EVERY_ROW = "true"
# `filter: true` is a boolean in YAML; here it is a SQL condition.
Filter = Annotated[Prose, BeforeValidator(lambda given: EVERY_ROW if given is True else given)]
# The prefix marks our row policies, so that one whose YAML was deleted can be dropped.
PREFIX = "ai_audit_"


class Group(FrozenModel):
    """People or accounts with the same access."""

    description: Prose = Field(description="who they are")
    principals: tuple[Principal, ...] = Field(
        min_length=1, description="group:, user:, serviceAccount: and an address in lower case, or domain: and a domain"
    )


class Groups(FrozenModel):
    """groups.yaml."""

    groups: Mapping[GroupName, Group] = Field(min_length=1, description="readers by name")
    writers: Mapping[GroupName, Group] = Field(
        min_length=1, description="the accounts that sync and build; row policies and column tags apply to them too"
    )
    former: tuple[FormerPrincipal, ...] = Field(
        default=(), description="principals that must no longer read: their access is revoked"
    )


class Read(FrozenModel):
    """What a group may read."""

    why: Prose = Field(description="why the group reads it")
    datasets: tuple[DatasetRole, ...] = Field(default=(), description="whole datasets: warehouse, views")
    tables: tuple[Identifier, ...] = Field(default=(), description="tables of the warehouse")
    views: tuple[Identifier, ...] = Field(default=(), description="views of views.yaml")


class Grants(FrozenModel):
    """grants.yaml."""

    reads: Mapping[GroupName, Read] = Field(min_length=1, description="what each group reads, by group")


class View(FrozenModel):
    """An authorized view: part of one table, for readers who may not read the table."""

    description: Prose = Field(description="what a row is")
    of: Identifier = Field(description="the table it reads")
    columns: tuple[Identifier, ...] = Field(default=(), description="columns that are passed through unchanged")
    computed: Mapping[Identifier, Prose] = Field(default={}, description="column to SQL expression")
    where: Prose | None = Field(default=None, description="a SQL condition; every row if omitted")


class Views(FrozenModel):
    """views.yaml."""

    views: Mapping[Identifier, View] = Field(default={}, description="authorized views by name")


class RowPolicy(FrozenModel):
    """The rows that some groups may see. A group in several policies sees the rows of all of them."""

    why: Prose = Field(description="why these rows")
    to: tuple[GroupName, ...] = Field(min_length=1, description="groups and writers")
    filter: Filter = Field(description="a SQL condition over one row, without a subquery; true for every row")


class Rows(FrozenModel):
    """The policies of one table."""

    policies: Mapping[Identifier, RowPolicy] = Field(min_length=1, description="policies by name")


class RowPolicies(FrozenModel):
    """rows.yaml."""

    tables: Mapping[Identifier, Rows] = Field(default={}, description="policies by table")


class Masked(FrozenModel):
    """Groups that see masked values."""

    to: tuple[GroupName, ...] = Field(min_length=1, description="groups")
    by: Masking = Field(description="SHA256, ALWAYS_NULL, DEFAULT_MASKING_VALUE or LAST_FOUR_CHARACTERS")


class Tag(FrozenModel):
    """A policy tag: a kind of column, and who sees its values."""

    description: Prose = Field(description="what the columns have in common")
    raw: tuple[GroupName, ...] = Field(min_length=1, description="groups and writers that see the values")
    masked: Masked | None = Field(default=None, description="groups that see masked values instead")
    denied: tuple[GroupName, ...] = Field(
        default=(), description="groups that read the table but whose queries must leave these columns out"
    )
    columns: Mapping[Identifier, tuple[Identifier, ...]] = Field(min_length=1, description="columns by table")


class Columns(FrozenModel):
    """columns.yaml."""

    taxonomy: Line = Field(description="the taxonomy's name, unique in the organisation")
    tags: Mapping[Identifier, Tag] = Field(default={}, description="policy tags by name")


class Folder(FrozenModel):
    """A folder of dashboards: a folder in Looker, a collection in Metabase."""

    folder: Line = Field(description="its path")
    pages: tuple[Page, ...] = Field(min_length=1, description="overview, capability, workspace")
    view: tuple[GroupName, ...] = Field(min_length=1, description="groups that may view it")


class Dashboards(FrozenModel):
    """dashboards.yaml."""

    folders: tuple[Folder, ...] = Field(min_length=1, description="folders and who may view them")


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy, checked: the files are consistent with one another and with the tables."""

    groups: Groups
    grants: Grants
    views: Views
    rows: RowPolicies
    columns: Columns
    dashboards: Dashboards

    def principals(self, names: Iterable[str]) -> frozenset[str]:
        """The principals of the groups and writers `names`."""
        known = {**self.groups.groups, **self.groups.writers}
        return frozenset(principal for name in names for principal in known[name].principals)

    @property
    def managed_principals(self) -> frozenset[str]:
        """Every principal the YAML names. Access of other principals is never revoked."""
        return self.principals([*self.groups.groups, *self.groups.writers]) | frozenset(self.groups.former)

    def display_name(self, principal: str) -> str:
        """A principal with the names of its groups, for messages."""
        known = {**self.groups.groups, **self.groups.writers}
        names = [name for name, group in known.items() if principal in group.principals]
        return f"{', '.join(names)} ({principal})" if names else principal


@dataclass(frozen=True, slots=True)
class Datasets:
    """The project, the warehouse's dataset and its location."""

    project: str
    dataset: str
    location: str

    @property
    def views(self) -> str:
        """The dataset of the authorized views."""
        return f"{self.dataset}_views"

    def dataset_name(self, role: DatasetRole) -> str:
        return self.dataset if role == "warehouse" else self.views

    def path(self, dataset: str, name: str) -> str:
        """The full name of a table or view in SQL."""
        return f"`{self.project}.{dataset}.{name}`"
