"""Run by alembic: applies the revisions on the caller's connection, in the caller's transaction."""

from alembic import context

from audit_assets.alerting.ledger.migrations import VERSION

context.configure(connection=context.config.attributes["connection"], version_table=VERSION.name)
context.run_migrations()
