"""On the same rows, the SQL of Looker and Metabase gives the same results as the built-in pages."""

from collections.abc import Iterator
from datetime import timedelta

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from audit_assets.bi_export.looker import PROJECT
from audit_assets.bi_export.mart_types import empty_warehouse, known_tables
from audit_assets.bi_export.metabase import card_sql
from audit_assets.dashboards.definition.load import TABS, load_definition
from audit_assets.dashboards.definition.model import Page, Tile
from audit_assets.dashboards.query.scope import Scope
from audit_assets.dashboards.query.sql import tile_columns, tile_query
from audit_assets_tests.dashboards.planted import SHIPPED
from audit_assets_tests.dashboards.row_factories import fill
from audit_assets_tests.environments import NOW
from tools.bi_check.lookml_compile import DashboardSelection, compile_element
from tools.bi_check.lookml_project import read_project
from tools.bi_check.metabase_export import substitute
from tools.bi_check.verification import to_duckdb_sql

pytestmark = pytest.mark.requirement("R51")

TODAY = NOW.date() - timedelta(days=2)
FIRST = TODAY - timedelta(days=9)
DEFINITION = load_definition(SHIPPED)
LOOKER = read_project(SHIPPED / "looker")
TILES = [(page, tile) for page, tile in DEFINITION.tiles if page.page in TABS]
FILTERS = [{}, {"capability": ("review",), "provider": ("openai",), "team": ("red",), "activity": ("active",)}]


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    read = {table for source in DEFINITION.metrics.sources.values() for table in source.reads}
    tables = {name: columns for name, columns in known_tables().items() if name in read}
    with empty_warehouse(tables, PROJECT) as connection:
        fill(connection, tables, TODAY)
        yield connection


def scope(filters: dict[str, tuple[str, ...]], page_filters: tuple[str, ...]) -> Scope:
    chosen = {name: values for name, values in filters.items() if name in page_filters}
    return Scope(FIRST, TODAY, NOW, None, None, chosen)


def built_in(connection: duckdb.DuckDBPyConnection, tile: Tile, selection: Scope) -> pl.DataFrame:
    query = tile_query(tile.model_copy(update={"limit": 5000}), DEFINITION.source(tile.source), selection)
    parameters = {name: list(values) for name, values in query.parameters.items()}
    return pl.DataFrame(connection.sql(query.sql, params=parameters).to_arrow_table())


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """A comparable form: numbers as floats, flags and times as text, rows sorted."""
    columns: list[pl.Expr] = []
    for name, kind in rows.schema.items():
        if kind.is_numeric():
            columns.append(pl.col(name).cast(pl.Float64))
        elif isinstance(kind, pl.Datetime):
            columns.append(pl.col(name).dt.convert_time_zone("UTC").dt.strftime("%F %T"))
        elif kind == pl.Boolean:
            columns.append(pl.when(pl.col(name)).then(pl.lit("Yes")).otherwise(pl.lit("No")).alias(name))
        else:
            columns.append(pl.col(name).cast(pl.String))
    return rows.select(columns).sort(rows.columns)


@pytest.mark.parametrize("filters", FILTERS, ids=["all", "chosen"])
@pytest.mark.parametrize(("page", "tile"), TILES, ids=[tile.id for _, tile in TILES])
def test_looker_shows_the_figures_of_the_built_in_page(
    page: Page, tile: Tile, filters: dict[str, tuple[str, ...]], warehouse: duckdb.DuckDBPyConnection
):
    if tile.show in ("gauge",):
        pytest.skip("depends on the time of the query")
    (dashboard,) = [each for each in LOOKER.dashboards if each.file == f"dashboards/{page.page}.dashboard.lookml"]
    (element,) = [each for each in dashboard.elements if each["name"] == tile.id]
    selection = DashboardSelection(
        TODAY, (FIRST, TODAY), {name.capitalize(): values for name, values in filters.items()}
    )
    compiled = compile_element(LOOKER, dashboard, {**element, "limit": "5000"}, selection)
    there = pl.DataFrame(warehouse.sql(to_duckdb_sql(compiled.sql)).to_arrow_table())
    shown = built_in(warehouse, tile.model_copy(update={"show": "line"}) if tile.show in ("area", "heatmap") else tile,
                     scope(filters, page.filters))  # fmt: skip
    by, figures = tile_columns(tile, DEFINITION.source(tile.source))
    names = {f"{tile.source}_{name}": name for name in (*by, *figures)}
    names |= {f"{tile.source}_{name}_figure": name for name in (*by, *figures)}
    there = there.select([pl.col(name).alias(names[name]) for name in there.columns if name in names])
    flags = [name for name, kind in shown.schema.items() if kind == pl.Boolean and there.schema[name].is_numeric()]
    shown = shown.with_columns(pl.col(name).cast(pl.Int64) for name in flags)
    if tile.show == "table":  # Looker lists equal rows once
        shown = shown.unique()
    assert shown.height
    assert_frame_equal(plain(there.select(shown.columns)), plain(shown))


@pytest.mark.parametrize("filters", FILTERS, ids=["all", "chosen"])
@pytest.mark.parametrize(("page", "tile"), TILES, ids=[tile.id for _, tile in TILES])
def test_metabase_shows_the_figures_of_the_built_in_page(
    page: Page, tile: Tile, filters: dict[str, tuple[str, ...]], warehouse: duckdb.DuckDBPyConnection
):
    if tile.show in ("gauge",):
        pytest.skip("depends on the time of the query")
    selection = scope(filters, page.filters)
    values = {"from": FIRST.isoformat(), "to": TODAY.isoformat()}
    values |= {name: texts[0] for name, texts in selection.filters.items()}
    whole = tile.model_copy(update={"limit": 5000})
    sql = to_duckdb_sql(substitute(card_sql(whole, DEFINITION.source(tile.source)), values))
    there = pl.DataFrame(warehouse.sql(sql).to_arrow_table())
    shown = built_in(warehouse, tile, selection)
    if tile.show == "funnel":
        _, figures = tile_columns(tile, DEFINITION.source(tile.source))
        assert there.sort("step")["interactions"].cast(pl.Float64).to_list() == [
            float(shown[name].item()) for name in figures
        ]
        return
    assert shown.height
    assert_frame_equal(plain(there.select(shown.columns)), plain(shown))
