"""Plans the access changes: compares the files with the current state of BigQuery."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from audit_assets.access import statements
from audit_assets.access.changes import Change, ColumnTags, DatasetList, Effect, Mask, Statement, TagReaders
from audit_assets.access.cross_checks import Catalog
from audit_assets.access.model import DatasetRole, Datasets, Policy, RowPolicy
from audit_assets.warehouse.access import AccessPlane, AccessState, DatasetAccess, RowPolicyState, TableState, TagState
from audit_assets.warehouse.protocol import WarehouseError


def state_without_access(catalog: Catalog) -> AccessState:
    """A state in which every table exists and nobody has access."""
    tables = {name: TableState() for name in catalog.tables}
    return AccessState(DatasetAccess(), None, tables, {}, {}, {})


def read_state(plane: AccessPlane, policy: Policy, datasets: Datasets, catalog: Catalog) -> AccessState:
    """The current access in BigQuery. Raises WarehouseError, also if the warehouse's dataset does not exist yet."""
    warehouse = plane.dataset(datasets.dataset)
    if warehouse is None:
        raise WarehouseError(
            f"{datasets.project}.{datasets.dataset} does not exist; run `audit sync --destination bigquery` first, or "
            "name another in AI_AUDIT_BIGQUERY_PROJECT and AI_AUDIT_BIGQUERY_DATASET"
        )
    taxonomy = policy.columns.taxonomy
    tables: dict[str, TableState] = {}
    for name in sorted(plane.names(datasets.dataset)):
        if "__dbt_tmp" in name:  # dbt deletes it within moments
            continue
        # dbt's rebuilds drop policies and tags, so only the sync's own tables are checked for them.
        in_place = name in catalog.in_place
        tables[name] = TableState(
            plane.readers(datasets.dataset, name),
            plane.row_policies(datasets.dataset, name) if in_place else {},
            plane.column_tags(taxonomy, datasets.dataset, name) if in_place else {},
        )
    views_dataset = plane.dataset(datasets.views)
    views: dict[str, TableState] = {}
    texts: dict[str, str] = {}
    if views_dataset is not None:
        views = {name: TableState(plane.readers(datasets.views, name)) for name in sorted(plane.names(datasets.views))}
        texts = dict(plane.view_texts(datasets.views))
    return AccessState(warehouse, views_dataset, tables, views, texts, plane.tags(taxonomy))


