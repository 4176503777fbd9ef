"""The tables the sync writes, as BigQuery has them: types, partitions, clusters, and the statements that make them."""

from collections.abc import Collection, Mapping

from audit_assets.warehouse.bigquery.client import Place
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.schema import RAW_COLUMNS, TABLES

# DuckDB's name of a type → BigQuery's; and back, with what BigQuery's INFORMATION_SCHEMA calls them.
TYPES: Mapping[str, str] = {
    "varchar": "STRING",
    "timestamptz": "TIMESTAMP",
    "bigint": "INT64",
    "double": "FLOAT64",
    "boolean": "BOOL",
    "date": "DATE",
}
DUCKDB_TYPES: Mapping[str, str] = {
    "STRING": "VARCHAR",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "DATE": "DATE",
}

IDENTITY = "warehouse_identity"
LEDGER_COPIES = "ledger_copies"
_BESIDE: Mapping[str, Mapping[str, str]] = {
    IDENTITY: {"warehouse_id": "varchar"},
    LEDGER_COPIES: {"table_name": "varchar", "version": "varchar"},
}
MADE = frozenset({*TABLES, *_BESIDE})

# Raw rows as they arrive: those of the table, and why a row is refused.
STAGED: Mapping[str, str] = {
    **{name: TYPES[kind] for name, kind in RAW_COLUMNS.items()},
    "reject_reason": "STRING",
    "created_at_text": "STRING",
}


def bigquery_types(columns: Mapping[str, str]) -> dict[str, str]:
    """Column → BigQuery's type, from column → DuckDB's."""
    return {name: TYPES[kind] for name, kind in columns.items()}


def create_statements(place: Place, terms: BigQueryTerms, held: Collection[str]) -> list[str]:
    """DDL for the tables that are not among `held`, and the row that says which warehouse this is."""
    statements = [
        _create(place, terms, table, columns) for table, columns in {**TABLES, **_BESIDE}.items() if table not in held
    ]
    if IDENTITY not in held:
        identity = place.table(IDENTITY)
        statements.append(
            f"insert into {identity} (warehouse_id) select generate_uuid() from (select 1 as one)"
            f" where not exists (select 1 from {identity})"
        )
    return statements


def _create(place: Place, terms: BigQueryTerms, table: str, columns: Mapping[str, str]) -> str:
    listed = ", ".join(f"`{name}` {kind}" for name, kind in bigquery_types(columns).items())
    labels = ", ".join(f"('{name}', '{value}')" for name, value in sorted(terms.labels.items()))
    options, layout = [f"labels = [{labels}]"], ""
    if table == "ai_audit_logs":
        layout = " partition by date(created_at) cluster by capability, workflow_id"
        options.append("require_partition_filter = true")
        if terms.keep_raw is not None:
            options.append(f"partition_expiration_days = {terms.keep_raw.days}")
    return f"create table if not exists {place.table(table)} ({listed}){layout} options ({', '.join(options)})"
