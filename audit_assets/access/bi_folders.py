"""Files for Looker's folders and Metabase's collections with their viewers, generated from dashboards.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from audit_assets.access.model import Page, Policy

HEADER = "# Generated from observability/access/*.yaml by `audit access generate`; edit those files instead.\n"

_LOOKER = """\
# For each folder: create it, turn inheritance off (update_content_metadata with inherits: false; "All Users" can view
# Shared by default), import the dashboards into it (import_lookml_dashboard), then call create_content_metadata_access
# for each line of `access`, and delete the folder's other accesses. Ids of folders and groups differ per instance.
"""
_METABASE = """\
# For PUT /api/collection/graph: one row per collection, one level per group. "All Users" is everybody: a permission it
# has, every user has. A collection does not inherit from its parent. Ids of groups and collections differ per instance.
# Move the dashboards that belong to another collection than the imported one (PUT /api/dashboard/:id).
"""


@dataclass(frozen=True, slots=True)
class DashboardNames:
    """The dashboards' names in the two tools: the LookML model, and Metabase's entity id by page."""

    looker_model: str
    metabase: Mapping[str, str]


def bi_folder_files(policy: Policy, names: DashboardNames) -> dict[str, str]:
    """File name → text, for observability/access/generated/."""
    looker: list[object] = []
    metabase: list[object] = []
    for folder in policy.dashboards.folders:
        access = [{"group": group, "permission_type": "view"} for group in folder.view]
        dashboards = [f"{names.looker_model}::{page}" for page in folder.pages]
        looker.append({"folder": folder.folder, "inherits": False, "dashboards": dashboards, "access": access})
        hidden = [group for group in policy.grants.reads if group not in folder.view and _has_people(policy, group)]
        levels = {"All Users": "none"} | dict.fromkeys(hidden, "none") | dict.fromkeys(folder.view, "read")
        entities: dict[Page, str] = {page: names.metabase[page] for page in folder.pages}
        metabase.append({"collection": folder.folder, "dashboards": entities, "permissions": levels})
    return {
        "looker_folders.yaml": HEADER + _LOOKER + _to_yaml({"folders": looker}),
        "metabase_collections.yaml": HEADER + _METABASE + _to_yaml({"collections": metabase}),
    }


def _has_people(policy: Policy, group: str) -> bool:
    return any(not principal.startswith("serviceAccount:") for principal in policy.groups.groups[group].principals)


def _to_yaml(document: Mapping[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
