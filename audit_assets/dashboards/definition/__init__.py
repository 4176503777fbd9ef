"""The dashboard definition: pages, tiles and sources, loaded from YAML."""
