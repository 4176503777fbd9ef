"""Policy tags in Data Catalog and their masks in BigQuery's data policies, by REST."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from audit_assets.warehouse.access import MASKED_READER, RAW_READER, TagThere
from audit_assets.warehouse.bigquery.rest import Rest

CATALOG = "https://datacatalog.googleapis.com/v1"
DATA_POLICIES = "https://bigquerydatapolicy.googleapis.com/v1"


def without_project(resource: str) -> str:
    """A resource's name from its location on: one API writes the project's id, the other its number."""
    return resource.partition("/locations/")[2]


class PolicyTags:
    """The taxonomies of one location: `parent` is projects/…/locations/…"""

    def __init__(self, rest: Rest, parent: str) -> None:
        self._rest = rest
        self._parent = parent

    def resources(self, taxonomy: str) -> Mapping[str, str]:
        """A tag's name → its resource; none where there is no such taxonomy."""
        found = self._taxonomy(taxonomy)
        if found is None:
            return {}
        tags = self._rest.pages(f"{CATALOG}/{found}/policyTags", "policyTags")
        return {tag["displayName"]: tag["name"] for tag in tags}

    def read(self, taxonomy: str) -> Mapping[str, TagThere]:
        """The tags, who reads them, and their masks."""
        masks = {without_project(policy["policyTag"]): policy for policy in self._data_policies()}
        found: dict[str, TagThere] = {}
        for name, resource in self.resources(taxonomy).items():
            raw = _members(self._rest.post(f"{CATALOG}/{resource}:getIamPolicy", {}), RAW_READER)
            mask = masks.get(without_project(resource))
            if mask is None:
                found[name] = TagThere(raw)
                continue
            held = self._rest.post(f"{DATA_POLICIES}/{mask['name']}:getIamPolicy", {})
            by = mask["dataMaskingPolicy"].get("predefinedExpression", "a routine")
            found[name] = TagThere(raw, by, _members(held, MASKED_READER))
        return found

    def set_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        """Makes the tag, and its taxonomy, where absent; exactly `principals` see raw values then."""
        resource = self.resources(taxonomy).get(tag)
        if resource is None:
            parent = self._taxonomy(taxonomy) or self._made_taxonomy(taxonomy)
            body = {"displayName": tag, "description": description}
            resource = str(self._rest.post(f"{CATALOG}/{parent}/policyTags", body)["name"])
        self._hold(f"{CATALOG}/{resource}", RAW_READER, principals)

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        """Exactly `principals` see values masked by `mask`; None takes the mask away."""
        resource = self.resources(taxonomy)[tag]
        tagged = without_project(resource)
        policies = (policy for policy in self._data_policies() if without_project(policy["policyTag"]) == tagged)
        there = next(policies, None)
        if mask is None:
            if there is not None:
                self._rest.delete(f"{DATA_POLICIES}/{there['name']}")
            return
        masking = {"dataMaskingPolicy": {"predefinedExpression": mask}}
        if there is None:
            body = {
                "dataPolicyId": re.sub(r"\W", "_", f"{taxonomy}_{tag}_mask"),
                "dataPolicyType": "DATA_MASKING_POLICY",
                "policyTag": resource,
                **masking,
            }
            there = self._rest.post(f"{DATA_POLICIES}/{self._parent}/dataPolicies", body)
        else:
            self._rest.patch(f"{DATA_POLICIES}/{there['name']}", masking, "dataMaskingPolicy")
        self._hold(f"{DATA_POLICIES}/{there['name']}", MASKED_READER, principals)

    def _taxonomy(self, name: str) -> str | None:
        found = self._rest.pages(f"{CATALOG}/{self._parent}/taxonomies", "taxonomies")
        return next((one["name"] for one in found if one["displayName"] == name), None)

    def _made_taxonomy(self, name: str) -> str:
        body = {"displayName": name, "activatedPolicyTypes": ["FINE_GRAINED_ACCESS_CONTROL"]}
        return str(self._rest.post(f"{CATALOG}/{self._parent}/taxonomies", body)["name"])

    def _data_policies(self) -> list[dict[str, Any]]:
        listed = self._rest.pages(f"{DATA_POLICIES}/{self._parent}/dataPolicies", "dataPolicies")
        return [policy for policy in listed if policy.get("policyTag") and policy.get("dataMaskingPolicy")]

    def _hold(self, address: str, role: str, principals: Collection[str]) -> None:
        """Binds the role to exactly these; other roles stay as they are, and the etag refuses an overwrite."""
        held = self._rest.post(f"{address}:getIamPolicy", {})
        others = [binding for binding in held.get("bindings", ()) if binding["role"] != role]
        ours = [{"role": role, "members": sorted(principals)}] if principals else []
        self._rest.post(f"{address}:setIamPolicy", {"policy": {**held, "bindings": [*others, *ours]}})


def _members(policy: Mapping[str, Any], role: str) -> frozenset[str]:
    return frozenset(
        member for held in policy.get("bindings", ()) if held["role"] == role for member in held["members"]
    )
