"""The embedded Postgres, synthetic traffic, loading of files, and supervision of the served processes."""
