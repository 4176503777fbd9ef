"""Checks the access files against one another, the tables, and the limits of BigQuery."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from audit_assets.access.model import EVERY_ROW, Policy, Tag
from audit_assets.access.queries import columns_of_view, identifiers, tables_behind, tables_read, views_read
from audit_assets.config.validation import did_you_mean
from audit_assets.config.yaml_files import FieldPath
from audit_assets.warehouse.schema import TABLES


@dataclass(frozen=True, slots=True)
class Catalog:
    """`tables`: table → column → BigQuery type. `in_place`: the tables the sync writes in place. `views`: view → the
    tables it reads. `partitions`: table → the column it is partitioned by."""

    tables: Mapping[str, Mapping[str, str]]
    in_place: frozenset[str]
    views: Mapping[str, frozenset[str]]
    partitions: Mapping[str, str]


# dbt's only view. It shows the rows that its reader may see of the table it reads.
_VIEWS = {"stg_ai_audit_logs": frozenset({"ai_audit_logs"})}
# A query without a condition on this column is refused, or reads the whole table.
_PARTITIONS = {"ai_audit_logs": "created_at"}


def access_catalog(tables: Mapping[str, Mapping[str, str]]) -> Catalog:
    """The catalog of `tables`: table → column → BigQuery type, of the sync, of dbt and of the ledger export.

    The sync writes its own tables in place. dbt rebuilds its tables, and access to the ledger export is not narrowed.
    """
    return Catalog(tables, frozenset(TABLES) & frozenset(tables), _VIEWS, _PARTITIONS)


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong, and where. `file` is the file's name without its extension."""

    file: str
    place: FieldPath
    message: str


def violations(policy: Policy, catalog: Catalog) -> Iterator[Violation]:
    """All violations, file by file."""
    yield from _of_groups(policy)
    yield from _of_grants(policy, catalog)
    yield from _of_views(policy, catalog)
    yield from _of_rows(policy, catalog)
    yield from _of_columns(policy, catalog)
    yield from _of_dashboards(policy)


def _of_groups(policy: Policy) -> Iterator[Violation]:
    for name in policy.groups.writers:
        if name in policy.groups.groups:
            yield Violation("groups", ("writers", name), f"{name} is a group already; give it another name")
    named = policy.principals([*policy.groups.groups, *policy.groups.writers])
    for number, principal in enumerate(policy.groups.former):
        if principal in named:
            yield Violation(
                "groups", ("former", number), f"{principal} is in use; remove it from one of the two places"
            )


def _of_grants(policy: Policy, catalog: Catalog) -> Iterator[Violation]:
    for group, read in policy.grants.reads.items():
        place: FieldPath = ("reads", group)
        if group not in policy.groups.groups:
            yield Violation("grants", place, _no_group(group, policy.groups.groups))
        if not (read.datasets or read.tables or read.views):
            yield Violation("grants", place, "reads nothing; name datasets, tables or views, or remove the group")
        for number, table in enumerate(read.tables):
            if table not in catalog.tables:
                yield Violation("grants", (*place, "tables", number), _no_table(table, catalog))
        for number, view in enumerate(read.views):
            if view not in policy.views.views:
                message = f"{view}: no view of views.yaml{did_you_mean(view, policy.views.views)}"
                yield Violation("grants", (*place, "views", number), message)
        tables = tables_read(policy, group, catalog.tables)
        for view, sources in catalog.views.items():
            for source in sorted(sources - tables if view in tables else ()):
                message = f"{view} is a view over {source}, which the group may not read; grant both, or neither"
                yield Violation("grants", (*place, "tables"), message)


def _of_views(policy: Policy, catalog: Catalog) -> Iterator[Violation]:
    for name, view in policy.views.views.items():
        place: FieldPath = ("views", name)
        if view.of not in catalog.tables:
            yield Violation("views", (*place, "of"), _no_table(view.of, catalog))
            continue
        if view.of in catalog.views:
            message = f"{view.of} is a view itself, and would have to be authorized too; name the table it reads"
            yield Violation("views", (*place, "of"), message)
        known = catalog.tables[view.of]
        for number, column in enumerate(view.columns):
            if column not in known:
                yield Violation("views", (*place, "columns", number), _no_column(column, view.of, known))
        for column in view.computed:
            if column in view.columns:
                yield Violation("views", (*place, "computed", column), f"{column} is among the columns already")
        partition = catalog.partitions.get(view.of)
        if partition is not None and partition not in view.columns:
            message = f"{view.of} is partitioned by {partition}, and a query without it reads the whole table; add it"
            yield Violation("views", (*place, "columns"), message)
        if not view.columns and not view.computed:
            yield Violation("views", place, "has no columns; name the columns its readers may see")


