"""Tests of the benchmarks: that they run, and that their arithmetic is right."""
