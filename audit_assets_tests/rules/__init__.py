"""Tests of the rules: loading, the rule language, judging and the shipped files."""
