"""Every query with a limit has a total order, so the rows it keeps do not depend on the storage order."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from audit_assets.bi_export.mart_types import empty_warehouse, known_tables
from audit_assets.dashboards.definition.load import LISTS_ROWS
from audit_assets.dashboards.query.scope import DAY, Scope
from audit_assets.dashboards.query.sql import tile_columns, tile_query
from audit_assets.dashboards.verify.comparison import cases
from audit_assets.dashboards.verify.frame_diff import diff_frames
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.dashboards.over_models import DEFINITION, NOW, RECONCILIATION, TODAY, built
from audit_assets_tests.dashboards.proving import FOLDER
from audit_assets_tests.models.conftest import Row
from tools.bi_check.lookml_project import read_project

pytestmark = pytest.mark.requirement("R53")

# Columns that identify a row.
UNIQUE = {"id", "key", "sync_id", "seq", "date", "capability", "provider", "workspace_id", "name"}


def rows_of_one_moment(seed: int) -> list[Row]:
    """2,501 calls with the same time, in random order."""
    numbers = list(range(2501))
    random.Random(seed).shuffle(numbers)
    at = f"{NOW:%Y-%m-%d} 11:00:00+00"
    return [
        Row(f"{number:04}", at, workflow_id=f"w{number % 3}", prompt_length=number + 1, duration_ms=str(9000 - number))
        for number in numbers
    ]


def test_rows_with_equal_times_beyond_the_limit_are_the_same_in_a_tile_and_its_reconciliation_query(tmp_path: Path):
    frames = built(tmp_path, "one", rows_of_one_moment(1), alerts=5100).frames()
    limits = {tile.id: tile.limit for _, tile in DEFINITION.tiles}
    assert {name: len(frames[name][0]) for name in ("T23", "T33", "T34")} == {
        name: limits[name] for name in ("T23", "T33", "T34")
    }
    assert [name for name, (shown, raw) in frames.items() if diff_frames(shown, raw, {})] == []
    assert frames["T34"][0]["id"].to_list() == [f"{number:04}" for number in range(2000)]


def limited(sql: str) -> Iterator[exp.Select]:
    """The selects of a query that have a limit."""
    for parsed in sqlglot.parse(sql, read="duckdb"):
        assert parsed is not None
        yield from (select for select in parsed.find_all(exp.Select) if select.args.get("limit"))


def queries() -> Iterator[tuple[str, str]]:
    scope = Scope(TODAY - 6 * DAY, TODAY, NOW)
    for case in cases(DEFINITION, RECONCILIATION):
        shown, raw = case.queries(RECONCILIATION, scope, TODAY)
        yield f"{case.id} shown", shown.sql
        yield f"{case.id} raw", raw.sql


@pytest.mark.parametrize(("name", "sql"), [pytest.param(*query, id=query[0]) for query in queries()])
def test_a_limited_query_is_ordered_by_a_unique_last_column(name: str, sql: str):
    for select in limited(sql):
        order = select.args.get("order")
        if order is None:  # only figures: a single row
            assert not select.args.get("group")
            assert {tile.id for _, tile in DEFINITION.tiles if not tile.by} & {name.split()[0]}
            continue
        by = {one.this.name for one in order.expressions if isinstance(one.this, exp.Column)}
        grouped = {one.name for one in select.selects if isinstance(one.unalias(), exp.Column)}
        assert by & UNIQUE if not select.args.get("group") else by >= grouped, f"{name}: ordered by {by}"


def test_a_tile_that_lists_rows_reads_a_source_with_a_key():
    listing = [tile for _, tile in DEFINITION.tiles if tile.show in LISTS_ROWS]
    assert listing
    for tile in listing:
        source = DEFINITION.source(tile.source)
        assert source.key
        assert tile_columns(tile, source)[0]


def test_a_limited_looker_element_is_sorted_by_a_unique_column():
    project = read_project(FOLDER / "looker")
    tiles = {tile.id: tile for _, tile in DEFINITION.tiles}
    for element in (one for dashboard in project.dashboards for one in dashboard.elements if "sorts" in one):
        tile = tiles[element["name"]]
        last = element["sorts"][-1].split(".")[-1].split()[0]
        assert last in (DEFINITION.source(tile.source).key if tile.show in LISTS_ROWS else tile.by), tile.id


def test_a_limit_in_the_source_code_has_an_order_that_ends_with_a_key():
    found: list[str] = []
    for path in sorted((PROJECT_ROOT / "audit_assets").rglob("*.py")):
        if path.name in ("sql.py", "lookml_compile.py"):
            continue  # their queries are checked above
        text = path.read_text()
        for limit in re.finditer(r"\blimit (?:\d|\{)", text):
            before = " ".join(text[max(0, limit.start() - 160) : limit.start()].split())
            last = re.search(r"(\w+)\}?(?: desc)?(?: nulls last)?\W*f?\W*$", before)
            if last is None or last[1] not in UNIQUE | {"column"}:
                found.append(f"{path.relative_to(PROJECT_ROOT)}: limit after {before[-40:]!r}")
        for limit in re.finditer(r"\.order_by\(([^\n]*?)\)\.limit\(", text):
            last = limit[1].split(",")[-1].strip().removesuffix(".desc()").split(".")[-1]
            if last not in UNIQUE and limit[1] != "*newest":
                found.append(f"{path.relative_to(PROJECT_ROOT)}: limit ordered by {last} at last")
    assert found == []


def test_recent_incidents_join_calls_by_capability_so_that_20_000_episodes_are_one_hash_join():
    """With `is_total or capability = capability`, each episode was compared with each call: 150 s instead of 2 s."""
    tile = next(tile for _, tile in DEFINITION.tiles if tile.id == "T23")
    query = tile_query(tile, DEFINITION.source(tile.source), Scope(TODAY - 29 * DAY, TODAY, NOW))
    with empty_warehouse(known_tables(), "memory_of_test") as connection:
        ((_, plan),) = connection.execute(f"explain (format json) {query.sql}").fetchall()
    assert '"capability = capability"' in plan
    assert " OR " not in plan
