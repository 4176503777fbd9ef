"""Each figure of the dashboards against its proof, and that a proof sees a mart that is one per cent off."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from audit_assets.dashboards.definition import Definition
from audit_assets.dashboards.differences import difference
from audit_assets.dashboards.load import DefinitionError, load_definition
from audit_assets.dashboards.proofs import Proofs, load_proofs
from audit_assets.dashboards.reader import SnapshotReader
from audit_assets.dashboards.scope import Scope
from audit_assets.dashboards.verify import Case, Compared, cases, scopes_to_check, verify
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import open_snapshot, read_manifest
from audit_assets_tests.dashboards.altered import ONE_PER_CENT, altered, with_tables
from audit_assets_tests.homes import DAYS, Home

FOLDER = PROJECT_ROOT / "observability/dashboards/ai-audit"

# The ledger's and the sync's own figures, and what the application knows of workspaces, are in no audit record.
NOT_FROM_RAW = {"ai_audit_alerts", "ai_audit_sync_state", "ai_audit_workspaces"}
NUMBERS = {"BIGINT", "DOUBLE", "INTEGER", "HUGEINT"}
EVENTS = {"duration_ms", "prompt_length", "prompt_tokens", "completion_tokens"}

_folders = count(1)


@dataclass(frozen=True)
class Dashboards:
    """The dashboards over a snapshot that nobody writes, as of when it was published."""

    definition: Definition
    proofs: Proofs
    snapshot: Path
    folder: Path
    now: datetime
    reader: SnapshotReader

    def whole(self, **filters: str) -> Scope:
        first = self.now.date() - timedelta(days=DAYS - 1)
        return Scope(first, self.now.date(), self.now, filters={name: (one,) for name, one in filters.items()})

    def compared(self, snapshot: Path, scopes: list[Scope], only: list[str] | None = None) -> Iterator[Compared]:
        return verify(self.definition, self.proofs, SnapshotReader(snapshot), scopes, only or [], self.reader)

    def altered(self, table: str, column: str, to: str, where: str = "true") -> Path:
        return altered(self.snapshot, self.folder / str(next(_folders)), table, column, to, where)

    def tables_of(self, case: Case) -> set[str]:
        shown, _ = case.queries(self.proofs, self.whole(), self.now.date())
        return set(shown.tables)

    def proofs_of(self, table: str) -> list[str]:
        return [case.id for case in cases(self.definition, self.proofs) if table in self.tables_of(case)]

    def numbers_that_tiles_read(self) -> list[tuple[str, str]]:
        """Each table and numeric column that the text of a tile's source names."""
        manifest = read_manifest(self.snapshot)
        assert manifest is not None
        found: list[tuple[str, str]] = []
        used = {tile.source for _, tile in self.definition.tiles}
        for name in used:
            source = self.definition.source(name)
            said = " ".join([source.sql or "", *source.columns, *(one.sql for one in source.measures.values())])
            words = set(re.findall(r"\w+", said))
            for table in set(source.reads) - NOT_FROM_RAW:
                kinds = manifest.columns.get(table, dict.fromkeys(EVENTS, "DOUBLE"))
                found += [(table, column) for column, kind in kinds.items() if kind in NUMBERS and column in words]
        return sorted(set(found))


@pytest.fixture(scope="module")
def dashboards(built: Home, tmp_path_factory: pytest.TempPathFactory) -> Dashboards:
    folder = tmp_path_factory.mktemp("proofs")
    definition = load_definition(FOLDER)
    snapshot = with_tables(built.folder / "published", folder / "whole", _beside(built))
    manifest = read_manifest(snapshot)
    assert manifest is not None
    now = manifest.published_at.astimezone(UTC)
    proofs = load_proofs(FOLDER, definition)
    return Dashboards(definition, proofs, snapshot, folder, now, SnapshotReader(snapshot))


