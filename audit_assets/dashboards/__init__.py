"""The dashboards: pages from YAML, the queries behind their tiles, and the same for Looker and Metabase."""
