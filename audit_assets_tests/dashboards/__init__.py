"""Tests of the dashboards: what they read, what they show, and their twins for Looker and Metabase."""
