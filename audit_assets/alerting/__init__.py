"""Telling people: what a finding looks like where it is read."""
