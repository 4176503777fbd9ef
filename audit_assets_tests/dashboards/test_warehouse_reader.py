"""The pages show the same on a warehouse with BigQuery's dialect as on the snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from audit_assets.dashboards.definition.load import TABS
from audit_assets.dashboards.query.reader import ReadError, WarehouseReader
from audit_assets.dashboards.query.sql import Query
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.page_renderer import PageRenderer
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import open_snapshot
from audit_assets_tests.dashboards.proving import Dashboards
from audit_assets_tests.dashboards.test_pages import rendered, tiles_of
from tools.bi_check.verification import to_duckdb_sql

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Transpiled:
    """Runs BigQuery SQL on a snapshot by translating it to DuckDB."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.query_count = connection, 0
        self.alone = threading.RLock()  # a connection runs one query at a time

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> Any:
        with self.alone:
            return self.run(sql, parameters)

    def run(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> Any:
        self.query_count += 1
        for name in parameters:
            assert f"in unnest(@{name})" in sql
        given = {name: list(values) for name, values in parameters.items()}
        try:
            return self.connection.sql(to_duckdb_sql(sql), params=given).to_arrow_table()
        except duckdb.Error as error:
            raise WarehouseError(str(error)) from error


@pytest.mark.requirement("R50")
@pytest.mark.parametrize("filters", [{}, {"capability": "contract_check", "provider": "openai"}], ids=["all", "chosen"])
@pytest.mark.parametrize("tab", TABS)
def test_a_tab_over_bigquerys_dialect_shows_the_same_as_over_the_snapshot(
    dashboards: Dashboards, tab: str, filters: dict[str, str]
):
    with open_snapshot(dashboards.snapshot) as connection:
        there = PageRenderer(dashboards.definition, WarehouseReader(Transpiled(connection), lambda: NOON), Links())
        here = PageRenderer(dashboards.definition, dashboards.reader, Links())
        snapshot_tiles, warehouse_tiles = (
            tiles_of(rendered(renderer, tab, filters, dashboards.now)) for renderer in (here, there)
        )
    assert warehouse_tiles == snapshot_tiles
    assert not any("Unavailable" in words for words in snapshot_tiles.values())


@pytest.mark.requirement("R50")
def test_a_page_runs_warehouse_queries_concurrently_and_none_twice(dashboards: Dashboards):
    with open_snapshot(dashboards.snapshot) as connection:
        far = FarAway(connection)
        renderer = PageRenderer(dashboards.definition, WarehouseReader(far, lambda: NOON), Links())
        tiles_of(rendered(renderer, "overview", {}, dashboards.now))
    assert far.most_at_once > 2
    assert len(far.questions) == len(set(far.questions))


class FarAway(Transpiled):
    """Runs each query with a delay."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(connection)
        self.questions: list[str] = []
        self.max_concurrency, self.most_at_once, self.counting = 0, 0, threading.Lock()

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> Any:
        with self.counting:
            self.questions.append(sql + repr(sorted(parameters.items())))
            self.max_concurrency += 1
            self.most_at_once = max(self.most_at_once, self.max_concurrency)
        time.sleep(0.05)
        with self.counting:
            self.max_concurrency -= 1
        return super().rows(sql, parameters)


def test_query_results_are_cached_for_a_minute():
    at = [NOON]
    with duckdb.connect() as connection:
        warehouse = Transpiled(connection)
        reader = WarehouseReader(warehouse, lambda: at[0])
        for seconds, count in ((0, 1), (59, 1), (60, 2), (61, 2)):
            at[0] = NOON + timedelta(seconds=seconds)
            assert reader.read(Query("select 1 as n")).item() == 1
            assert warehouse.query_count == count


def test_a_warehouse_error_is_passed_on_with_its_message():
    with duckdb.connect() as connection:
        reader = WarehouseReader(Transpiled(connection), lambda: NOON)
        with pytest.raises(ReadError, match="nowhere"):
            reader.read(Query("select * from nowhere"))
        assert reader.freshness() is None
