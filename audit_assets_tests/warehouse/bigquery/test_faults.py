"""What goes wrong on the way to BigQuery: lost answers, refusals, jobs that end in error, nobody there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request
from audit_assets.settings import Settings, SettingsError, read_settings
from audit_assets.warehouse.bigquery import jobs
from audit_assets.warehouse.bigquery.client import open_client, place_of
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets_tests.emulator.proxy import Fault, Matches, Proxy, proxy_to
from audit_assets_tests.emulator.running import Emulator
from audit_assets_tests.ingest.both_sides import DAY, NOW, POLICY, spread
from audit_assets_tests.warehouse.bigquery.conftest import settings_for
from audit_assets_tests.warehouse.bigquery.test_same_as_duckdb import dump

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
    return BigQueryWarehouse(settings, BigQueryTerms())


def load(source: str, warehouse: BigQueryWarehouse) -> int:
    return sync(source, warehouse, POLICY, Request("full", since=FIRST)).run.counts.added


def asks(words: bytes) -> Matches:
    """A request that makes a job whose body holds `words`."""
    return lambda method, path, body: method in ("POST", "PUT") and words in body


def test_a_commit_whose_answer_is_lost_is_fetched_and_not_done_again(
    source: str, warehouse: BigQueryWarehouse, proxy: Proxy
):
    spread(source, 12, NOW - 3 * DAY, DAY / 5)
    proxy.faults = [Fault(asks(b"begin transaction"), lose=True, times=3)]
    assert load(source, warehouse) == 12
    held = dump(warehouse)
    assert len(held["ai_audit_logs"]) == 12
    assert {loads for _, loads, *_ in held["ai_audit_days"]} == {1}  # each day counted once
    assert proxy.faults[0].times == 0


def test_an_upload_whose_answer_is_lost_is_fetched_and_not_loaded_twice(
    source: str, warehouse: BigQueryWarehouse, proxy: Proxy
):
    spread(source, 12, NOW - 3 * DAY, DAY / 5)
    proxy.faults = [Fault(lambda method, path, _: method == "POST" and "/upload/" in path, lose=True)]
    assert load(source, warehouse) == 12
    assert proxy.faults[0].times == 0
    assert len(dump(warehouse)["ai_audit_logs"]) == 12


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(asks(b"begin transaction"), status=403, reason="accessDenied", times=99), "roles/bigquery.dataEditor"),
        (Fault(asks(b"begin transaction"), status=403, reason="quotaExceeded", times=99), "raise `every`"),
        (Fault(asks(b"begin transaction"), status=401, reason="authError", times=99), "application-default login"),
        (Fault(asks(b"begin transaction"), status=404, reason="notFound", times=99), "AI_AUDIT_BIGQUERY_PROJECT"),
        (Fault(asks(b"begin transaction"), status=400, reason="invalidQuery", times=99), "docs/bigquery.md"),
    ],
    ids=["permission", "quota", "credentials", "place", "statement"],
)
def test_a_refusal_says_the_mend_and_leaves_nothing_half_loaded(
    fault: Fault, said: str, source: str, warehouse: BigQueryWarehouse, proxy: Proxy
):
    spread(source, 4, NOW - DAY, DAY / 10)
    with warehouse.writer("a test") as writer:
        before = writer.position()
    proxy.faults = [fault]
    with pytest.raises(WarehouseError) as raised:
        load(source, warehouse)
    assert said in str(raised.value)
    assert "http" not in str(raised.value).replace(proxy.endpoint, "")
    proxy.faults = []
    assert dump(warehouse)["ai_audit_logs"] == []
    with warehouse.writer("a test") as writer:
        assert writer.position() == before
    assert load(source, warehouse) == 4


def test_a_table_that_is_not_there_yet_is_said_to_be_built(warehouse: BigQueryWarehouse, proxy: Proxy):
    message = "Not found: Table test:analytics.ai_audit_alerts was not found in location US"
    proxy.faults = [Fault(asks(b"ai_audit_alerts"), status=404, reason="notFound", message=message, times=9)]
    with pytest.raises(WarehouseError, match="audit build"):
        warehouse.rows("select count(*) as n from analytics.ai_audit_alerts", {})


def test_a_service_that_is_busy_for_a_moment_is_asked_again(source: str, warehouse: BigQueryWarehouse, proxy: Proxy):
    spread(source, 4, NOW - DAY, DAY / 10)
    proxy.faults = [
        Fault(asks(b"begin transaction"), status=503, reason="backendError", times=2),
        Fault(asks(b"select"), status=429, reason="rateLimitExceeded", times=2),
    ]
    assert load(source, warehouse) == 4


def test_a_statement_that_fails_rolls_back_what_came_before_it(source: str, warehouse: BigQueryWarehouse):
    spread(source, 4, NOW - DAY, DAY / 10)
    load(source, warehouse)
    with warehouse.keeper("a test") as keeper:
        keeper.fetch("drop table analytics.ai_audit_days")
    spread(source, 4, NOW - DAY / 2, DAY / 100, "more")
    with pytest.raises(WarehouseError):
        load(source, warehouse)
    warehouse._is_made = False
    with warehouse.keeper("a test"):
        pass  # makes the table again
    assert len(dump(warehouse)["ai_audit_logs"]) == 4
    assert load(source, warehouse) == 4


def test_nobody_at_the_endpoint_is_told_within_the_minute(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "_RETRY_SECONDS", 1.0)
    nowhere = settings.model_copy(update={"bigquery_endpoint": "http://127.0.0.1:9"})
    with (
        pytest.raises(WarehouseError, match=r"cannot be reached.*AI_AUDIT_BIGQUERY_ENDPOINT"),
        BigQueryWarehouse(nowhere, BigQueryTerms()).writer("a test"),
    ):
        pass


def test_without_credentials_it_says_how_to_get_some(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    real = settings.model_copy(update={"bigquery_endpoint": None})
    with pytest.raises(WarehouseError, match="gcloud auth application-default login"):
        open_client(place_of(real))


@pytest.mark.parametrize(
    ("name", "value"), [("PROJECT", "Not A Project"), ("DATASET", "a-b"), ("ENDPOINT", "127.0.0.1:9050")]
)
def test_a_place_that_cannot_be_is_refused_by_the_name_of_its_setting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"AI_AUDIT_BIGQUERY_{name}", value)
    with pytest.raises(SettingsError, match=f"AI_AUDIT_BIGQUERY_{name}"):
        read_settings(None)


def test_no_staging_table_is_left_behind(source: str, warehouse: BigQueryWarehouse):
    spread(source, 30, NOW - 3 * DAY, DAY / 10)
    load(source, warehouse)
    load(source, warehouse)
    assert not [table for table in warehouse._jobs.tables() if table.startswith("staging")]
