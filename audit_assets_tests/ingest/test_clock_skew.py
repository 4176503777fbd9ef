"""Clock skew between source and reader is measured and reported, and no watermark runs ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import SourceFacts
from audit_assets.ingest.sync import SyncReport, sync
from audit_assets.ingest.windows import Request, usable_watermark, watermark_after
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import SyncPosition
from audit_assets_tests.ingest.both_sides import fetch, insert_row, loaded_ids

pytestmark = pytest.mark.requirement("R10")

POLICY = SyncPolicy()
HOUR = timedelta(hours=1)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def synced(source: str, warehouse: DuckDBWarehouse, ahead: timedelta) -> SyncReport:
    """Runs a sync whose reader's clock is behind the source's by `ahead`."""
    return sync(source, warehouse, POLICY, Request("delta"), now=lambda: datetime.now(UTC) - ahead)


@pytest.mark.parametrize(("hours", "message"), [(2, "7200 s ahead of"), (-2, "7200 s behind")])
def test_clock_skew_is_recorded_and_reported(source: str, warehouse: DuckDBWarehouse, hours: int, message: str):
    insert_row(source, "a", datetime.now(UTC))
    report = synced(source, warehouse, hours * HOUR)
    assert [message in warning for warning in report.warnings] == [True]
    ((skew,),) = fetch(warehouse, "select clock_skew_seconds from analytics.ai_audit_sync_state")
    assert skew == pytest.approx(hours * 3600, abs=5)
    assert synced(source, warehouse, timedelta(seconds=5)).warnings == ()


def test_a_source_ahead_moves_no_watermark_past_the_reader_and_its_rows_come_once_it_is_set_back(
    source: str, warehouse: DuckDBWarehouse
):
    insert_row(source, "ahead", datetime.now(UTC))
    report = synced(source, warehouse, 2 * HOUR)
    assert report.run.watermark is not None
    assert report.run.watermark <= datetime.now(UTC) - 2 * HOUR + POLICY.clock_tolerance
    insert_row(source, "after", datetime.now(UTC))
    synced(source, warehouse, timedelta())
    assert loaded_ids(warehouse) == ["after", "ahead"]


def test_a_delta_goes_on_from_the_last_success_where_the_recorded_watermark_lies_in_the_future(
    source: str, warehouse: DuckDBWarehouse
):
    insert_row(source, "before", datetime.now(UTC) - HOUR)
    synced(source, warehouse, timedelta())
    with warehouse.connection("a test") as connection:
        connection.execute("update analytics.ai_audit_sync_state set watermark = now() + interval 2 hours")
    insert_row(source, "after", datetime.now(UTC))
    report = synced(source, warehouse, timedelta())
    assert loaded_ids(warehouse) == ["after", "before"]
    assert any("lies in the future" in warning for warning in report.warnings)
    ((latest,),) = fetch(warehouse, "select max(watermark) <= now() from analytics.ai_audit_sync_state")
    assert latest
    assert synced(source, warehouse, timedelta()).warnings == ()


def test_the_watermark_is_capped_by_the_clock_that_is_behind():
    ahead = SourceFacts(AT + 2 * HOUR, AT + 2 * HOUR, False, None, True, 7200.0)
    assert watermark_after(AT + 3 * HOUR, ahead, None, POLICY) == AT + POLICY.clock_tolerance
    behind = SourceFacts(AT - 2 * HOUR, AT, False, None, True, -7200.0)
    assert watermark_after(AT + HOUR, behind, None, POLICY) == AT - 2 * HOUR
    assert usable_watermark(SyncPosition(AT, None, AT - HOUR), behind, POLICY) == AT - 3 * HOUR
    assert usable_watermark(SyncPosition(AT - 3 * HOUR, None, AT), behind, POLICY) == AT - 3 * HOUR