def row_policies(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[Change]:
    """Row policies to create or change. Those for every row come first: from a table's first policy on, principals
    without a policy see no row of it, and the writers must not be among them."""
    for table, rows in policy.rows.tables.items():
        if table not in state.tables:
            continue
        current = state.tables[table].row_policies
        ordered = sorted(rows.policies.items(), key=lambda item: not statements.is_every_row(item[1]))
        for name, row_policy in ordered:
            now = current.get(statements.policy_name(name))
            if now is not None and _is_unchanged(row_policy, now, policy):
                continue
            sql = statements.create_row_policy(datasets, table, name, row_policy, policy)
            effect, summary = _describe_policy(name, row_policy, now, f"{datasets.dataset}.{table}", policy)
            yield Change(effect, f"{datasets.dataset}.{table}", summary, Statement(sql))


def dropped_policies(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[Change]:
    """Row policies to drop: those that the YAML does not have, on tables whose policies it manages."""
    for table, current in sorted(state.tables.items()):
        surplus = _surplus_policies(policy, table, current.row_policies)
        target = f"{datasets.dataset}.{table}"
        if surplus and table not in policy.rows.tables and len(surplus) == len(current.row_policies):
            summary = f"{target} no longer has row policies: its readers see every row"
            yield Change("opens", target, summary, Statement(statements.drop_row_policies(datasets, table)))
            continue
        for name in surplus:
            named = ", ".join(
                policy.display_name(principal) for principal in sorted(current.row_policies[name].principals)
            )
            summary = f"{named or 'nobody'} no longer see rows of {target} where {current.row_policies[name].filter}"
            yield Change("narrows", target, summary, Statement(statements.drop_row_policy(datasets, table, name)))


def _surplus_policies(policy: Policy, table: str, current: Mapping[str, RowPolicyState]) -> list[str]:
    rows = policy.rows.tables.get(table)
    wanted = {statements.policy_name(name) for name in rows.policies} if rows else set[str]()
    return sorted(name for name in current if name not in wanted and (rows or name.startswith(statements.PREFIX)))


def _is_unchanged(row_policy: RowPolicy, now: RowPolicyState, policy: Policy) -> bool:
    same_rows = statements.canonical(row_policy.filter) == statements.canonical(now.filter)
    return same_rows and now.principals == policy.principals(row_policy.to)


def _describe_policy(
    name: str, row_policy: RowPolicy, now: RowPolicyState | None, target: str, policy: Policy
) -> tuple[Effect, str]:
    wanted = policy.principals(row_policy.to)
    which = "every row" if statements.is_every_row(row_policy) else f"rows where {row_policy.filter}"
    if now is None:
        return "narrows", f"{', '.join(row_policy.to)} see {which} of {target}"
    summary = [f"the policy {name} of {target} shows {which}"]
    if statements.canonical(now.filter) != statements.canonical(row_policy.filter):
        summary.append(f"no longer those where {now.filter}")
    for verb, principals in (("gain it", wanted - now.principals), ("lose it", now.principals - wanted)):
        if principals:
            summary.append(f"{', '.join(policy.display_name(principal) for principal in sorted(principals))} {verb}")
    return "opens" if wanted - now.principals else "narrows", "; ".join(summary)


def tags(policy: Policy, state: AccessState) -> Iterator[Change]:
    """Tags to create or change. They come before the columns, so that the writers never lose access to a column."""
    taxonomy = policy.columns.taxonomy
    for name, tag in policy.columns.tags.items():
        current = state.tags.get(name)
        now = current or TagState()
        raw = policy.principals(tag.raw)
        if current is None or raw != now.raw:
            summary = f"{', '.join(tag.raw)} see the columns tagged {name}"
            lost = ", ".join(policy.display_name(principal) for principal in sorted(now.raw - raw))
            action = TagReaders(taxonomy, name, " ".join(tag.description.split()), raw)
            yield Change(
                _effect(raw, now.raw), f"tag {name}", f"{summary}; no longer {lost}" if lost else summary, action
            )
        by = tag.masked.by if tag.masked else None
        masked = policy.principals(tag.masked.to) if tag.masked else frozenset[str]()
        if (by, masked) != (now.mask, now.masked):
            summary = f"{', '.join(tag.masked.to)} see them masked ({by})" if tag.masked else "nobody sees them masked"
            yield Change(_effect(masked, now.masked), f"tag {name}", summary, Mask(taxonomy, name, by, masked))


def column_tags(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[Change]:
    """Columns to tag, or to free of a tag of the taxonomy. Another taxonomy's tag gives way where ours is wanted."""
    wanted: dict[str, dict[str, str]] = {}
    for name, tag in policy.columns.tags.items():
        for table, columns in tag.columns.items():
            wanted.setdefault(table, {}).update(dict.fromkeys(columns, name))
    for table, current in sorted(state.tables.items()):
        ours = wanted.get(table, {})
        target = f"{datasets.dataset}.{table}"
        new = {column: tag for column, tag in ours.items() if current.column_tags.get(column) != tag}
        if new:
            summary = ", ".join(f"{column} is tagged {tag}" for column, tag in sorted(new.items()))
            action = ColumnTags(policy.columns.taxonomy, datasets.dataset, table, new)
            yield Change("narrows", target, summary, action)
        # A resource's name has slashes; the name of a tag of ours has none.
        stale = {column: None for column, tag in current.column_tags.items() if column not in ours and "/" not in tag}
        if stale:
            summary = f"{', '.join(sorted(stale))} no longer have a tag: every reader of the table sees them"
            action = ColumnTags(policy.columns.taxonomy, datasets.dataset, table, stale)
            yield Change("opens", target, summary, action)


def _effect(wanted: frozenset[str], now: frozenset[str]) -> Effect:
    return "opens" if wanted - now else "narrows"


_VIEWERS = "projectReaders"


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes in order; access that the files do not manage; and tables that do not exist yet."""

    changes: tuple[Change, ...]
    unmanaged: tuple[str, ...]
    waiting: tuple[str, ...]


def plan(policy: Policy, datasets: Datasets, state: AccessState, catalog: Catalog) -> Plan:
    """The changes that lead from `state` to `policy`. After they are applied, a new plan has no changes."""
    changes = (
        # Narrowing changes come first: rows and columns, then revocations.
        *row_policies(policy, datasets, state),
        *tags(policy, state),
        *column_tags(policy, datasets, state),
        *_revocations(policy, datasets, state),
        *_views(policy, datasets, state),
        *_grants(policy, datasets, state),
        # Last, because a table without policies shows every row to its readers.
        *dropped_policies(policy, datasets, state),
    )
    return Plan(
        changes, tuple(_unmanaged_access(policy, datasets, state)), tuple(_waiting(policy, datasets, state, catalog))
    )


def _wanted_of_dataset(policy: Policy, datasets: Datasets, dataset: str) -> frozenset[str]:
    reads = policy.grants.reads.items()
    groups = [group for group, read in reads if any(datasets.dataset_name(role) == dataset for role in read.datasets)]
    return policy.principals(groups)


def _wanted_of(policy: Policy, name: str, is_view: bool) -> frozenset[str]:
    reads = policy.grants.reads.items()
    return policy.principals(group for group, read in reads if name in (read.views if is_view else read.tables))


def _datasets(datasets: Datasets, state: AccessState) -> Iterator[tuple[str, DatasetAccess, Mapping[str, TableState]]]:
    yield datasets.dataset, state.warehouse or DatasetAccess(), state.tables
    yield datasets.views, state.views_dataset or DatasetAccess(), state.views


def _revocations(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[Change]:
    for dataset, current, tables in _datasets(datasets, state):
        surplus = (current.readers & policy.managed_principals) - _wanted_of_dataset(policy, datasets, dataset)
        if surplus:
            summary = f"{_display_names(policy, surplus)} no longer read all of {dataset}"
            yield Change("narrows", dataset, summary, DatasetList(dataset, remove=DatasetAccess(readers=surplus)))
        for name, table in sorted(tables.items()):
            is_view = dataset == datasets.views
            surplus = (table.readers & policy.managed_principals) - _wanted_of(policy, name, is_view)
            if surplus:
                summary = f"{_display_names(policy, surplus)} no longer read {dataset}.{name}"
                sql = statements.revoke(datasets, dataset, name, is_view, surplus)
                yield Change("narrows", f"{dataset}.{name}", summary, Statement(sql))
    stale = _authorized_views(datasets, state) - {(datasets.views, name) for name in policy.views.views}
    if stale:
        summary = (
            f"{', '.join(sorted(name for _, name in stale))} no longer read {datasets.dataset} as authorized views"
        )
        action = DatasetList(datasets.dataset, remove=DatasetAccess(views=frozenset(stale)))
        yield Change("narrows", datasets.dataset, summary, action)


def _views(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[Change]:
    current = state.warehouse or DatasetAccess()
    wanted = {name: view for name, view in policy.views.views.items() if view.of in state.tables}
    needed = wanted or any(datasets.dataset_name(role) == datasets.views for role in _all_datasets(policy))
    if state.views_dataset is None and needed:
        summary = f"{datasets.views} is created for the authorized views"
        yield Change("keeps", datasets.views, summary, Statement(statements.create_dataset(datasets)))
        if _VIEWERS in policy.groups.former:  # BigQuery lets them read every new dataset
            summary = f"{_VIEWERS} do not read all of {datasets.views}"
            remove = DatasetAccess(readers=frozenset({_VIEWERS}))
            yield Change("narrows", datasets.views, summary, DatasetList(datasets.views, remove=remove))
    for name, view in wanted.items():
        text = state.view_texts.get(name)
        if text is None or statements.canonical(text) != statements.canonical(statements.view_text(datasets, view)):
            summary = f"the view {name} shows {', '.join([*view.columns, *view.computed])} of {view.of}"
            sql = statements.create_view(datasets, name, view)
            yield Change("keeps" if text is None else "opens", f"{datasets.views}.{name}", summary, Statement(sql))
    missing = frozenset((datasets.views, name) for name in wanted) - current.views
    if missing:
        summary = f"{', '.join(sorted(name for _, name in missing))} read {datasets.dataset} as authorized views"
        yield Change(
            "opens", datasets.dataset, summary, DatasetList(datasets.dataset, add=DatasetAccess(views=missing))
        )


def _grants(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[Change]:
    for dataset, current, tables in _datasets(datasets, state):
        is_view = dataset == datasets.views
        missing = _wanted_of_dataset(policy, datasets, dataset) - current.readers
        if missing:
            summary = f"{_display_names(policy, missing)} read all of {dataset}"
            yield Change("opens", dataset, summary, DatasetList(dataset, add=DatasetAccess(readers=missing)))
        names = [name for name, view in policy.views.views.items() if view.of in state.tables] if is_view else tables
        for name in sorted(names):
            missing = _wanted_of(policy, name, is_view) - tables.get(name, TableState()).readers
            if missing:
                summary = f"{_display_names(policy, missing)} read {dataset}.{name}"
                sql = statements.grant(datasets, dataset, name, is_view, missing)
                yield Change("opens", f"{dataset}.{name}", summary, Statement(sql))


def _unmanaged_access(policy: Policy, datasets: Datasets, state: AccessState) -> Iterator[str]:
    for dataset, current, tables in _datasets(datasets, state):
        for principal in sorted(current.readers - policy.managed_principals):
            yield f"{principal} reads all of {dataset} and is not in groups.yaml{_fix(principal)}"
        for name, table in sorted(tables.items()):
            for principal in sorted(table.readers - policy.managed_principals):
                yield f"{principal} reads {dataset}.{name} and is not in groups.yaml{_fix(principal)}"
    for dataset, name in sorted((state.warehouse or DatasetAccess()).views - _authorized_views(datasets, state)):
        yield f"the view {dataset}.{name} may read {datasets.dataset} and is not in views.yaml"
    for name in sorted(set(state.view_texts) - set(policy.views.views)):
        yield f"the view {datasets.views}.{name} is in no file any more and is not authorized; drop it"
    for table, current in sorted(state.tables.items()):
        if table not in policy.rows.tables:
            for name in sorted(current.row_policies):
                if not name.startswith(statements.PREFIX):
                    yield f"the row policy {name} of {datasets.dataset}.{table} is not in rows.yaml"


def _fix(principal: str) -> str:
    if principal in ("projectReaders", "allUsers", "allAuthenticatedUsers"):
        return ": it includes more people than any group; add it to `former` to revoke it"
    return ""


def _waiting(policy: Policy, datasets: Datasets, state: AccessState, catalog: Catalog) -> Iterator[str]:
    named = {table for read in policy.grants.reads.values() for table in read.tables}
    named |= {view.of for view in policy.views.views.values()} | set(policy.rows.tables)
    named |= {table for tag in policy.columns.tags.values() for table in tag.columns}
    for table in sorted(named - set(state.tables)):
        how = "`audit sync`" if table in catalog.in_place else "`audit build`"
        yield f"{datasets.dataset}.{table} does not exist yet; run {how}, then plan again"


def _authorized_views(datasets: Datasets, state: AccessState) -> frozenset[tuple[str, str]]:
    current = state.warehouse or DatasetAccess()
    return frozenset((dataset, name) for dataset, name in current.views if dataset == datasets.views)


def _all_datasets(policy: Policy) -> Iterator[DatasetRole]:
    return (role for read in policy.grants.reads.values() for role in read.datasets)


def _display_names(policy: Policy, principals: Iterable[str]) -> str:
    return ", ".join(policy.display_name(principal) for principal in sorted(principals))
