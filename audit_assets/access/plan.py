"""What is wanted against what is there, as changes in an order in which nobody sees more than he shall meanwhile.

Ours to take back is what a principal of the YAML holds and the YAML does not give him: roles/bigquery.dataViewer on a
table, READER on the two datasets. Also ours are views let in from the dataset of views, row policies named ai_audit_…
and every policy of a table in rows.yaml, and the taxonomy. All else is left alone, and said.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from audit_assets.access import statements
from audit_assets.access.changes import Change, DatasetList, Statement
from audit_assets.access.misfits import Catalog
from audit_assets.access.model import Datasets, Policy, Which
from audit_assets.access.plan_rows import dropped_policies, row_policies
from audit_assets.access.plan_tags import column_tags, tags
from audit_assets.warehouse.access import DatasetAccess, State, TableThere

_VIEWERS = "projectReaders"


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes in order; what is there and not ours; and what waits for a table that is not there yet."""

    changes: tuple[Change, ...]
    left_alone: tuple[str, ...]
    waiting: tuple[str, ...]


def plan(policy: Policy, place: Datasets, state: State, catalog: Catalog) -> Plan:
    """How to come from `state` to `policy`. Carried out and asked again, it has no changes."""
    changes = (
        # What narrows comes first: rows and columns, then what is taken back.
        *row_policies(policy, place, state),
        *tags(policy, state),
        *column_tags(policy, place, state),
        *_taken_back(policy, place, state),
        *_views(policy, place, state),
        *_given(policy, place, state),
        # Last, since a table without policies shows every row to its readers.
        *dropped_policies(policy, place, state),
    )
    return Plan(changes, tuple(_left_alone(policy, place, state)), tuple(_waiting(policy, place, state, catalog)))


def _wanted_of_dataset(policy: Policy, place: Datasets, dataset: str) -> frozenset[str]:
    reads = policy.grants.reads.items()
    groups = [group for group, read in reads if any(place.which(which) == dataset for which in read.datasets)]
    return policy.principals(groups)


def _wanted_of(policy: Policy, name: str, is_view: bool) -> frozenset[str]:
    reads = policy.grants.reads.items()
    return policy.principals(group for group, read in reads if name in (read.views if is_view else read.tables))


def _datasets(place: Datasets, state: State) -> Iterator[tuple[str, DatasetAccess, Mapping[str, TableThere]]]:
    yield place.dataset, state.warehouse or DatasetAccess(), state.tables
    yield place.views, state.beside or DatasetAccess(), state.views


def _taken_back(policy: Policy, place: Datasets, state: State) -> Iterator[Change]:
    for dataset, there, tables in _datasets(place, state):
        surplus = (there.readers & policy.managed) - _wanted_of_dataset(policy, place, dataset)
        if surplus:
            said = f"{_all_called(policy, surplus)} no longer read all of {dataset}"
            yield Change("narrows", dataset, said, DatasetList(dataset, remove=DatasetAccess(readers=surplus)))
        for name, table in sorted(tables.items()):
            is_view = dataset == place.views
            surplus = (table.readers & policy.managed) - _wanted_of(policy, name, is_view)
            if surplus:
                said = f"{_all_called(policy, surplus)} no longer read {dataset}.{name}"
                sql = statements.revoke(place, dataset, name, is_view, surplus)
                yield Change("narrows", f"{dataset}.{name}", said, Statement(sql))
    stale = _ours_let_in(place, state) - {(place.views, name) for name in policy.views.views}
    if stale:
        said = f"{', '.join(sorted(name for _, name in stale))} no longer read {place.dataset} for others"
        action = DatasetList(place.dataset, remove=DatasetAccess(views=frozenset(stale)))
        yield Change("narrows", place.dataset, said, action)


