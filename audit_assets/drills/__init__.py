"""Drills: marked rows that make a rule fire."""
