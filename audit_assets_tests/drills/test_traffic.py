"""Rows of drills: they carry the drill's id, have a history, can be reverted, and are removed completely."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from audit_assets.demo.source_tables import connect
from audit_assets.drills.traffic import (
    HISTORY,
    RULE_OF,
    Drill,
    DrillName,
    add_history,
    anomaly_rows,
    begin_anomaly,
    end_anomaly,
    history,
    remove,
)
from audit_assets_tests.rules.factories import shipped_rules

pytestmark = pytest.mark.requirement("R39")

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
QUIET = NOW - timedelta(hours=8)


def drill(name: DrillName) -> Drill:
    return Drill(name, "ab12cd", NOW, QUIET)


def test_every_drill_is_watched_by_a_rule_that_is_there():
    assert set(RULE_OF.values()) <= set(shipped_rules().ids)


def test_every_row_of_a_drill_carries_its_drill_id():
    rows = pl.concat([*history(drill("spike")), anomaly_rows(drill("spike"))])
    assert rows.get_column("capability").unique().to_list() == ["drill-ab12cd"]
    assert all(json.loads(text)["drillId"] == "ab12cd" for text in rows.get_column("request_metadata"))
    assert rows.get_column("id").is_unique().all()


def test_there_are_28_days_of_history_but_for_a_capability_that_is_new():
    times = pl.concat(list(history(drill("drop")))).get_column("created_at")
    assert NOW - HISTORY <= min(times) < NOW - HISTORY + timedelta(hours=1)
    assert NOW - timedelta(hours=1) < max(times) < NOW
    assert list(history(drill("new-capability"))) == []


def test_the_same_drill_makes_the_same_rows():
    assert anomaly_rows(drill("errors")).equals(anomaly_rows(drill("errors")))
    failing = [
        json.loads(text)["status"] == "error" for text in anomaly_rows(drill("errors")).get_column("response_metadata")
    ]
    assert 0.3 < sum(failing) / len(failing) < 0.7


@pytest.mark.parametrize("name", list(RULE_OF))
def test_the_anomaly_can_be_reverted_and_nothing_is_left(source: str, name: DrillName):
    def count() -> int:
        with connect(source) as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from ai_audit_logs where capability = 'drill-ab12cd'")
            ((number,),) = cursor.fetchall()
            return number

    made = drill(name)
    ordinary = add_history(source, made)
    assert count() == ordinary
    begin_anomaly(source, made)
    assert (count() < ordinary) == (name in ("drop", "silence"))
    end_anomaly(source, made)
    assert count() >= ordinary * 0.95
    assert remove(source, made) > 0 or name == "new-capability"
    assert count() == 0
