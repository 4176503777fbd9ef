"""Loads the same rows with dlt, run by the peer's own Python: `one_peer_load.py URL DUCKDB_FILE FOLDER whole|stream`.

Uses its fastest configuration: connectorx with Postgres's binary protocol, Arrow tables, Parquet files, no
normalization of rows. `whole` reads the table at once, which is dlt's default; `stream` reads it in batches.
"""

import json
import sys
import time
from importlib import import_module

dlt = import_module("dlt")  # only installed in the peer's environment
sql_table = import_module("dlt.sources.sql_database").sql_table


def main() -> None:
    url, duckdb_file, folder, mode = sys.argv[1:]
    begun = time.perf_counter()
    table = sql_table(
        credentials=url.replace("postgresql://", "postgresql+psycopg2://", 1),  # for reflecting the columns
        table="ai_audit_logs",
        backend="connectorx",
        chunk_size=100_000,
        backend_kwargs={"conn": url, "return_type": "arrow_stream" if mode == "stream" else "arrow"},
        reflection_level="minimal",
    )
    pipeline = dlt.pipeline(
        pipeline_name="ai_audit",
        pipelines_dir=folder,
        destination=dlt.destinations.duckdb(duckdb_file),
        dataset_name="loaded",
    )
    pipeline.run(table, loader_file_format="parquet", write_disposition="replace")
    seconds = time.perf_counter() - begun
    with pipeline.sql_client() as client:
        found = client.execute_sql(
            "select count(*), count(json_extract_string(request_metadata::varchar::json, '$.prompt'))"
            ", count(json_extract_string(response_metadata::varchar::json, '$.status')) from ai_audit_logs"
        )
    rows, prompts, statuses = found[0]
    sys.stdout.write(json.dumps({"seconds": seconds, "rows": rows, "documents": min(prompts, statuses)}) + "\n")


if __name__ == "__main__":
    main()