def _views(policy: Policy, place: Datasets, state: State) -> Iterator[Change]:
    there = state.warehouse or DatasetAccess()
    wanted = {name: view for name, view in policy.views.views.items() if view.of in state.tables}
    needed = wanted or any(place.which(which) == place.views for which in _all_datasets(policy))
    if state.beside is None and needed:
        said = f"{place.views} is made, for the views"
        yield Change("keeps", place.views, said, Statement(statements.create_dataset(place)))
        if _VIEWERS in policy.groups.former:  # whom BigQuery lets read every dataset that is made
            said = f"{_VIEWERS} do not read all of {place.views}"
            remove = DatasetAccess(readers=frozenset({_VIEWERS}))
            yield Change("narrows", place.views, said, DatasetList(place.views, remove=remove))
    for name, view in wanted.items():
        text = state.view_texts.get(name)
        if text is None or statements.canonical(text) != statements.canonical(statements.view_text(place, view)):
            said = f"the view {name} shows {', '.join([*view.columns, *view.computed])} of {view.of}"
            sql = statements.create_view(place, name, view)
            yield Change("keeps" if text is None else "opens", f"{place.views}.{name}", said, Statement(sql))
    missing = frozenset((place.views, name) for name in wanted) - there.views
    if missing:
        said = f"{', '.join(sorted(name for _, name in missing))} may read {place.dataset} for their readers"
        yield Change("opens", place.dataset, said, DatasetList(place.dataset, add=DatasetAccess(views=missing)))


def _given(policy: Policy, place: Datasets, state: State) -> Iterator[Change]:
    for dataset, there, tables in _datasets(place, state):
        is_view = dataset == place.views
        missing = _wanted_of_dataset(policy, place, dataset) - there.readers
        if missing:
            said = f"{_all_called(policy, missing)} read all of {dataset}"
            yield Change("opens", dataset, said, DatasetList(dataset, add=DatasetAccess(readers=missing)))
        names = [name for name, view in policy.views.views.items() if view.of in state.tables] if is_view else tables
        for name in sorted(names):
            missing = _wanted_of(policy, name, is_view) - tables.get(name, TableThere()).readers
            if missing:
                said = f"{_all_called(policy, missing)} read {dataset}.{name}"
                sql = statements.grant(place, dataset, name, is_view, missing)
                yield Change("opens", f"{dataset}.{name}", said, Statement(sql))


def _left_alone(policy: Policy, place: Datasets, state: State) -> Iterator[str]:
    for dataset, there, tables in _datasets(place, state):
        for principal in sorted(there.readers - policy.managed):
            yield f"{principal} reads all of {dataset} and is not in groups.yaml{_mend(principal)}"
        for name, table in sorted(tables.items()):
            for principal in sorted(table.readers - policy.managed):
                yield f"{principal} reads {dataset}.{name} and is not in groups.yaml{_mend(principal)}"
    for dataset, name in sorted((state.warehouse or DatasetAccess()).views - _ours_let_in(place, state)):
        yield f"the view {dataset}.{name} may read {place.dataset} and is not of views.yaml"
    for name in sorted(set(state.view_texts) - set(policy.views.views)):
        yield f"the view {place.views}.{name} is of no file any more and reads nothing; drop it"
    for table, there in sorted(state.tables.items()):
        if table not in policy.rows.tables:
            for name in sorted(there.row_policies):
                if not name.startswith(statements.PREFIX):
                    yield f"the row policy {name} of {place.dataset}.{table} is not of rows.yaml"


def _mend(principal: str) -> str:
    if principal in ("projectReaders", "allUsers", "allAuthenticatedUsers"):
        return ": that is more people than any group of it; put it under `former` to have it taken back"
    return ""


def _waiting(policy: Policy, place: Datasets, state: State, catalog: Catalog) -> Iterator[str]:
    named = {table for read in policy.grants.reads.values() for table in read.tables}
    named |= {view.of for view in policy.views.views.values()} | set(policy.rows.tables)
    named |= {table for tag in policy.columns.tags.values() for table in tag.columns}
    for table in sorted(named - set(state.tables)):
        how = "`audit sync`" if table in catalog.in_place else "`audit build`"
        yield f"{place.dataset}.{table} is not there yet; run {how}, then plan again"


def _ours_let_in(place: Datasets, state: State) -> frozenset[tuple[str, str]]:
    there = state.warehouse or DatasetAccess()
    return frozenset((dataset, name) for dataset, name in there.views if dataset == place.views)


def _all_datasets(policy: Policy) -> Iterator[Which]:
    return (which for read in policy.grants.reads.values() for which in read.datasets)


def _all_called(policy: Policy, principals: Iterable[str]) -> str:
    return ", ".join(policy.called(principal) for principal in sorted(principals))
