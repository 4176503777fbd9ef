"""The tests; folders mirror audit_assets, plus scenarios (end to end), house (promises of the repo) and fakes."""
