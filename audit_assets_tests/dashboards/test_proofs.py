"""Each figure of the dashboards agrees with its reconciliation query; validation of the reconciliation file."""

import random
import re
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from audit_assets.dashboards.definition.load import DefinitionError, load_definition
from audit_assets.dashboards.query.reader import Freshness, ReadError, SnapshotReader
from audit_assets.dashboards.query.scope import DAY
from audit_assets.dashboards.verify.comparison import cases, scopes_to_check, verify
from audit_assets.dashboards.verify.frame_diff import diff_frames
from audit_assets.dashboards.verify.reconciliation_queries import (
    ReconciliationContext,
    build_query,
    load_reconciliation_queries,
)
from audit_assets.ingest.policy import Statuses
from audit_assets.warehouse.snapshot import read_manifest
from audit_assets_tests.dashboards.proving import FOLDER, Dashboards

ODD_TEXTS = [
    *("a", "A", " a ", "\u00a0a", "\ta\n", "\x0b", "", " ", None, "\u2003a", "stub", " Stub", "unknown", "unassigned"),
    *("success", "Success ", " PENDING", "processing", "weird", "completed", "200", "HTTP/1.1 503 busy", "4O4"),
    *("Rate-Limited", "time_d out", "499", "302.0", "600", "stop "),
]
ODD_NUMBERS = [
    *("12", "12.5", " 7 ", "12\n", "\t12", "\x0b5", "12\u00a0", "00012", "+5", "-3", "-0", ".5", "5.", "5e5.5", "1e"),
    *("1e3", "1E+3", "1e0", "1e400", "1e-400", "-1e-9", "4.00000000000000000001", "9007199254740993", "1000000000001"),
    *("0x10", "1_000", "1,5", "12 3", "1d", "١٢", "inf", "Infinity", "nan", "null", "true", "abc", "", None),
]


@pytest.mark.requirement("R53")
def test_every_tile_agrees_with_its_reconciliation_query_under_every_scope_and_none_is_empty(dashboards: Dashboards):
    scopes = list(scopes_to_check(dashboards.reconciliation, dashboards.reader, dashboards.now))
    found = list(dashboards.compared(dashboards.snapshot, scopes))
    assert [one for one in found if one.agrees is not True] == []
    assert {one.id for one in found} >= {tile.id for _, tile in dashboards.definition.tiles}
    most = {case.id: 0 for case in cases(dashboards.definition, dashboards.reconciliation)}
    for one in found:
        most[one.id] = max(most[one.id], one.rows)
    assert [name for name, rows in most.items() if rows == 0] == []
    filters = {name for scope in scopes for name in scope.filters}
    assert filters == {"capability", "provider", "workspace", "team", "activity"}


@pytest.mark.requirement("R53")
def test_a_comparison_without_its_published_table_is_neither_agreement_nor_difference(dashboards: Dashboards):
    manifest = read_manifest(dashboards.snapshot)
    assert manifest is not None
    files = {
        name: table_files
        for name, table_files in manifest.files.items()
        if not name.startswith("ai_audit_workspace_cov")
    }
    folder = dashboards.folder / "without"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    (found,) = dashboards.compared(folder, [dashboards.whole()], ["T13"])
    assert found.agrees is None
    assert found.missing == "ai_audit_workspace_coverage is not published yet: run `audit build`"


@pytest.mark.requirement("R53")
def test_models_that_were_built_before_midnight_agree_after_it(dashboards: Dashboards):
    midnight = datetime.combine(dashboards.now.date() + DAY, time(0, 1), UTC)
    scope = replace(dashboards.whole(), last=midnight.date(), now=midnight)
    found = list(dashboards.compared(dashboards.snapshot, [scope]))
    assert [one for one in found if one.agrees is not True] == []


class Swapping(SnapshotReader):
    """Simulates a new snapshot between the two queries of a comparison, `times` times."""

    times = 0

    def freshness(self) -> Freshness | None:
        found = super().freshness()
        assert found is not None
        self.times -= 1
        return replace(found, snapshot_id=f"{max(self.times, 0)}")


def test_a_comparison_is_repeated_when_a_snapshot_is_published_meanwhile(dashboards: Dashboards):
    arguments = (dashboards.definition, dashboards.reconciliation)
    reader = Swapping(dashboards.snapshot)
    reader.times = 3
    (found,) = verify(*arguments, reader, [dashboards.whole()], ["T05"])
    assert (found.agrees, reader.times) == (True, -1)
    reader.times = 100
    with pytest.raises(ReadError, match="published faster than tiles can be compared"):
        list(verify(*arguments, reader, [dashboards.whole()], ["T05"]))


