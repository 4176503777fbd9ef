"""Benchmarks for the figures in the README, run by `make bench`. Code here measures and asserts nothing."""
