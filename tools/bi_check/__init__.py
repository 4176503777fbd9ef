"""Offline checks of the generated Looker and Metabase files, with development tools: `python -m tools.bi_check`."""
