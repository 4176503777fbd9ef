"""The columns of every table a dashboard may read, with their documented types in BigQuery and DuckDB."""

from collections.abc import Mapping

import duckdb

from audit_assets.alerting.ledger.export import EXPORTED_COLUMNS, column_types
from audit_assets.warehouse.schema import SCHEMA, TABLES, ColumnTypes, contracts

_BIGQUERY = {
    "varchar": "string",
    "bigint": "int64",
    "double": "float64",
    "timestamptz": "timestamp",
    "date": "date",
    "boolean": "boolean",
}


Table = Mapping[str, ColumnTypes]


def known_tables() -> Mapping[str, Table]:
    """Table → column → types: models from dbt contracts, other tables from the code that writes them."""
    plain = {**TABLES, **{table.name: column_types(table) for table in EXPORTED_COLUMNS}}
    tables = {
        name: {column: ColumnTypes(_BIGQUERY[kind], kind) for column, kind in columns.items()}
        for name, columns in plain.items()
    }
    return {**tables, **contracts()}


def bigquery_types() -> Mapping[str, Mapping[str, str]]:
    """Table → column → BigQuery type, of the same tables."""
    return {table: {name: each.bigquery for name, each in columns.items()} for table, columns in known_tables().items()}


def empty_warehouse(tables: Mapping[str, Table], project: str) -> duckdb.DuckDBPyConnection:
    """An embedded warehouse with the same tables, `project`.analytics.table, all empty. Close it after use."""
    connection = duckdb.connect(":memory:")
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"""attach ':memory:' as "{project}" """)
    connection.execute(f"""use "{project}" """)
    connection.execute(f"create schema {SCHEMA}")
    for name, columns in tables.items():
        listed = ", ".join(f'"{column}" {types.duckdb}' for column, types in columns.items())
        connection.execute(f"create table {SCHEMA}.{name} ({listed})")
    return connection
