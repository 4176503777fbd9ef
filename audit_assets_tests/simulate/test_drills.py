"""Drills: rows that say what they are, history to compare with, trouble that can be taken back, nothing left behind."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from audit_assets.simulate.drills import (
    HISTORY,
    RULE_OF,
    Drill,
    DrillName,
    add_history,
    begin_trouble,
    end_trouble,
    history,
    remove,
    trouble,
)
from audit_assets.simulate.tables import connected
from audit_assets_tests.rules.made import shipped_rules

pytestmark = pytest.mark.requirement("R39")

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
QUIET = NOW - timedelta(hours=8)


def drill(name: DrillName) -> Drill:
    return Drill(name, "ab12cd", NOW, QUIET)


def test_every_drill_is_watched_by_a_rule_that_is_there():
    assert set(RULE_OF.values()) <= set(shipped_rules().ids)


def test_every_row_of_a_drill_says_that_it_is_one():
    rows = pl.concat([*history(drill("spike")), trouble(drill("spike"))])
    assert rows.get_column("capability").unique().to_list() == ["drill-ab12cd"]
    assert all(json.loads(text)["drillId"] == "ab12cd" for text in rows.get_column("request_metadata"))
    assert rows.get_column("id").is_unique().all()


def test_there_are_28_days_of_history_but_for_a_capability_that_is_new():
    times = pl.concat(list(history(drill("drop")))).get_column("created_at")
    assert NOW - HISTORY <= times.min() < NOW - HISTORY + timedelta(hours=1)  # type: ignore[operator]
    assert NOW - timedelta(hours=1) < times.max() < NOW  # type: ignore[operator]
    assert list(history(drill("new-capability"))) == []


def test_the_same_drill_makes_the_same_rows():
    assert trouble(drill("errors")).equals(trouble(drill("errors")))
    failing = [
        json.loads(text)["status"] == "error" for text in trouble(drill("errors")).get_column("response_metadata")
    ]
    assert 0.3 < sum(failing) / len(failing) < 0.7


@pytest.mark.parametrize("name", list(RULE_OF))
def test_the_trouble_can_be_taken_back_and_nothing_is_left(source: str, name: DrillName):
    def held() -> int:
        with connected(source) as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from ai_audit_logs where capability = 'drill-ab12cd'")
            return cursor.fetchone()[0]

    one = drill(name)
    ordinary = add_history(source, one)
    assert held() == ordinary
    begin_trouble(source, one)
    assert (held() < ordinary) == (name in ("drop", "silence"))
    end_trouble(source, one)
    assert held() >= ordinary * 0.95
    assert remove(source, one) > 0 or name == "new-capability"
    assert held() == 0
