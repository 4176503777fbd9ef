"""BigQuery's marts, executed by Google's reference engine over synthetic rows, compared with DuckDB's row by row."""

from datetime import date, datetime
from typing import Any

import duckdb
import pytest

from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.definition.model import Tile
from audit_assets.dashboards.query.scope import Scope
from audit_assets.dashboards.query.sql import tile_query
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.models.conftest import Models, Row
from audit_assets_tests.reference_engine import EngineError, ReferenceEngine, unlike
from audit_assets_tests.reference_models import NOW, BothEngines, Project, compile_project
from audit_assets_tests.reference_rows import DOCUMENTS, DURATIONS, change_two_days, rows_of_months, rows_of_steps

# Built from steps of minutes: the engine's time is quadratic in the length of a series, so months would take too long.
OF_A_CAPABILITY = ("ai_audit_capability_grid", "ai_audit_capability_outcomes")
OF_ALL = ("ai_audit_total_grid", "ai_audit_total_outcomes")
BY_STEP = (*OF_A_CAPABILITY, *OF_ALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return compile_project(tmp_path_factory.mktemp("bigquery"))


def test_rows_are_unlike_where_a_value_a_type_or_a_row_differs():
    columns = (("day", "TYPE_DATE"), ("n", "TYPE_INT64"), ("x", "TYPE_DOUBLE"))
    rows = [(date(2026, 11, 1), 1, 0.3), (date(2026, 11, 2), None, None)]
    assert unlike(columns, rows, [rows[1], (date(2026, 11, 1), 1, 0.1 + 0.2)]) == []
    assert unlike(columns, rows, rows[:1]) == ["2 rows, not 1"]
    assert unlike(columns, rows, [(date(2026, 11, 1), 1, 0.3 + 1e-8), rows[1]])[0].startswith(
        "x is 0.3, not 0.30000001"
    )
    assert unlike(columns, rows, [(date(2026, 11, 1), 1.0, 0.3), rows[1]])[0].startswith("n is 1, not 1.0")
    assert unlike(columns, rows, [rows[0], (date(2026, 11, 2), 0, None)])[0].startswith("n is None, not 0")


def test_an_engine_error_keeps_the_engines_message(project: Project):
    with pytest.raises(EngineError, match="Unrecognized name: missing"):
        ReferenceEngine(project.tables).query("select missing from ai_audit_daily")
    with pytest.raises(EngineError, match="division by zero"):
        ReferenceEngine({}).query("select 1 / 0 as n")


@pytest.fixture(scope="module")
def months(project: Project, tmp_path_factory: pytest.TempPathFactory) -> BothEngines:
    """All facts except those by step, refreshed over months of rows."""
    duckdb_models = Models(tmp_path_factory.mktemp("months"))
    duckdb_models.clear()
    duckdb_models.load(list(rows_of_months()))
    duckdb_models.execute(
        "insert into ai_audit_workspaces (workspace_id, team, last_accessed_at) values"
        " ('w1', 'red', '2026-11-05 08:00+00'), (' w2', null, '2026-10-24 08:00+00'),"
        " ('w9', 'blue', '2026-11-01 08:00+00'), ('w8', null, null)"
    )
    both = BothEngines(project, duckdb_models, lambda name: name not in BY_STEP and not name.startswith("int_"))
    both.refresh()
    return both


@pytest.mark.requirement("R27")
def test_months_of_facts_are_the_same_rows_on_googles_engine_and_on_duckdb(months: BothEngines):
    months.assert_alike()
    assert months.never_filled() == []


DEFINITION = load_definition(PROJECT_ROOT / "observability/dashboards/ai-audit")
# Not models: the sync's own tables, and the alert ledger.
NOT_BUILT = {"ai_audit_sync_state", "ai_audit_alerts"}
TILES = [tile for _, tile in DEFINITION.tiles if NOT_BUILT.isdisjoint(DEFINITION.metrics.sources[tile.source].reads)]


@pytest.mark.requirement("R50")
@pytest.mark.parametrize(
    "chosen", [{}, {"capability": ("chat", "extract"), "provider": ("openai",)}], ids=["all", "chosen"]
)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.id)
def test_a_tile_shows_the_same_on_googles_engine_and_on_duckdb(
    months: BothEngines, tile: Tile, chosen: dict[str, tuple[str, ...]]
):
    source = DEFINITION.metrics.sources[tile.source]
    scope = Scope(date(2026, 10, 20), date(2026, 11, 5), datetime.fromisoformat(NOW), filters=chosen)
    asked = tile_query(tile, source, scope, engine="bigquery")
    found = months.engine.query(asked.sql.replace("analytics.", ""), asked.parameters)
    asked = tile_query(tile, source, scope)
    with duckdb.connect(str(months.duckdb.duckdb_path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        expected = connection.execute(asked.sql, {name: list(values) for name, values in asked.parameters.items()})
        assert [name for name, *_ in expected.description or ()] == [name for name, _ in found.columns]
        assert unlike(found.columns, found.rows, expected.fetchall()) == []
    assert found.rows or chosen


@pytest.mark.requirement("R27", "R28")
def test_days_built_again_are_the_same_rows_on_googles_engine_and_on_duckdb(months: BothEngines):
    change_two_days(months.duckdb)
    months.build()
    months.assert_alike()


@pytest.mark.requirement("R27", "R28")
@pytest.mark.timeout(900)  # takes a minute on an idle machine
def test_days_of_steps_are_the_same_rows_on_googles_engine_and_on_duckdb(project: Project, models: Models):
    both = BothEngines(project, models, lambda name: name.startswith(("stg_", "int_")) or name in BY_STEP)
    models.load(list(rows_of_steps("2026-10-31", 12)))
    both.refresh()
    both.assert_alike()
    change_two_days(models)
    both.build()
    both.assert_alike()


@pytest.mark.requirement("R27")
@pytest.mark.slow  # columns that need weeks are also filled by sixty days on the emulator: models/test_both_engines.py
@pytest.mark.timeout(900)  # takes a minute on an idle machine
def test_weeks_of_steps_are_the_same_rows_on_googles_engine_and_on_duckdb(project: Project, models: Models):
    """Long enough to fill windows of fourteen days. The same model counts the total of all capabilities."""
    both = BothEngines(project, models, lambda name: name.startswith(("stg_", "int_")) or name in OF_A_CAPABILITY)
    models.load(list(rows_of_steps("2026-10-21", 30)))
    both.refresh()
    both.assert_alike()
    assert both.never_filled() == []


# Texts that the engines parse differently: (column, text) → on Google's engine and on DuckDB. Lists come from Postgres'
# jsonb, which writes none of these except numbers beyond a float's range; no listed status contains such letters.
READ_APART = {
    ("source_documents", "[1,]"): (None, 1),
    ("source_documents", "[NaN]"): (None, 1),
    ("source_documents", "[1e400]"): (None, 1),
    ("source_documents", "\ufeff[1]"): (1, None),
    ("status", "İ"): ("i\u0307", "i"),
    ("status", "ΑΣ"): ("ας", "ασ"),
}
READ_ALIKE = {
    "duration_ms": (
        *DURATIONS, "0X1F", "0x1p3", "1e", "++1", "1 2", "+inf", "-nan", "1__0", "_1", "٣",
        "1d", "1f", "\u20031",
    ),
    "source_documents": (
        *DOCUMENTS, "[1}", "[01]", "['a']", "[1] x", '["\\ud800"]', "[123456789012345678901234567890]",
        "[0.12345678901234567890123]", "[True]", '["a\tb"]', "\u00a0[1]", "[.5]",
    ),
    "status": (
        "\u2003a\u2003", "a\u0085", "\u3000a", "\ufeffa", "\va\f", "\u00a0a\r\n", "a\x00", "ſuccess", "ẞ",
        "ＰＥＮＤＩＮＧ",
    ),
}  # fmt: skip


@pytest.mark.requirement("R04", "R27")
def test_texts_are_read_alike_but_for_those_that_are_named_here(project: Project, models: Models):
    both = BothEngines(project, models, lambda name: name.startswith("stg_"))
    cases = [*READ_APART, *((column, text) for column, texts in READ_ALIKE.items() for text in texts)]
    models.load(
        [
            Row(id=str(n), created_at=f"{NOW[:10]} 09:00:00+00", **dict[str, Any]({column: text}))
            for n, (column, text) in enumerate(cases)
        ]
    )
    both.refresh()
    staging = both.models[0]
    names = [name for name, _ in staging.columns]
    there = {row[0]: row for row in both.rows(staging.name)}
    here = {row[0]: row for row in models.query(f"select {', '.join(names)} from {staging.name}")}
    apart = {
        case: (one, other)
        for n, case in enumerate(cases)
        for one, other in zip(there[str(n)], here[str(n)], strict=True)
        if one != other and not isinstance(other, bool)  # whether a value is unusable follows from it
    }
    assert apart == READ_APART
