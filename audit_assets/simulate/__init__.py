"""Made worlds: an embedded Postgres, believable traffic, loading of real files."""
