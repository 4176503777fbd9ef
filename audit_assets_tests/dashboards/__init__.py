"""Tests of the dashboards: definition, queries and rendered pages."""
