"""The folders of Looker and the collections of Metabase with who may look, as files made from dashboards.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from audit_assets.access.model import Page, Policy

HEADER = "# Made from observability/access/*.yaml by `audit access generate`; change those, not this file.\n"

_LOOKER = """\
# For each folder: make it, turn inheritance off (update_content_metadata with inherits: false; "All Users" looks into
# Shared by default), put the dashboards there (import_lookml_dashboard), then create_content_metadata_access for each
# line of `access`, and delete the folder's other accesses. Ids of folders and groups are each instance's own.
"""
_METABASE = """\
# For PUT /api/collection/graph: a row a collection, a level a group. "All Users" is everybody: what it holds, all hold,
# and a collection does not inherit from the one around it. Ids of groups and collections are each instance's own.
# Dashboards of another collection than the import's are moved there (PUT /api/dashboard/:id).
"""


@dataclass(frozen=True, slots=True)
class DashboardNames:
    """How the two tools name the dashboards: the LookML model, and entity ids of Metabase's by page."""

    looker_model: str
    metabase: Mapping[str, str]


def twin_files(policy: Policy, names: DashboardNames) -> dict[str, str]:
    """File name → text, for observability/access/generated/."""
    looker: list[object] = []
    metabase: list[object] = []
    for folder in policy.dashboards.folders:
        access = [{"group": group, "permission_type": "view"} for group in folder.view]
        dashboards = [f"{names.looker_model}::{page}" for page in folder.pages]
        looker.append({"folder": folder.folder, "inherits": False, "dashboards": dashboards, "access": access})
        hidden = [group for group in policy.grants.reads if group not in folder.view and _is_people(policy, group)]
        levels = {"All Users": "none"} | dict.fromkeys(hidden, "none") | dict.fromkeys(folder.view, "read")
        entities: dict[Page, str] = {page: names.metabase[page] for page in folder.pages}
        metabase.append({"collection": folder.folder, "dashboards": entities, "permissions": levels})
    return {
        "looker_folders.yaml": HEADER + _LOOKER + _written({"folders": looker}),
        "metabase_collections.yaml": HEADER + _METABASE + _written({"collections": metabase}),
    }


def _is_people(policy: Policy, group: str) -> bool:
    return any(not one.startswith("serviceAccount:") for one in policy.groups.groups[group].principals)


def _written(document: Mapping[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
