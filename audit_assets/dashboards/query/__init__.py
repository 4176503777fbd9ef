"""The SQL of a tile in a scope, and the readers that run it."""
