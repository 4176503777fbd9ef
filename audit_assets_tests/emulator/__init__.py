"""An emulator of BigQuery on this machine, for tests, development and CI: PyPI's `bqemulator` with a shim. What it gets
wrong, mended or not, is listed in shim/__main__.py."""