def _of_rows(policy: Policy, catalog: Catalog) -> Iterator[Violation]:
    everyone = {**policy.groups.groups, **policy.groups.writers}
    for table, rows in policy.rows.tables.items():
        place: FieldPath = ("tables", table)
        if table not in catalog.tables:
            yield Violation("rows", place, _no_table(table, catalog))
            continue
        if table not in catalog.in_place:
            yield Violation("rows", place, _rebuilt_by_dbt(table, "policies", "narrow it in a view"))
        for writer in policy.groups.writers:
            if not any(
                row_policy.filter == EVERY_ROW and writer in row_policy.to for row_policy in rows.policies.values()
            ):
                message = (
                    f"no policy with `filter: true` is for {writer}: BigQuery shows no row to a principal without one, "
                    "so its writes would fail or miss rows; add one"
                )
                yield Violation("rows", place, message)
        for name, row_policy in rows.policies.items():
            at: FieldPath = (*place, "policies", name)
            if {"select", "exists"} & identifiers(row_policy.filter):
                message = (
                    "holds a subquery: masked columns and the Storage API refuse those; compare columns of the row"
                )
                yield Violation("rows", (*at, "filter"), message)
            for number, group in enumerate(row_policy.to):
                if group not in everyone:
                    yield Violation("rows", (*at, "to", number), _no_group(group, everyone))
                elif group in policy.groups.groups and table not in tables_behind(policy, group, catalog.tables):
                    message = (
                        f"{group} reads {table} neither directly nor through a view; grant it, or remove the group here"
                    )
                    yield Violation("rows", (*at, "to", number), message)
        for group in policy.groups.groups:
            seen = any(group in row_policy.to for row_policy in rows.policies.values())
            if not seen and table in tables_behind(policy, group, catalog.tables):
                message = (
                    f"{group} reads the table, directly or through a view, and has no policy: it would see no row, "
                    "since a view shows only what its reader may see; add it to a policy"
                )
                yield Violation("rows", place, message)


def _of_columns(policy: Policy, catalog: Catalog) -> Iterator[Violation]:
    everyone = {**policy.groups.groups, **policy.groups.writers}
    tagged: dict[tuple[str, str], str] = {}
    for name, tag in policy.columns.tags.items():
        place: FieldPath = ("tags", name)
        for table, columns in tag.columns.items():
            at: FieldPath = (*place, "columns", table)
            if table not in catalog.tables:
                yield Violation("columns", at, _no_table(table, catalog))
                continue
            if table not in catalog.in_place:
                yield Violation("columns", at, _rebuilt_by_dbt(table, "tags", "leave the column out of it"))
            for number, column in enumerate(columns):
                if column not in catalog.tables[table]:
                    yield Violation("columns", (*at, number), _no_column(column, table, catalog.tables[table]))
                elif (table, column) in tagged:
                    message = f"{column} has the tag {tagged[table, column]} already; BigQuery takes one"
                    yield Violation("columns", (*at, number), message)
                elif tag.masked is not None and _unmaskable(tag.masked.by, catalog.tables[table][column]):
                    message = f"{tag.masked.by} masks text only; write ALWAYS_NULL or DEFAULT_MASKING_VALUE"
                    yield Violation("columns", (*place, "masked", "by"), message)
                tagged.setdefault((table, column), name)
        yield from _of_readers(name, tag, policy, everyone, catalog)


def _of_readers(
    name: str, tag: Tag, policy: Policy, everyone: Mapping[str, object], catalog: Catalog
) -> Iterator[Violation]:
    place: FieldPath = ("tags", name)
    named = {"raw": tag.raw, "masked": tag.masked.to if tag.masked else (), "denied": tag.denied}
    seen: dict[str, str] = {}
    for field, groups in named.items():
        for group in groups:
            if group not in everyone:
                yield Violation("columns", (*place, field), _no_group(group, everyone))
            if group in seen:
                yield Violation("columns", (*place, field), f"{group} is under {seen[group]} already")
            seen[group] = field
    for writer in policy.groups.writers:
        if writer not in tag.raw:
            message = f"{writer} is missing here, and a MERGE reads what it changes: the sync would fail; add it"
            yield Violation("columns", (*place, "raw"), message)
    for group in policy.groups.groups:
        for table, columns in tag.columns.items():
            itself = table in tables_read(policy, group, catalog.tables)
            if itself and group not in seen:
                message = (
                    f"{group} reads {table} and is under none of raw, masked and denied: its `select *` would fail; "
                    "add it to one of them"
                )
                yield Violation("columns", place, message)
            for view in sorted(views_read(policy, group)):
                behind = policy.views.views.get(view)
                if behind is None or behind.of != table or seen.get(group) in ("raw", "masked"):
                    continue
                hidden = columns_of_view(behind, catalog.tables.get(table, {})) & set(columns)
                if hidden:
                    message = (
                        f"{group} reads {', '.join(sorted(hidden))} through the view {view}, which BigQuery refuses: "
                        "a view, authorized or not, requires its reader's own permission; add the group, or remove "
                        "the column from the view"
                    )
                    yield Violation("columns", place, message)


def _of_dashboards(policy: Policy) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    for number, folder in enumerate(policy.dashboards.folders):
        for group in folder.view:
            if group not in policy.groups.groups:
                message = _no_group(group, policy.groups.groups)
                yield Violation("dashboards", ("folders", number, "view"), message)
        for page in folder.pages:
            if page in seen:
                yield Violation("dashboards", ("folders", number, "pages"), f"{page} is in {seen[page]} already")
            seen[page] = folder.folder


def _unmaskable(by: str, kind: str) -> bool:
    return by in ("SHA256", "LAST_FOUR_CHARACTERS") and kind != "string"


def _rebuilt_by_dbt(table: str, what: str, fix: str) -> str:
    return f"{table} is not one of the sync's own tables: dbt rebuilds it, which silently drops its {what}; {fix}"


def _no_group(group: str, known: Iterable[str]) -> str:
    return f"{group}: no such group{did_you_mean(group, known)}"


def _no_table(table: str, catalog: Catalog) -> str:
    return f"{table}: no such table{did_you_mean(table, catalog.tables)}"


def _no_column(column: str, table: str, known: Mapping[str, str]) -> str:
    return f"{column}: no column of {table}{did_you_mean(column, known)}"
