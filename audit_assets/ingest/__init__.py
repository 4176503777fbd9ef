"""Bringing rows in: source windows, normalising, sync modes, state, rejects and repair."""
