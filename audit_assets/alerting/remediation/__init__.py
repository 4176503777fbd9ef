"""Disables a capability through an external system: planned by one person, approved by another."""
