"""`python -m audit_assets.cli` is `audit`."""

from audit_assets.cli.app import main

main()
