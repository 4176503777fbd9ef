"""The embedded warehouse on DuckDB."""
