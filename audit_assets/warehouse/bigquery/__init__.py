"""The warehouse on BigQuery. The only folder that imports Google's clients."""