def _beside(built: Home) -> dict[str, str]:
    """What the application knows of workspaces: most that were used, and one that never was; and their coverage."""
    used = [
        name for (name,) in built.published("select distinct trim(workflow_id) from analytics.ai_audit_logs") if name
    ]
    rows = [f"('{name}', 'Workspace {name}', {number})" for number, name in enumerate(sorted(used)) if number % 10]
    last = datetime.now(UTC).date()
    return {
        "ai_audit_workspaces": f"""
            select
                workspace_id,
                name,
                case when number % 7 > 0 then 'team ' || number % 3 end as team,
                case when number % 5 > 0 then 'owner ' || number % 4 end as owner,
                now() - number * interval 1 hour as last_accessed_at,
                now() as synced_at
            from (values {", ".join([*rows, "('never-used', 'Never used', 1)"])}) as made (workspace_id, name, number)
        """,
        "ai_audit_workspace_coverage": f"""
            select
                date '{last}' - cast(ago as integer) as date,
                200 + ago as active_workspace_count,
                150 + ago as covered_workspace_count,
                (150 + ago) / (200 + ago) as coverage_rate,
                ago > 3 as is_estimated,
                now() as captured_at
            from range({DAYS}) as days (ago)
        """,
    }


@pytest.mark.requirement("R53")
def test_every_tile_agrees_with_its_proof_under_every_scope_and_none_is_empty(dashboards: Dashboards):
    scopes = list(scopes_to_check(dashboards.proofs, dashboards.reader, dashboards.now))
    found = list(dashboards.compared(dashboards.snapshot, scopes))
    assert [one for one in found if one.agrees is not True] == []
    assert {one.id for one in found} >= {tile.id for _, tile in dashboards.definition.tiles}
    most = {case.id: 0 for case in cases(dashboards.definition, dashboards.proofs)}
    for one in found:
        most[one.id] = max(most[one.id], one.rows)
    assert [name for name, rows in most.items() if rows == 0] == []
    filters = {name for scope in scopes for name in scope.filters}
    assert filters == {"capability", "provider", "workspace", "team", "activity"}


@pytest.mark.requirement("R53")
def test_a_mart_that_is_one_per_cent_off_in_any_number_a_tile_reads_differs_from_raw(dashboards: Dashboards):
    numbers = dashboards.numbers_that_tiles_read()
    assert len(numbers) >= 25, numbers
    unseen: list[str] = []
    for table, column in numbers:
        wrong = dashboards.altered(table, column, f"{column} * {ONE_PER_CENT}")
        found = dashboards.compared(wrong, [dashboards.whole()], dashboards.proofs_of(table))
        if not any(one.agrees is False for one in found):
            unseen.append(f"{table}.{column}")
    assert unseen == []


@pytest.mark.requirement("R53")
def test_a_mart_that_is_one_per_cent_off_in_one_capability_differs_under_its_filter(dashboards: Dashboards):
    (capability,), (workspace,) = _busiest(dashboards, "capability"), _busiest(dashboards, "workspace_id")
    manifest = read_manifest(dashboards.snapshot)
    assert manifest is not None
    unseen: list[str] = []
    for table, column in dashboards.numbers_that_tiles_read():
        columns = manifest.columns.get(table, {"capability": ""})
        if "capability" in columns:
            where, scope = f"capability = '{capability}'", dashboards.whole(capability=capability)
        elif "workspace_id" in columns:
            where, scope = f"workspace_id = '{workspace}'", dashboards.whole(workspace=workspace)
        else:
            continue  # coverage is of all workspaces together: no filter narrows it
        wrong = dashboards.altered(table, column, f"{column} * {ONE_PER_CENT}", where)
        found = dashboards.compared(wrong, [scope], dashboards.proofs_of(table))
        if not any(one.agrees is False for one in found):
            unseen.append(f"{table}.{column}")
    assert unseen == []


@pytest.mark.requirement("R53")
def test_a_filter_narrows_what_is_compared(dashboards: Dashboards):
    one, other = _busiest(dashboards, "capability", 2)
    more = f"interaction_count * {ONE_PER_CENT}"
    wrong = dashboards.altered("ai_audit_daily", "interaction_count", more, f"capability = '{one}'")
    of_one = dashboards.compared(wrong, [dashboards.whole(capability=one)], ["T05", "T07"])
    of_other = dashboards.compared(wrong, [dashboards.whole(capability=other)], ["T05", "T07"])
    assert [found.agrees for found in of_one] == [False, False]
    assert [found.agrees for found in of_other] == [True, True]


