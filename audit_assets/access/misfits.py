"""Access files that are well-formed each but do not fit one another, the tables, or what BigQuery does with them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from audit_assets.access.model import EVERY_ROW, Policy, Tag
from audit_assets.access.reading import columns_of_view, tables_behind, tables_read, views_read, words
from audit_assets.rules.document import Place
from audit_assets.rules.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class Catalog:
    """Table → column → BigQuery type; which tables the sync writes in place; which are views, over what; and the
    column by which a table is partitioned."""

    tables: Mapping[str, Mapping[str, str]]
    in_place: frozenset[str]
    views: Mapping[str, frozenset[str]]
    partitions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Misfit:
    """What is wrong, and where: the file's name without its ending."""

    file: str
    place: Place
    message: str


def misfits(policy: Policy, catalog: Catalog) -> Iterator[Misfit]:
    """All of them, file by file."""
    yield from _of_groups(policy)
    yield from _of_grants(policy, catalog)
    yield from _of_views(policy, catalog)
    yield from _of_rows(policy, catalog)
    yield from _of_columns(policy, catalog)
    yield from _of_dashboards(policy)


def _of_groups(policy: Policy) -> Iterator[Misfit]:
    for name in policy.groups.writers:
        if name in policy.groups.groups:
            yield Misfit("groups", ("writers", name), f"{name} is a group already; give it another name")
    named = policy.principals([*policy.groups.groups, *policy.groups.writers])
    for number, principal in enumerate(policy.groups.former):
        if principal in named:
            yield Misfit("groups", ("former", number), f"{principal} is in use; take it from one of the two places")


def _of_grants(policy: Policy, catalog: Catalog) -> Iterator[Misfit]:
    for group, read in policy.grants.reads.items():
        place: Place = ("reads", group)
        if group not in policy.groups.groups:
            yield Misfit("grants", place, _no_group(group, policy.groups.groups))
        if not (read.datasets or read.tables or read.views):
            yield Misfit("grants", place, "reads nothing; name datasets, tables or views, or take the group out")
        for number, table in enumerate(read.tables):
            if table not in catalog.tables:
                yield Misfit("grants", (*place, "tables", number), _no_table(table, catalog))
        for number, view in enumerate(read.views):
            if view not in policy.views.views:
                said = f"{view}: no view of views.yaml{did_you_mean(view, policy.views.views)}"
                yield Misfit("grants", (*place, "views", number), said)
        tables = tables_read(policy, group, catalog.tables)
        for view, sources in catalog.views.items():
            for source in sorted(sources - tables if view in tables else ()):
                said = f"{view} is a view over {source}, which the group may not read; grant both, or neither"
                yield Misfit("grants", (*place, "tables"), said)


def _of_views(policy: Policy, catalog: Catalog) -> Iterator[Misfit]:
    for name, view in policy.views.views.items():
        place: Place = ("views", name)
        if view.of not in catalog.tables:
            yield Misfit("views", (*place, "of"), _no_table(view.of, catalog))
            continue
        if view.of in catalog.views:
            said = f"{view.of} is a view itself, and would have to be authorised too; name the table under it"
            yield Misfit("views", (*place, "of"), said)
        known = catalog.tables[view.of]
        for number, column in enumerate(view.columns):
            if column not in known:
                yield Misfit("views", (*place, "columns", number), _no_column(column, view.of, known))
        for column in view.computed:
            if column in view.columns:
                yield Misfit("views", (*place, "computed", column), f"{column} is among the columns already")
        partition = catalog.partitions.get(view.of)
        if partition is not None and partition not in view.columns:
            said = f"{view.of} is partitioned by {partition}, and who cannot name it reads all of it; add it"
            yield Misfit("views", (*place, "columns"), said)
        if not view.columns and not view.computed:
            yield Misfit("views", place, "has no columns; name those its readers may see")


def _of_rows(policy: Policy, catalog: Catalog) -> Iterator[Misfit]:
    everyone = {**policy.groups.groups, **policy.groups.writers}
    for table, rows in policy.rows.tables.items():
        place: Place = ("tables", table)
        if table not in catalog.tables:
            yield Misfit("rows", place, _no_table(table, catalog))
            continue
        if table not in catalog.in_place:
            yield Misfit("rows", place, _built_anew(table, "policies", "narrow it in a view"))
        for writer in policy.groups.writers:
            if not any(one.filter == EVERY_ROW and writer in one.to for one in rows.policies.values()):
                said = (
                    f"no policy with `filter: true` is for {writer}: BigQuery shows no row to whoever has no policy, "
                    "so its writes would fail or miss rows; add one"
                )
                yield Misfit("rows", place, said)
        for name, one in rows.policies.items():
            at: Place = (*place, "policies", name)
            if {"select", "exists"} & words(one.filter):
                said = "holds a subquery: masked columns and the Storage API refuse those; compare columns of the row"
                yield Misfit("rows", (*at, "filter"), said)
            for number, group in enumerate(one.to):
                if group not in everyone:
                    yield Misfit("rows", (*at, "to", number), _no_group(group, everyone))
                elif group in policy.groups.groups and table not in tables_behind(policy, group, catalog.tables):
                    said = f"{group} reads {table} neither itself nor through a view; grant it, or take it out here"
                    yield Misfit("rows", (*at, "to", number), said)
        for group in policy.groups.groups:
            seen = any(group in one.to for one in rows.policies.values())
            if not seen and table in tables_behind(policy, group, catalog.tables):
                said = (
                    f"{group} reads the table, through a view perhaps, and has no policy: it would see no row, "
                    "for a view shows what its reader may see; add it to one"
                )
                yield Misfit("rows", place, said)


