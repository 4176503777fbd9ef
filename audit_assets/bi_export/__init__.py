"""Looker and Metabase files from the dashboard definitions, and their offline checks."""
