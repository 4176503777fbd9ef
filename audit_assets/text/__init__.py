"""Formatting of numbers and times, and escaping of untrusted text."""
