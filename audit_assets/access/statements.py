"""The SQL of access, in BigQuery's words: grants, authorised views and row access policies."""

import re
from collections.abc import Collection, Mapping

from audit_assets.access.model import EVERY_ROW, PREFIX, Datasets, Policy, RowPolicy, View
from audit_assets.warehouse.access import VIEWER
from audit_assets.warehouse.bigquery.statements import text

_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\")")


def create_dataset(place: Datasets) -> str:
    """The dataset of the authorised views, in the warehouse's location."""
    return (
        f"create schema if not exists `{place.project}.{place.views}`\n"
        f"options (location = {text(place.location)}, description = 'Authorised views of {place.dataset}.')"
    )


def grant(place: Datasets, dataset: str, name: str, is_view: bool, principals: Collection[str]) -> str:
    """Lets principals read one table or view."""
    return f"grant `{VIEWER}`\non {_kind(is_view)} {place.path(dataset, name)}\nto {_listed(principals)}"


def revoke(place: Datasets, dataset: str, name: str, is_view: bool, principals: Collection[str]) -> str:
    """Takes that back."""
    return f"revoke `{VIEWER}`\non {_kind(is_view)} {place.path(dataset, name)}\nfrom {_listed(principals)}"


def view_text(place: Datasets, view: View) -> str:
    """The query of an authorised view."""
    columns = [*view.columns, *(f"{sql} as {name}" for name, sql in view.computed.items())]
    listed = ",\n".join(f"  {column}" for column in columns)
    where = f"\nwhere {view.where}" if view.where else ""
    return f"select\n{listed}\nfrom {place.path(place.dataset, view.of)}{where}"


def create_view(place: Datasets, name: str, view: View) -> str:
    """Makes the view, or changes it in place: who is granted it stays granted."""
    described = f"options (description = {text(' '.join(view.description.split()))})"
    return f"create or replace view {place.path(place.views, name)}\n{described} as\n{view_text(place, view)}"


def policy_name(name: str) -> str:
    """A row access policy's name in BigQuery."""
    return PREFIX + name


def create_row_policy(place: Datasets, table: str, name: str, one: RowPolicy, policy: Policy) -> str:
    """Makes the policy, or changes it in one go, so that nobody sees more or less meanwhile."""
    return (
        f"create or replace row access policy {policy_name(name)}\non {place.path(place.dataset, table)}\n"
        f"grant to ({_listed(policy.principals(one.to))})\nfilter using ({one.filter})"
    )


def drop_row_policy(place: Datasets, table: str, name: str) -> str:
    """`name` is as BigQuery has it."""
    return f"drop row access policy {name}\non {place.path(place.dataset, table)}"


def drop_row_policies(place: Datasets, table: str) -> str:
    """BigQuery refuses to drop the last policy of a table by its name."""
    return f"drop all row access policies\non {place.path(place.dataset, table)}"


def canonical(sql: str) -> str:
    """The same for two texts that differ in spaces, or in case outside quotation marks, alone."""
    parts = _QUOTED.split(sql)
    folded = (part if number % 2 else re.sub(r"\s+", " ", part).lower() for number, part in enumerate(parts))
    return "".join(folded).strip()


def statements(policy: Policy, place: Datasets, tables: Collection[str]) -> Mapping[str, str]:
    """What stands for whom → every statement there may be, for whoever analyses them: as if nothing were there."""
    found: dict[str, str] = {"the dataset of the views": create_dataset(place)}
    for table, rows in policy.rows.tables.items():
        for name, one in rows.policies.items():
            found[f"rows.yaml: {table}.{name}"] = create_row_policy(place, table, name, one, policy)
            found[f"rows.yaml: dropping {table}.{name}"] = drop_row_policy(place, table, policy_name(name))
        found[f"rows.yaml: dropping all of {table}"] = drop_row_policies(place, table)
    for name, view in policy.views.views.items():
        found[f"views.yaml: {name}"] = create_view(place, name, view)
    for group, read in policy.grants.reads.items():
        principals = policy.principals([group])
        for dataset, names in ((place.dataset, read.tables), (place.views, read.views)):
            for name in (name for name in names if dataset == place.views or name in tables):
                is_view = dataset == place.views
                found[f"grants.yaml: {group} reads {name}"] = grant(place, dataset, name, is_view, principals)
                found[f"grants.yaml: {group} no longer reads {name}"] = revoke(
                    place, dataset, name, is_view, principals
                )
    return found


def is_every_row(one: RowPolicy) -> bool:
    return canonical(one.filter) == EVERY_ROW


def _kind(is_view: bool) -> str:
    return "view" if is_view else "table"


def _listed(principals: Collection[str]) -> str:
    return ", ".join(text(principal) for principal in sorted(principals))
