"""A local BigQuery emulator for tests, development and CI: PyPI's `bqemulator` with a shim. shim/__main__.py lists its
differences from BigQuery, fixed and not fixed."""
