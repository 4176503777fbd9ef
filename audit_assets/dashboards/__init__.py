"""The dashboards: pages from YAML, the queries behind their tiles, rendering, serving and verification."""
