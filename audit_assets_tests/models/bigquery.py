"""The models on an emulator of BigQuery, with rows and tables through the real client."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from audit_assets.warehouse.schema import WORKSPACE_COLUMNS
from audit_assets_tests.models.conftest import ARROW, COLUMNS, OTHER_SOURCES, TYPES, Models, Row
from audit_assets_tests.untyped import NO_RETRY, pa, pq
from tools.emulator.running import Emulator

_TYPES = {"varchar": "string", "timestamptz": "timestamp", "bigint": "int64", "boolean": "bool"}


class BigQueryModels(Models):
    """A dataset of an emulator with the project built into it. The raw table requires a filter, as in production."""

    target = "bigquery"

    def __init__(self, folder: Path, emulator: Emulator, dataset: str) -> None:
        super().__init__(folder)
        self.dataset = dataset
        self._emulator = emulator
        self.client = bigquery.Client(
            emulator.project,
            AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=emulator.endpoint),
            default_query_job_config=bigquery.QueryJobConfig(default_dataset=f"{emulator.project}.{dataset}"),
        )

    @property
    def settings(self) -> dict[str, str]:
        return {**self._emulator.settings, "AI_AUDIT_BIGQUERY_DATASET": self.dataset}

    def clear(self) -> None:
        self.client.delete_dataset(self.dataset, delete_contents=True, not_found_ok=True)
        self.client.create_dataset(self.dataset)
        columns = ", ".join(f"{name} {_TYPES[TYPES.get(name, 'varchar')]}" for name in COLUMNS)
        self.query(
            f"create table ai_audit_logs ({columns}) partition by date(created_at) cluster by capability, workflow_id "
            "options (require_partition_filter = true)"
        )
        workspaces = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in WORKSPACE_COLUMNS.items())
        self.query(f"create table ai_audit_workspaces ({workspaces})")
        for table in OTHER_SOURCES:
            self.query(f"create table {table} (placeholder string)")

    def load(self, rows: Sequence[Row]) -> None:
        self._upload("arrived", pa.Table.from_pylist([asdict(row) for row in rows], schema=ARROW))
        self.query(
            "delete from ai_audit_logs where created_at >= timestamp '1900-01-01 00:00:00+00' "
            "and id in (select id from arrived)"
        )
        taken = ", ".join(f"cast({name} as {_TYPES[TYPES.get(name, 'varchar')]})" for name in COLUMNS)
        self.query(f"insert into ai_audit_logs ({', '.join(COLUMNS)}) select {taken} from arrived")

    def append(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        self._upload("appended", pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))))
        self.query(f"insert into {table} ({', '.join(columns)}) select {', '.join(columns)} from appended")

    def _upload(self, table: str, arrow: Any) -> None:
        file = io.BytesIO()
        pq.write_table(arrow, file)
        schema = [bigquery.SchemaField(field.name, _kind(field.type)) for field in arrow.schema]
        loaded = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE", schema=schema)
        self.client.load_table_from_file(
            file, f"{self.dataset}.{table}", rewind=True, size=file.tell(), job_config=loaded, num_retries=0
        ).result(timeout=60)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        job = self.client.query(sql, retry=NO_RETRY, job_retry=None, timeout=60)
        rows = cast("Iterable[bigquery.Row]", job.result(timeout=60))
        return [tuple(row.values()) for row in rows]


def _kind(arrow: Any) -> str:
    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP"
    return {"bool": "BOOL", "int64": "INT64", "string": "STRING"}[str(arrow)]
