"""Tests that the benchmarks run and compute correctly."""
