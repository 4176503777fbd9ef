"""The emulator behaves like BigQuery in everything that the pipeline relies on."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.untyped import NO_RETRY, pa, pq
from tools.emulator.running import Emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[bigquery.Client]:
    """A client whose default dataset is a separate one for this test."""
    options = ClientOptions(api_endpoint=emulator.endpoint)
    dataset = f"{emulator.project}.emulated"
    defaults = bigquery.QueryJobConfig(default_dataset=dataset)
    with bigquery.Client(
        emulator.project, AnonymousCredentials(), client_options=options, default_query_job_config=defaults
    ) as client:
        client.create_dataset(dataset)
        yield client
        client.delete_dataset(dataset, delete_contents=True)


def run(client: bigquery.Client, sql: str, job_id: str | None = None) -> list[tuple[object, ...]]:
    job = client.query(sql, job_id=job_id, retry=NO_RETRY, job_retry=None, timeout=30)
    rows = cast("Iterable[bigquery.Row]", job.result(timeout=30))
    return [tuple(row.values()) for row in rows]


def upload(client: bigquery.Client, job_id: str, rows: int, size: int | None) -> bigquery.LoadJob:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [f"row-{n}" for n in range(rows)]}), file)
    settings = bigquery.LoadJobConfig(
        source_format="PARQUET",
        write_disposition="WRITE_TRUNCATE",
        labels={"system": "ai_audit"},
        schema=[bigquery.SchemaField("id", "STRING")],
    )
    whole = file.tell() if size is None else size
    return client.load_table_from_file(
        file, "emulated.staging", rewind=True, size=whole or None, job_id=job_id, job_config=settings, num_retries=0
    )


@pytest.mark.requirement("R27")
@pytest.mark.parametrize("size", [None, 0], ids=["in one request", "in pieces"])
def test_a_load_whose_job_id_is_taken_is_a_conflict_and_loads_nothing(client: bigquery.Client, size: int | None):
    name = f"load-{size}"
    assert upload(client, name, 3, size).result(timeout=30).job_id == name
    with pytest.raises(Conflict, match=f"Already Exists: Job .*{name}"):
        upload(client, name, 5, size)
    assert run(client, "select count(*) from staging") == [(3,)]
    first = client.get_job(name)
    assert isinstance(first, bigquery.LoadJob)
    assert (first.state, first.output_rows, first.labels) == ("DONE", 3, {"system": "ai_audit"})


@pytest.mark.requirement("R27")
def test_a_query_whose_job_id_is_taken_is_a_conflict_and_runs_once(client: bigquery.Client):
    run(client, "create table counted (n int64)")
    run(client, "insert into counted values (1)", job_id="insert-once")
    with pytest.raises(Conflict):
        client.query("insert into counted values (1)", job_id="insert-once", retry=NO_RETRY, job_retry=None)
    assert run(client, "select count(*) from counted") == [(1,)]


@pytest.mark.requirement("R27")
def test_a_copy_whose_job_id_is_taken_is_a_conflict(client: bigquery.Client):
    run(client, "create table original as select 1 as n")
    client.copy_table("emulated.original", "emulated.copied", job_id="copy-once").result(timeout=30)
    with pytest.raises(Conflict):
        client.copy_table("emulated.original", "emulated.copied", job_id="copy-once")


@pytest.mark.requirement("R27")
def test_a_script_that_fails_changes_nothing_and_its_temporary_tables_end_with_it(client: bigquery.Client):
    run(client, "create table kept as select 1 as n")
    with pytest.raises(BadRequest, match="boom"):
        run(
            client,
            "create temp table change as select 2 as n; begin transaction; "
            "delete from kept where true; select error('boom'); commit transaction;",
        )
    assert run(client, "select n from kept") == [(1,)]
    with pytest.raises(NotFound):
        run(client, "select * from change")


@pytest.mark.requirement("R27")
def test_a_table_that_requires_a_filter_is_not_read_without_one_nor_through_a_view(client: bigquery.Client):
    run(
        client,
        "create table bounded (id string, created_at timestamp) partition by date(created_at) "
        "options (require_partition_filter = true)",
    )
    run(client, "create view over_bounded as select *, date(created_at) as date from emulated.bounded")
    run(client, "insert into bounded values ('a', timestamp '2026-11-01 09:00:00+00')")
    for refused in (
        "select count(*) from bounded",
        "select count(*) from over_bounded where date = date '2026-11-01'",
        "delete from bounded where id = 'a'",
        "select 1 from (select 1 as n) left join bounded on created_at >= timestamp '2026-11-01'",
        "select 1 from bounded where created_at >= timestamp '2026-11-01' or id = 'a'",
        "select 1 from bounded where created_at >= (select min(created_at) from bounded)",
        "with rows_read as (select * from bounded) select 1 from rows_read where created_at > timestamp '2026-11-01'",
    ):
        with pytest.raises(BadRequest, match="without a filter over column"):
            run(client, refused)
    for answered in (
        "select id from bounded where created_at >= timestamp '2026-11-01'",
        "select id from over_bounded where id = 'a' and created_at between timestamp '2026-11-01' and '2026-11-02'",
        "select id from (select * from over_bounded) as every where every.created_at >= timestamp '2026-11-01'",
    ):
        assert run(client, answered) == [("a",)]
    client.create_dataset("unbounded", exists_ok=True)
    run(client, "create or replace table unbounded.bounded as select 1 as n")
    assert run(client, "select n from unbounded.bounded") == [(1,)]
    table = client.get_table("emulated.bounded")
    assert table.require_partition_filter
    assert table.time_partitioning is not None
    assert table.time_partitioning.field == "created_at"


@pytest.mark.requirement("R27")
def test_what_is_created_is_of_the_declared_columns(client: bigquery.Client):
    run(
        client,
        "create table declared (day date, n float64) as (with one as (select 1 as n) select '2026-11-01', n from one)",
    )
    schema = cast("list[bigquery.SchemaField]", client.get_table("emulated.declared").schema)
    assert [(field.name, field.field_type) for field in schema] == [
        ("day", "DATE"),
        ("n", "FLOAT"),
    ]


@pytest.mark.requirement("R27")
def test_the_launcher_prints_what_to_export_and_ends_with_a_signal(emulator: Emulator, tmp_path: Path):
    environment = {**os.environ, "AI_AUDIT_HOME": str(tmp_path)}
    port = free_port()
    command = [sys.executable, "-m", "tools.emulator", "--port", str(port), "--project", "another"]
    with subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert lines == [
        "export AI_AUDIT_WAREHOUSE_DESTINATION=bigquery",
        f"export AI_AUDIT_BIGQUERY_ENDPOINT=http://127.0.0.1:{port}",
        "export AI_AUDIT_BIGQUERY_PROJECT=another",
    ]