@pytest.mark.requirement("R53")
def test_reconciliation_queries_parse_odd_texts_as_the_models_do(dashboards: Dashboards):
    manifest = read_manifest(dashboards.snapshot)
    assert manifest is not None
    generator, rows = random.Random(53), list[tuple[Any, ...]]()
    columns = manifest.columns["ai_audit_logs"]
    for number in range(900):
        row: dict[str, Any] = dict.fromkeys(columns)
        row |= {
            name: generator.choice(ODD_TEXTS) for name in ("workflow_id", "capability", "provider", "status", "model")
        }
        row |= {name: generator.choice(ODD_NUMBERS) for name in ("duration_ms", "prompt_tokens", "completion_tokens")}
        row |= {
            "error_flag": generator.choice([None, True, False]),
            "drill_id": generator.choice([None, None, " ", "d"]),
        }
        rows.append(tuple((row | {"id": str(number), "created_at": dashboards.now}).values()))
    alike = "id, workspace_id, capability, provider, model, status, duration_ms, prompt_tokens, completion_tokens"
    context = ReconciliationContext(dashboards.whole(), dashboards.whole().span("range"), dashboards.now.date())
    raw_query = build_query(
        f"select {alike}, outcome, failed, flagged from {{outcomes}}", dashboards.reconciliation, context
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        connection.execute(f"create schema analytics; create table analytics.ai_audit_logs ({declared})")
        connection.executemany(f"insert into analytics.ai_audit_logs values ({', '.join('?' * len(columns))})", rows)
        connection.execute(manifest.views["stg_ai_audit_logs"])
        staged = connection.execute(
            f"select {alike}, status_class, error_by_status, error_by_flag from analytics.stg_ai_audit_logs"
            " where environment = 'live' order by id"
        ).fetchall()
        assert connection.execute(f"select * from ({raw_query.sql}) order by id").fetchall() == staged
    assert 500 < len(staged) < 900


def test_results_are_compared_row_by_row_in_any_order():
    raw = pl.DataFrame({"day": [date(2026, 11, 1), date(2026, 11, 2)], "n": [3, 100], "rate": [None, 0.1 + 0.2]})
    shown = pl.DataFrame({"n": [100, 3], "day": [date(2026, 11, 2), date(2026, 11, 1)], "rate": [0.3, None]})
    assert diff_frames(shown, raw, {}) is None
    other = diff_frames(shown.with_columns(n=pl.Series([101, 3])), raw, {})
    assert other is not None
    assert (other.shown, other.raw, other.rows) == ("2 Nov 2026 n 101", "2 Nov 2026 n 100", 1)
    fewer = diff_frames(shown.head(1), raw, {"rate": "share"})
    assert fewer is not None
    assert (fewer.shown, fewer.raw, fewer.rows) == ("no such row", "1 Nov 2026 n 3 rate –", 1)
    nothing = diff_frames(shown.with_columns(rate=pl.Series([0.3, 0.0])), raw, {"rate": "share"})
    assert nothing is not None
    assert (nothing.shown, nothing.raw) == ("1 Nov 2026 rate 0 %", "1 Nov 2026 rate –")


@pytest.mark.requirement("R53")
@pytest.mark.parametrize(
    ("found", "put", "message"),
    [
        ("  T05:\n", "  T55:\n", r": tiles.T55: no page has a tile T55; did you mean"),
        ("  T05:\n", "  T55:\n", r": tiles: T05, “Interactions by capability”, has no reconciliation query; add"),
        ("    note: Alerts", "    nota: Alerts", r": tiles.T23.nota: unknown field; did you mean note\?"),
        ("{judged}\n", "{juged}\n", r": tiles.T25.sql: \{juged\}: neither a part nor .*; did you mean judged\?"),
        (
            "{rows}\n    where duration_ms is",
            "{timed}\n    where duration_ms is",
            r": parts.timed: .* includes itself",
        ),
        ("  ai_audit_daily:\n", "  ai_audit_dally:\n", r": also.ai_audit_dally.shown: does not read "),
        ("    title: Counts of each day and workspace\n", "", r": also.ai_audit_workspace_stats.title: is missing"),
    ],
)
def test_an_invalid_reconciliation_file_is_rejected_with_its_line(tmp_path: Path, found: str, put: str, message: str):
    whole = (FOLDER / "proofs.yaml").read_text()
    assert found in whole
    (tmp_path / "proofs.yaml").write_text(whole.replace(found, put))
    with pytest.raises(DefinitionError) as raised:
        load_reconciliation_queries(tmp_path, load_definition(FOLDER), Statuses())
    assert re.search(rf"proofs.yaml:\d+{message}", str(raised.value)), raised.value
