"""What is there now, asked of BigQuery; or as if nothing were, for a review without a connection."""

from audit_assets.access.misfits import Catalog
from audit_assets.access.model import Datasets, Policy
from audit_assets.warehouse.access import AccessPlane, DatasetAccess, State, TableThere
from audit_assets.warehouse.protocol import WarehouseError


def nothing_there(catalog: Catalog) -> State:
    """Every table, and no access to any."""
    tables = {name: TableThere() for name in catalog.tables}
    return State(DatasetAccess(), None, tables, {}, {}, {})


def read_state(plane: AccessPlane, policy: Policy, place: Datasets, catalog: Catalog) -> State:
    """Who reads what. Raises WarehouseError, also where the warehouse's dataset is not there yet."""
    warehouse = plane.dataset(place.dataset)
    if warehouse is None:
        raise WarehouseError(
            f"{place.project}.{place.dataset} is not there; run `audit sync --destination bigquery` first, or name "
            "another in AI_AUDIT_BIGQUERY_PROJECT and AI_AUDIT_BIGQUERY_DATASET"
        )
    taxonomy = policy.columns.taxonomy
    tables: dict[str, TableThere] = {}
    for name in sorted(plane.names(place.dataset)):
        if "__dbt_tmp" in name:  # gone in a moment
            continue
        # Where dbt builds anew neither lasts: policies and tags are looked for on the sync's own tables.
        in_place = name in catalog.in_place
        tables[name] = TableThere(
            plane.readers(place.dataset, name),
            plane.row_policies(place.dataset, name) if in_place else {},
            plane.column_tags(taxonomy, place.dataset, name) if in_place else {},
        )
    beside = plane.dataset(place.views)
    views: dict[str, TableThere] = {}
    texts: dict[str, str] = {}
    if beside is not None:
        views = {name: TableThere(plane.readers(place.views, name)) for name in sorted(plane.names(place.views))}
        texts = dict(plane.view_texts(place.views))
    return State(warehouse, beside, tables, views, texts, plane.tags(taxonomy))
