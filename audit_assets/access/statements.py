"""The SQL of access in BigQuery's dialect: grants, authorized views and row access policies."""

import re
from collections.abc import Collection, Mapping

from audit_assets.access.model import EVERY_ROW, PREFIX, Datasets, Policy, RowPolicy, View
from audit_assets.warehouse.access import VIEWER
from audit_assets.warehouse.bigquery.statements import text

_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\")")


def create_dataset(datasets: Datasets) -> str:
    """Creates the dataset of the authorized views, in the warehouse's location."""
    return (
        f"create schema if not exists `{datasets.project}.{datasets.views}`\n"
        f"options (location = {text(datasets.location)}, description = 'Authorized views of {datasets.dataset}.')"
    )


def grant(datasets: Datasets, dataset: str, name: str, is_view: bool, principals: Collection[str]) -> str:
    """Grants principals read access to one table or view."""
    return f"grant `{VIEWER}`\non {_kind(is_view)} {datasets.path(dataset, name)}\nto {_listed(principals)}"


def revoke(datasets: Datasets, dataset: str, name: str, is_view: bool, principals: Collection[str]) -> str:
    """Revokes it."""
    return f"revoke `{VIEWER}`\non {_kind(is_view)} {datasets.path(dataset, name)}\nfrom {_listed(principals)}"


def view_text(datasets: Datasets, view: View) -> str:
    """The query of an authorized view."""
    columns = [*view.columns, *(f"{sql} as {name}" for name, sql in view.computed.items())]
    listed = ",\n".join(f"  {column}" for column in columns)
    where = f"\nwhere {view.where}" if view.where else ""
    return f"select\n{listed}\nfrom {datasets.path(datasets.dataset, view.of)}{where}"


def create_view(datasets: Datasets, name: str, view: View) -> str:
    """Creates the view, or changes it in place, which keeps its grants."""
    described = f"options (description = {text(' '.join(view.description.split()))})"
    return f"create or replace view {datasets.path(datasets.views, name)}\n{described} as\n{view_text(datasets, view)}"


def policy_name(name: str) -> str:
    """A row access policy's name in BigQuery."""
    return PREFIX + name


def create_row_policy(datasets: Datasets, table: str, name: str, row_policy: RowPolicy, policy: Policy) -> str:
    """Creates the policy, or changes it in one statement, so that nobody sees more or less in between."""
    return (
        f"create or replace row access policy {policy_name(name)}\non {datasets.path(datasets.dataset, table)}\n"
        f"grant to ({_listed(policy.principals(row_policy.to))})\nfilter using ({row_policy.filter})"
    )


def drop_row_policy(datasets: Datasets, table: str, name: str) -> str:
    """Drops one policy; `name` is its name in BigQuery."""
    return f"drop row access policy {name}\non {datasets.path(datasets.dataset, table)}"


def drop_row_policies(datasets: Datasets, table: str) -> str:
    """Drops all policies of a table: BigQuery refuses to drop the last one by its name."""
    return f"drop all row access policies\non {datasets.path(datasets.dataset, table)}"


def canonical(sql: str) -> str:
    """Normalized SQL: equal for two texts that differ only in spaces, or in case outside quotation marks."""
    parts = _QUOTED.split(sql)
    folded = (part if number % 2 else re.sub(r"\s+", " ", part).lower() for number, part in enumerate(parts))
    return "".join(folded).strip()


def statements(policy: Policy, datasets: Datasets, tables: Collection[str]) -> Mapping[str, str]:
    """Name → SQL of every statement that a plan may contain, as if nothing existed yet. For the analyzer."""
    found: dict[str, str] = {"the dataset of the views": create_dataset(datasets)}
    for table, rows in policy.rows.tables.items():
        for name, row_policy in rows.policies.items():
            found[f"rows.yaml: {table}.{name}"] = create_row_policy(datasets, table, name, row_policy, policy)
            found[f"rows.yaml: dropping {table}.{name}"] = drop_row_policy(datasets, table, policy_name(name))
        found[f"rows.yaml: dropping all of {table}"] = drop_row_policies(datasets, table)
    for name, view in policy.views.views.items():
        found[f"views.yaml: {name}"] = create_view(datasets, name, view)
    for group, read in policy.grants.reads.items():
        principals = policy.principals([group])
        for dataset, names in ((datasets.dataset, read.tables), (datasets.views, read.views)):
            for name in (name for name in names if dataset == datasets.views or name in tables):
                is_view = dataset == datasets.views
                found[f"grants.yaml: {group} reads {name}"] = grant(datasets, dataset, name, is_view, principals)
                found[f"grants.yaml: {group} no longer reads {name}"] = revoke(
                    datasets, dataset, name, is_view, principals
                )
    return found


def is_every_row(row_policy: RowPolicy) -> bool:
    return canonical(row_policy.filter) == EVERY_ROW


def _kind(is_view: bool) -> str:
    return "view" if is_view else "table"


def _listed(principals: Collection[str]) -> str:
    return ", ".join(text(principal) for principal in sorted(principals))
