"""The alert ledger: tables, reads and writes, migrations, and the export to the warehouse."""
