"""The same rows through dlt, run by the peer's own Python: `one_peer_load.py URL DUCKDB_FILE FOLDER whole|stream`.

Its quickest configuration: connectorx in Postgres's binary protocol, Arrow tables, Parquet files, no normalising of
rows. `whole` reads the table at once, as dlt does unless told otherwise; `stream` in batches.
"""

import json
import sys
import time

import dlt  # pyright: ignore[reportMissingImports]  # lives in the peer's environment only
from dlt.sources.sql_database import sql_table  # pyright: ignore[reportMissingImports]


def main() -> None:
    url, duckdb_file, folder, way = sys.argv[1:]
    begun = time.perf_counter()
    table = sql_table(
        credentials=url.replace("postgresql://", "postgresql+psycopg2://", 1),  # for looking at the columns
        table="ai_audit_logs",
        backend="connectorx",
        chunk_size=100_000,
        backend_kwargs={"conn": url, "return_type": "arrow_stream" if way == "stream" else "arrow"},
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
