"""On the same rows Looker's and Metabase's SQL give what the built-in pages show."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from audit_assets.dashboards.definition import Tile
from audit_assets.dashboards.load import TABS, load_definition
from audit_assets.dashboards.query import columns_of, tile_query
from audit_assets.dashboards.scope import Scope
from audit_assets.dashboards.twins.looker_names import PROJECT
from audit_assets.dashboards.twins.lookml_compile import Asked, compile_element
from audit_assets.dashboards.twins.lookml_project import read_project
from audit_assets.dashboards.twins.mart_types import empty_warehouse, known_tables
from audit_assets.dashboards.twins.metabase import card_sql
from audit_assets.dashboards.twins.metabase_export import substituted
from audit_assets.dashboards.twins.verification import for_duckdb
from audit_assets_tests.dashboards.made_rows import fill
from audit_assets_tests.dashboards.planted import SHIPPED

pytestmark = pytest.mark.requirement("R51")

TODAY = datetime.now(UTC).date() - timedelta(days=2)
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
    return Scope(FIRST, TODAY, datetime.now(UTC), None, None, chosen)


def built_in(connection: duckdb.DuckDBPyConnection, tile: Tile, asked: Scope) -> pl.DataFrame:
    query = tile_query(tile.model_copy(update={"limit": 5000}), DEFINITION.source(tile.source), asked)
    parameters = {name: list(values) for name, values in query.parameters.items()}
    return pl.DataFrame(connection.sql(query.sql, params=parameters).to_arrow_table())


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Numbers as floats, flags and times as texts, rows in order: what both sides can be compared in."""
    told: list[pl.Expr] = []
    for name, kind in rows.schema.items():
        if kind.is_numeric():
            told.append(pl.col(name).cast(pl.Float64))
        elif isinstance(kind, pl.Datetime):
            told.append(pl.col(name).dt.convert_time_zone("UTC").dt.strftime("%F %T"))
        elif kind == pl.Boolean:
            told.append(pl.when(pl.col(name)).then(pl.lit("Yes")).otherwise(pl.lit("No")).alias(name))
        else:
            told.append(pl.col(name).cast(pl.String))
    return rows.select(told).sort(rows.columns)


@pytest.mark.parametrize("filters", FILTERS, ids=["all", "chosen"])
@pytest.mark.parametrize(("page", "tile"), TILES, ids=[tile.id for _, tile in TILES])
def test_looker_shows_the_figures_of_the_built_in_page(page, tile, filters, warehouse):
    if tile.show in ("gauge",):
        pytest.skip("counts from the moment it is asked")
    (dashboard,) = [each for each in LOOKER.dashboards if each.file == f"dashboards/{page.page}.dashboard.lookml"]
    (element,) = [each for each in dashboard.elements if each["name"] == tile.id]
    asked = Asked(TODAY, (FIRST, TODAY), {name.capitalize(): values for name, values in filters.items()})
    compiled = compile_element(LOOKER, dashboard, {**element, "limit": "5000"}, asked)
    there = pl.DataFrame(warehouse.sql(for_duckdb(compiled.sql)).to_arrow_table())
    shown = built_in(warehouse, tile.model_copy(update={"show": "line"}) if tile.show in ("area", "heatmap") else tile,
                     scope(filters, page.filters))  # fmt: skip
    by, figures = columns_of(tile, DEFINITION.source(tile.source))
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
def test_metabase_shows_the_figures_of_the_built_in_page(page, tile, filters, warehouse):
    if tile.show in ("gauge",):
        pytest.skip("counts from the moment it is asked")
    asked = scope(filters, page.filters)
    values = {"from": FIRST.isoformat(), "to": TODAY.isoformat()}
    values |= {name: texts[0] for name, texts in asked.filters.items()}
    whole = tile.model_copy(update={"limit": 5000})
    sql = for_duckdb(substituted(card_sql(whole, DEFINITION.source(tile.source)), values))
    there = pl.DataFrame(warehouse.sql(sql).to_arrow_table())
    shown = built_in(warehouse, tile, asked)
    if tile.show == "funnel":
        _, figures = columns_of(tile, DEFINITION.source(tile.source))
        assert there.sort("step")["interactions"].cast(pl.Float64).to_list() == [
            float(shown[name].item()) for name in figures
        ]
        return
    assert shown.height
    assert_frame_equal(plain(there.select(shown.columns)), plain(shown))
