"""The repository's own promises."""
