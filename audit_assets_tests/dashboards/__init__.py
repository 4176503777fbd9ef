"""Tests of the dashboards: what the server makes of an address, and what a browser shows of it."""