def _of_columns(policy: Policy, catalog: Catalog) -> Iterator[Misfit]:
    everyone = {**policy.groups.groups, **policy.groups.writers}
    tagged: dict[tuple[str, str], str] = {}
    for name, tag in policy.columns.tags.items():
        place: Place = ("tags", name)
        for table, columns in tag.columns.items():
            at: Place = (*place, "columns", table)
            if table not in catalog.tables:
                yield Misfit("columns", at, _no_table(table, catalog))
                continue
            if table not in catalog.in_place:
                yield Misfit("columns", at, _built_anew(table, "tags", "leave the column out of it"))
            for number, column in enumerate(columns):
                if column not in catalog.tables[table]:
                    yield Misfit("columns", (*at, number), _no_column(column, table, catalog.tables[table]))
                elif (table, column) in tagged:
                    said = f"{column} has the tag {tagged[table, column]} already; BigQuery takes one"
                    yield Misfit("columns", (*at, number), said)
                elif tag.masked is not None and _unmaskable(tag.masked.by, catalog.tables[table][column]):
                    said = f"{tag.masked.by} masks text only; write ALWAYS_NULL or DEFAULT_MASKING_VALUE"
                    yield Misfit("columns", (*place, "masked", "by"), said)
                tagged.setdefault((table, column), name)
        yield from _of_readers(name, tag, policy, everyone, catalog)


def _of_readers(
    name: str, tag: Tag, policy: Policy, everyone: Mapping[str, object], catalog: Catalog
) -> Iterator[Misfit]:
    place: Place = ("tags", name)
    named = {"raw": tag.raw, "masked": tag.masked.to if tag.masked else (), "denied": tag.denied}
    seen: dict[str, str] = {}
    for field, groups in named.items():
        for group in groups:
            if group not in everyone:
                yield Misfit("columns", (*place, field), _no_group(group, everyone))
            if group in seen:
                yield Misfit("columns", (*place, field), f"{group} is under {seen[group]} already")
            seen[group] = field
    for writer in policy.groups.writers:
        if writer not in tag.raw:
            said = f"{writer} is not among them, and a MERGE reads what it changes: the sync would fail; add it"
            yield Misfit("columns", (*place, "raw"), said)
    for group in policy.groups.groups:
        for table, columns in tag.columns.items():
            itself = table in tables_read(policy, group, catalog.tables)
            if itself and group not in seen:
                said = (
                    f"{group} reads {table} and is under none of raw, masked and denied: its `select *` would fail; "
                    "say which"
                )
                yield Misfit("columns", place, said)
            for view in sorted(views_read(policy, group)):
                behind = policy.views.views.get(view)
                if behind is None or behind.of != table or seen.get(group) in ("raw", "masked"):
                    continue
                hidden = columns_of_view(behind, catalog.tables.get(table, {})) & set(columns)
                if hidden:
                    said = (
                        f"{group} reads {', '.join(sorted(hidden))} through the view {view}, which BigQuery refuses: "
                        "a view, authorised or not, asks for its reader's own right; add the group, or take the "
                        "column from the view"
                    )
                    yield Misfit("columns", place, said)


def _of_dashboards(policy: Policy) -> Iterator[Misfit]:
    seen: dict[str, str] = {}
    for number, folder in enumerate(policy.dashboards.folders):
        for group in folder.view:
            if group not in policy.groups.groups:
                said = _no_group(group, policy.groups.groups)
                yield Misfit("dashboards", ("folders", number, "view"), said)
        for page in folder.pages:
            if page in seen:
                yield Misfit("dashboards", ("folders", number, "pages"), f"{page} lies in {seen[page]} already")
            seen[page] = folder.folder


def _unmaskable(by: str, kind: str) -> bool:
    return by in ("SHA256", "LAST_FOUR_CHARACTERS") and kind != "string"


def _built_anew(table: str, what: str, mend: str) -> str:
    return f"{table} is none of the sync's own tables: building one anew, as dbt does, drops its {what} unseen; {mend}"


def _no_group(group: str, known: Iterable[str]) -> str:
    return f"{group}: no such group{did_you_mean(group, known)}"


def _no_table(table: str, catalog: Catalog) -> str:
    return f"{table}: no such table{did_you_mean(table, catalog.tables)}"


def _no_column(column: str, table: str, known: Mapping[str, str]) -> str:
    return f"{column}: no column of {table}{did_you_mean(column, known)}"
