"""The tests. The folders mirror audit_assets, plus scenarios (end to end), repo_checks, tools and benchmarks."""
