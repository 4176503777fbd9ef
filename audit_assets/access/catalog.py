"""What access may be given to: the tables of the warehouse, and which of them keep a policy or a tag."""

from collections.abc import Mapping

from audit_assets.access.misfits import Catalog
from audit_assets.warehouse.schema import TABLES

# dbt's only view. It shows what its reader may see of the table under it.
_VIEWS = {"stg_ai_audit_logs": frozenset({"ai_audit_logs"})}
# A query that has no condition on this column is refused, or reads everything.
_PARTITIONS = {"ai_audit_logs": "created_at"}


def catalog(tables: Mapping[str, Mapping[str, str]]) -> Catalog:
    """`tables`: table → column → BigQuery type, of the sync, of dbt and of the ledger's copy.

    The sync writes its own tables in place. dbt builds others anew, and nothing in the ledger's copies is narrowed.
    """
    return Catalog(tables, frozenset(TABLES) & frozenset(tables), _VIEWS, _PARTITIONS)
