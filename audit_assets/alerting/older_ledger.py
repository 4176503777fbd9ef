"""What the ledger of an earlier version lacks: columns that came since, added when it is opened."""

from sqlalchemy import MetaData
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateColumn


def add_missing_columns(connection: Connection, tables: MetaData) -> None:
    """Adds to each of `tables`, all of which exist, the columns it lacks; rows that are there hold nothing in them. So
    a column that comes later has to allow that. Raises SQLAlchemyError."""
    for table in tables.tables.values():
        # A ledger is opened every 15 s: no row says its columns as well as the catalogue, in a third of the time.
        known = connection.exec_driver_sql(f"select * from {table.name} where 1 = 0").keys()
        for column in table.columns:
            if column.name not in known:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"alter table {table.name} add column {added}")
