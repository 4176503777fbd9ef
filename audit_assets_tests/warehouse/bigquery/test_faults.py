"""Failures of BigQuery: lost responses, refusals, failed jobs, and an unreachable endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_assets.settings import Settings, SettingsError, read_settings
from audit_assets.warehouse.bigquery import jobs
from audit_assets.warehouse.bigquery.client import BigQueryOptions, location_of, open_client
from audit_assets.warehouse.bigquery.schema import bigquery_types
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.schema import ADDED_SYNC_STATE_COLUMNS, SYNC_STATE_COLUMNS
from audit_assets_tests.ingest.both_sides import DAY, NOW, insert_rows, run
from audit_assets_tests.warehouse.bigquery.conftest import settings_for
from audit_assets_tests.warehouse.bigquery.test_same_as_duckdb import dump
from tools.emulator.proxy import Fault, Matches, Proxy, proxy_to
from tools.emulator.running import Emulator

pytestmark = [pytest.mark.requirement("R10"), pytest.mark.filterwarnings("ignore::FutureWarning")]

FIRST = datetime(2023, 1, 1, tzinfo=UTC)


@pytest.fixture
def proxy(emulator: Emulator) -> Iterator[Proxy]:
    with proxy_to(emulator.endpoint) as proxy:
        yield proxy


@pytest.fixture
def settings(emulator: Emulator, proxy: Proxy, tmp_path: Path) -> Settings:
    return settings_for(emulator, tmp_path, AI_AUDIT_BIGQUERY_ENDPOINT=proxy.endpoint)


@pytest.fixture
def warehouse(settings: Settings) -> BigQueryWarehouse:
    return BigQueryWarehouse(settings, BigQueryOptions())


def load(source: str, warehouse: BigQueryWarehouse) -> int:
    return run(source, warehouse, "full", since=FIRST).run.counts.added


def asks(words: bytes) -> Matches:
    """Matches a request that creates a job and whose body contains `words`."""
    return lambda method, path, body: method in ("POST", "PUT") and words in body


def test_columns_that_an_earlier_version_did_not_make_are_added_where_every_table_is_there(
    source: str, settings: Settings, warehouse: BigQueryWarehouse
):
    insert_rows(source, 3, NOW - DAY, DAY / 5)
    with warehouse.maintenance("a test"):
        pass
    older = {name: kind for name, kind in SYNC_STATE_COLUMNS.items() if name not in ADDED_SYNC_STATE_COLUMNS}
    state = warehouse.location.table("ai_audit_sync_state")
    listed = ", ".join(f"`{name}` {kind}" for name, kind in bigquery_types(older).items())
    for statement in (f"drop table {state}", f"create table {state} ({listed})"):
        open_client(warehouse.location).query(statement).result()
    later = BigQueryWarehouse(settings, BigQueryOptions())
    assert load(source, later) == 3
    with later.maintenance("a test") as maintenance:
        assert maintenance.fetch(
            "select clock_skew_seconds is null, is_replica from analytics.ai_audit_sync_state"
        ) == [(False, False)]


def test_a_commit_whose_answer_is_lost_is_fetched_and_not_done_again(
    source: str, warehouse: BigQueryWarehouse, proxy: Proxy
):
    insert_rows(source, 12, NOW - 3 * DAY, DAY / 5)
    proxy.faults = [Fault(asks(b"begin transaction"), lose=True, times=3)]
    assert load(source, warehouse) == 12
    tables = dump(warehouse)
    assert len(tables["ai_audit_logs"]) == 12
    assert {loads for _, loads, *_ in tables["ai_audit_days"]} == {1}  # each day counted once
    assert proxy.faults[0].times == 0


def test_an_upload_whose_answer_is_lost_is_fetched_and_not_loaded_twice(
    source: str, warehouse: BigQueryWarehouse, proxy: Proxy
):
    insert_rows(source, 12, NOW - 3 * DAY, DAY / 5)
    proxy.faults = [Fault(lambda method, path, _: method == "POST" and "/upload/" in path, lose=True)]
    assert load(source, warehouse) == 12
    assert proxy.faults[0].times == 0
    assert len(dump(warehouse)["ai_audit_logs"]) == 12


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(asks(b"begin transaction"), status=403, reason="accessDenied", times=99), "roles/bigquery.dataEditor"),
        (Fault(asks(b"begin transaction"), status=403, reason="quotaExceeded", times=99), "raise `every`"),
        (Fault(asks(b"begin transaction"), status=401, reason="authError", times=99), "application-default login"),
        (Fault(asks(b"begin transaction"), status=404, reason="notFound", times=99), "AI_AUDIT_BIGQUERY_PROJECT"),
        (Fault(asks(b"begin transaction"), status=400, reason="invalidQuery", times=99), "docs/bigquery.md"),
    ],
    ids=["permission", "quota", "credentials", "place", "statement"],
)
def test_a_refusal_comes_with_a_fix_and_leaves_nothing_half_loaded(
    fault: Fault, message: str, source: str, warehouse: BigQueryWarehouse, proxy: Proxy
):
    insert_rows(source, 4, NOW - DAY, DAY / 10)
    with warehouse.writer("a test") as writer:
        before = writer.position()
    proxy.faults = [fault]
    with pytest.raises(WarehouseError) as raised:
        load(source, warehouse)
    assert message in str(raised.value)
    assert "http" not in str(raised.value).replace(proxy.endpoint, "")
    proxy.faults = []
    assert dump(warehouse)["ai_audit_logs"] == []
    with warehouse.writer("a test") as writer:
        assert writer.position() == before
    assert load(source, warehouse) == 4


def test_a_missing_table_is_reported_with_the_build_command(warehouse: BigQueryWarehouse, proxy: Proxy):
    message = "Not found: Table test:analytics.ai_audit_alerts was not found in location US"
    proxy.faults = [Fault(asks(b"ai_audit_alerts"), status=404, reason="notFound", message=message, times=9)]
    with pytest.raises(WarehouseError, match="audit build"):
        warehouse.rows("select count(*) as n from analytics.ai_audit_alerts", {})


def test_a_service_that_is_busy_for_a_moment_is_asked_again(source: str, warehouse: BigQueryWarehouse, proxy: Proxy):
    insert_rows(source, 4, NOW - DAY, DAY / 10)
    proxy.faults = [
        Fault(asks(b"begin transaction"), status=503, reason="backendError", times=2),
        Fault(asks(b"select"), status=429, reason="rateLimitExceeded", times=2),
    ]
    assert load(source, warehouse) == 4


def test_a_statement_that_fails_rolls_back_what_came_before_it(
    source: str, warehouse: BigQueryWarehouse, settings: Settings
):
    insert_rows(source, 4, NOW - DAY, DAY / 10)
    load(source, warehouse)
    with warehouse.maintenance("a test") as maintenance:
        maintenance.fetch("drop table analytics.ai_audit_days")
    insert_rows(source, 4, NOW - DAY / 2, DAY / 100, "more")
    with pytest.raises(WarehouseError):
        load(source, warehouse)
    with BigQueryWarehouse(settings, BigQueryOptions()).maintenance("a test"):
        pass  # makes the table again
    assert len(dump(warehouse)["ai_audit_logs"]) == 4
    assert load(source, warehouse) == 4


def test_an_unreachable_endpoint_is_reported_within_a_minute(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "_RETRY_SECONDS", 1.0)
    nowhere = settings.model_copy(update={"bigquery_endpoint": "http://127.0.0.1:9"})
    with (
        pytest.raises(WarehouseError, match=r"cannot be reached.*AI_AUDIT_BIGQUERY_ENDPOINT"),
        BigQueryWarehouse(nowhere, BigQueryOptions()).writer("a test"),
    ):
        pass


def test_without_credentials_it_says_how_to_get_some(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    real = settings.model_copy(update={"bigquery_endpoint": None})
    with pytest.raises(WarehouseError, match="gcloud auth application-default login"):
        open_client(location_of(real))


@pytest.mark.parametrize(
    ("name", "value"), [("PROJECT", "Not A Project"), ("DATASET", "a-b"), ("ENDPOINT", "127.0.0.1:9050")]
)
def test_an_invalid_location_is_refused_by_the_name_of_its_setting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"AI_AUDIT_BIGQUERY_{name}", value)
    with pytest.raises(SettingsError, match=f"AI_AUDIT_BIGQUERY_{name}"):
        read_settings(None)


def test_no_staging_table_is_left_behind(source: str, warehouse: BigQueryWarehouse):
    insert_rows(source, 30, NOW - 3 * DAY, DAY / 10)
    load(source, warehouse)
    load(source, warehouse)
    tables = warehouse._jobs.tables()  # pyright: ignore[reportPrivateUsage] - maintenance lists no staging tables
    assert not [table for table in tables if table.startswith("staging")]
