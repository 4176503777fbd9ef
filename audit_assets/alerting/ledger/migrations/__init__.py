"""The schema revision of a ledger, and its upgrade by alembic.

A new ledger is created from the tables; only one that an earlier version wrote is migrated. To change the schema:
change `tables.py`, add the next file in `versions/` and set `HEAD` to its revision. A revision may only add tables and
nullable columns, since processes of the previous version continue to use the ledger until they are restarted.
"""

from sqlalchemy import Column, MetaData, String, Table, insert, inspect, select
from sqlalchemy.engine import Connection

HEAD = "0001"  # revisions are numbers of four digits: of two, the greater one is the newer one

# Not alembic's default name: a database that also has Dagster's storage has a table of that name already.
VERSION = Table("ai_audit_alert_version", MetaData(), Column("version_num", String(32), primary_key=True))


def upgrade_schema(connection: Connection, tables: MetaData) -> None:
    """Creates `tables` in an empty database, or upgrades an older ledger to `HEAD`. A ledger of a newer version stays
    as it is. The caller holds a lock and commits. Raises SQLAlchemyError."""
    existing = inspect(connection)
    if existing.has_table(VERSION.name):
        if (connection.execute(select(VERSION.c.version_num)).scalar() or "") >= HEAD:
            return
    elif not any(existing.has_table(name) for name in tables.tables):
        tables.create_all(connection)
        VERSION.create(connection)
        connection.execute(insert(VERSION).values(version_num=HEAD))
        return
    from alembic import command  # takes 100 ms, and ledgers are opened every few seconds
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", f"{__package__}:.")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