# What a tile shows must itself differ, not only the numbers beside it.
@pytest.mark.requirement("R53")
@pytest.mark.parametrize(
    ("tile", "table", "column"),
    [
        ("T01", "stg_ai_audit_logs", None),
        ("T02", "ai_audit_workspace_counts", None),
        ("T04", "stg_ai_audit_logs", "duration_ms"),
        ("T05", "ai_audit_daily", "interaction_count"),
        ("T06", "ai_audit_daily", "error_count"),
        ("T07", "ai_audit_daily", "interaction_count"),
        ("T08", "ai_audit_workspace_counts", "interaction_count"),
        ("T09", "ai_audit_latency_histogram", "upper_ms"),
        ("T11", "ai_audit_error_funnel", "error_by_flag_only_count"),
        ("T12", "ai_audit_daily", "max_latency_ms"),
        ("T12", "ai_audit_latency_histogram", "upper_ms"),
        ("T13", "ai_audit_workspace_coverage", "coverage_rate"),
        ("T14", "ai_audit_workspace_counts", "interaction_count"),
        ("T14", "ai_audit_workspace_counts", "error_count"),
        ("T17", "ai_audit_workspace_stats", "total_interactions"),
        ("T21", "ai_audit_workspace_counts", "interaction_count"),
        ("T23", "ai_audit_workspace_counts", "interaction_count"),
        ("T28", "ai_audit_latency_histogram", "upper_ms"),
        ("T29", "ai_audit_capability_anomalies", "median_7d"),
        ("T29", "ai_audit_capability_anomalies", "deviation_percent"),
        ("T30", "ai_audit_capability_stats", "interaction_count"),
        ("T31", "ai_audit_latency_histogram", "upper_ms"),
        ("T32", "ai_audit_capability_stats", "success_count"),
        ("T33", "stg_ai_audit_logs", "duration_ms"),
        ("T36", "stg_ai_audit_logs", "prompt_tokens"),
    ],
)
def test_a_tile_differs_where_its_mart_does(dashboards: Dashboards, tile: str, table: str, column: str | None):
    if column is None:  # what it counts is rows: one in a hundred has another key, or counts no longer
        key, to = ("environment", "'sim'") if table.startswith("stg") else ("workspace_id", "'somewhere else'")
        wrong = dashboards.altered(table, key, to, "hash(workspace_id) % 100 < 2")
    else:
        wrong = dashboards.altered(table, column, f"{column} * {ONE_PER_CENT}")
    (found,) = dashboards.compared(wrong, [dashboards.whole()], [tile])
    assert found.agrees is False
    assert found.shown != found.raw


@pytest.mark.requirement("R53")
def test_a_state_that_is_wrong_on_one_day_differs(dashboards: Dashboards):
    yesterday = dashboards.now.date() - timedelta(days=1)
    capability, *_ = _busiest(dashboards, "capability")
    where = f"date = '{yesterday}' and capability = '{capability}'"
    mart, scope = "ai_audit_capability_anomalies", dashboards.whole(capability=capability)
    state = "case deviation_state when 'spike' then 'drop' else 'spike' end"
    wrong = dashboards.altered(mart, "deviation_state", state, where)
    assert [one.agrees for one in dashboards.compared(wrong, [scope], ["T25", "T29"])] == [False, False]
    grave = dashboards.altered(mart, "severity", "coalesce(severity || 'est', 'high')", where)
    assert [one.agrees for one in dashboards.compared(grave, [scope], ["T27", "T29"])] == [False, False]


