"""The pages over a warehouse that answers in BigQuery's dialect show what they show over the snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from audit_assets.dashboards.addresses import Addresses
from audit_assets.dashboards.board import Board
from audit_assets.dashboards.load import TABS
from audit_assets.dashboards.query import Query
from audit_assets.dashboards.reader import ReadError
from audit_assets.dashboards.twins.verification import for_duckdb
from audit_assets.dashboards.warehouse_reader import WarehouseReader
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import open_snapshot
from audit_assets_tests.dashboards.proving import Dashboards
from audit_assets_tests.dashboards.test_pages import rendered, tiles_of

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Transpiled:
    """Takes BigQuery's SQL and answers it from a snapshot, by way of DuckDB's."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.asked = connection, 0
        self.alone = threading.RLock()  # a connection answers one at a time

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        with self.alone:
            return self.answered(sql, parameters)

    def answered(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        self.asked += 1
        for name in parameters:
            assert f"in unnest(@{name})" in sql
        given = {name: list(values) for name, values in parameters.items()}
        try:
            return self.connection.sql(for_duckdb(sql), params=given).to_arrow_table()
        except duckdb.Error as error:
            raise WarehouseError(str(error)) from error


@pytest.mark.requirement("R50")
@pytest.mark.parametrize("filters", [{}, {"capability": "contract_check", "provider": "openai"}], ids=["all", "chosen"])
@pytest.mark.parametrize("tab", TABS)
def test_a_tab_over_bigquerys_dialect_says_what_it_says_over_the_snapshot(
    dashboards: Dashboards, tab: str, filters: dict[str, str]
):
    with open_snapshot(dashboards.snapshot) as connection:
        there = Board(dashboards.definition, WarehouseReader(Transpiled(connection), lambda: NOON), Addresses())
        here = Board(dashboards.definition, dashboards.reader, Addresses())
        shown, told = (tiles_of(rendered(board, tab, filters, dashboards.now)) for board in (here, there))
    assert told == shown
    assert not any("Unavailable" in words for words in shown.values())


@pytest.mark.requirement("R50")
def test_a_page_asks_a_warehouse_far_away_many_questions_at_once_and_none_twice(dashboards: Dashboards):
    with open_snapshot(dashboards.snapshot) as connection:
        far = FarAway(connection)
        board = Board(dashboards.definition, WarehouseReader(far, lambda: NOON), Addresses())
        tiles_of(rendered(board, "overview", {}, dashboards.now))
    assert far.most_at_once > 2
    assert len(far.questions) == len(set(far.questions))


class FarAway(Transpiled):
    """Answers after a moment."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(connection)
        self.questions: list[str] = []
        self.at_once, self.most_at_once, self.counting = 0, 0, threading.Lock()

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        with self.counting:
            self.questions.append(sql + repr(sorted(parameters.items())))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.05)
        with self.counting:
            self.at_once -= 1
        return super().rows(sql, parameters)


def test_what_was_answered_is_kept_for_a_minute():
    at = [NOON]
    with duckdb.connect() as connection:
        warehouse = Transpiled(connection)
        reader = WarehouseReader(warehouse, lambda: at[0])
        for seconds, asked in ((0, 1), (59, 1), (60, 2), (61, 2)):
            at[0] = NOON + timedelta(seconds=seconds)
            assert reader.read(Query("select 1 as n")).item() == 1
            assert warehouse.asked == asked


def test_a_warehouse_that_cannot_answer_is_told_in_its_words():
    with duckdb.connect() as connection:
        reader = WarehouseReader(Transpiled(connection), lambda: NOON)
        with pytest.raises(ReadError, match="nowhere"):
            reader.read(Query("select * from nowhere"))
        assert reader.freshness() is None
