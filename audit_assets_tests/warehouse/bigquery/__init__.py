"""The warehouse on BigQuery, against an emulator of it."""