@pytest.mark.requirement("R53")
def test_a_registry_that_forgets_since_when_differs(dashboards: Dashboards):
    news = dashboards.altered("ai_audit_capabilities", "registered_silently", "false")
    first_week = replace(dashboards.whole(), last=dashboards.now.date() - timedelta(days=DAYS - 5))
    reader = SnapshotReader(news)
    asked = (dashboards.definition, dashboards.proofs)
    (agreed,) = verify(*asked, reader, [first_week], ["T24"])
    assert (agreed.agrees, int(agreed.shown) > 5) == (True, True)
    folder = dashboards.folder / str(next(_folders))
    later = altered(news, folder, "ai_audit_capabilities", "first_seen_at", "first_seen_at + interval 9 day")
    (forgot,) = verify(*asked, SnapshotReader(later), [first_week], ["T24"])
    assert (forgot.agrees, forgot.shown) == (False, "new_capabilities 0")


@pytest.mark.requirement("R53")
def test_what_is_not_published_is_no_agreement(dashboards: Dashboards):
    manifest = read_manifest(dashboards.snapshot)
    assert manifest is not None
    files = {name: held for name, held in manifest.files.items() if not name.startswith("ai_audit_workspace_cov")}
    folder = dashboards.folder / "without"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    (found,) = dashboards.compared(folder, [dashboards.whole()], ["T13"])
    assert found.agrees is None
    assert found.missing == "ai_audit_workspace_coverage is not published yet: run `audit build`"


def test_results_are_compared_row_by_row_in_any_order():
    raw = pl.DataFrame({"day": [date(2026, 11, 1), date(2026, 11, 2)], "n": [3, 100], "rate": [None, 0.1 + 0.2]})
    shown = pl.DataFrame({"n": [100, 3], "day": [date(2026, 11, 2), date(2026, 11, 1)], "rate": [0.3, None]})
    assert difference(shown, raw, {}) is None
    other = difference(shown.with_columns(n=pl.Series([101, 3])), raw, {})
    assert other is not None
    assert (other.shown, other.raw, other.rows) == ("2 Nov 2026 n 101", "2 Nov 2026 n 100", 1)
    fewer = difference(shown.head(1), raw, {"rate": "share"})
    assert fewer is not None
    assert (fewer.shown, fewer.raw, fewer.rows) == ("no such row", "1 Nov 2026 n 3 rate –", 1)
    nothing = difference(shown.with_columns(rate=pl.Series([0.3, 0.0])), raw, {"rate": "share"})
    assert nothing is not None
    assert (nothing.shown, nothing.raw) == ("1 Nov 2026 rate 0 %", "1 Nov 2026 rate –")


@pytest.mark.requirement("R53")
@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        ("  T05:\n", "  T55:\n", r": tiles.T55: no page has a tile T55; did you mean"),
        ("  T05:\n", "  T55:\n", r": tiles: T05, “Interactions by capability”, has no proof; write"),
        ("    note: Alerts", "    nota: Alerts", r": tiles.T23.nota: unknown field; did you mean note\?"),
        ("{judged}\n", "{juged}\n", r": tiles.T25.sql: \{juged\}: neither a part nor .*; did you mean judged\?"),
        (
            "{rows}\n    where duration_ms is",
            "{timed}\n    where duration_ms is",
            r": parts.timed: .* is within itself",
        ),
        ("  ai_audit_daily:\n", "  ai_audit_dally:\n", r": also.ai_audit_dally.shown: does not read "),
        ("    title: Counts of each day and workspace\n", "", r": also.ai_audit_workspace_stats.title: is missing"),
    ],
)
def test_a_proof_file_that_does_not_fit_is_refused_with_its_place(tmp_path: Path, found: str, put: str, said: str):
    whole = (FOLDER / "proofs.yaml").read_text()
    assert found in whole
    (tmp_path / "proofs.yaml").write_text(whole.replace(found, put))
    with pytest.raises(DefinitionError) as refused:
        load_proofs(tmp_path, load_definition(FOLDER))
    assert re.search(rf"proofs.yaml:\d+{said}", str(refused.value)), refused.value


def _busiest(dashboards: Dashboards, column: str, number: int = 1) -> list[str]:
    with open_snapshot(dashboards.snapshot, ["stg_ai_audit_logs"]) as connection:
        found = connection.execute(
            f"select {column} from analytics.stg_ai_audit_logs where {column} is not null and not is_stub"
            f" group by 1 order by count(*) desc limit {number}"
        ).fetchall()
    return [name for (name,) in found]
