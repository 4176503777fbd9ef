"""End-to-end tests: the demo, `audit dev`, killed processes, real traffic."""
