"""The tests; folders mirror audit_assets, plus scenarios (end to end) and house (promises of the repo itself)."""
