"""kill -9 at random moments of every phase: after the next run the warehouse has exactly the source's rows."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from audit_assets.ingest.state_mirror import mirror_problem, write_mirror
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest import killed_sync
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    assert_all_accounted_for,
    execute,
    fetch,
    insert_rows,
    loaded_ids,
    query_source,
    run,
    source_ids,
)

pytestmark = pytest.mark.requirement("R10", "R13")

PHASES = ("fetch", "before commit", "after commit", "state mirror")


def kill_in_phase(source: str, folder: Path, mode: str, phase: str, rng: random.Random) -> str:
    """Starts a sync, kills it at a random moment of `phase`, and returns the phase it died in."""
    wanted, delay = (1, 0.0012) if phase == "state mirror" else (rng.randint(1, 4), 0.003)
    last = ""
    with subprocess.Popen(
        [sys.executable, killed_sync.__file__, source, str(folder), mode], stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.strip()
            wanted -= last == phase
            if not wanted:
                break
        time.sleep(rng.uniform(0, delay))
        process.kill()
        rest = process.stdout.read().split("\n")[:-1]
        assert process.wait() in (0, -signal.SIGKILL), "the sync died of itself, before it was killed"
        return [last, *rest][-1]


def change_source(source: str, turn: int, rng: random.Random) -> None:
    """Adds, changes and deletes rows of each day, so that the next sync has work."""
    insert_rows(source, 400, NOW - 6 * DAY, timedelta(minutes=21), f"t{turn}-")
    execute(source, "update ai_audit_logs set capability = %s where random() < 0.1", (f"c{turn}",))
    # One in twenty of each day: chance alone would at times delete more than one in ten, which a sync holds.
    numbered = (
        "select id, row_number() over (partition by (created_at at time zone 'UTC')::date order by random()) as n"
    )
    every_twentieth = f"select id from ({numbered} from ai_audit_logs) d where mod(n, 20) = 0"
    execute(source, f"delete from ai_audit_logs where id in ({every_twentieth})")


def assert_exactly_the_sources_rows(source: str, warehouse: DuckDBWarehouse) -> None:
    assert loaded_ids(warehouse) == source_ids(source)
    assert_all_accounted_for(source, warehouse)
    loaded_capabilities = fetch(warehouse, "select id, capability from analytics.ai_audit_logs order by id")
    assert loaded_capabilities == sorted(query_source(source, "select id, capability from ai_audit_logs"))


def kill_and_recover(source: str, warehouse: DuckDBWarehouse, turn: int, phase: str, rng: random.Random) -> str:
    """Kills one sync and recovers with the next. Returns the phase of the kill."""
    folder = warehouse.path.parent
    state_file = folder / "state.json"
    change_source(source, turn, rng)
    died = kill_in_phase(source, folder, "full" if turn else "delta", phase, rng)
    if state_file.exists():
        json.loads(state_file.read_text())  # whole, whatever happened
    ran = run(source, warehouse, "full", since=NOW - 10 * DAY).run
    assert_exactly_the_sources_rows(source, warehouse)
    write_mirror(state_file, ran)
    assert ran.last_synced_at is not None
    assert mirror_problem(state_file, ran) is None
    assert sorted(path.name for path in folder.glob(".state*")) == []
    return died


def histogram(died: Counter[str]) -> str:
    return "killed in: " + ", ".join(f"{phase} {died[phase]}" for phase in (*PHASES, "end"))


def test_a_sync_killed_in_any_phase_is_completed_by_the_next(source: str, warehouse: DuckDBWarehouse):
    rng = random.Random(1)
    died = Counter(kill_and_recover(source, warehouse, turn, PHASES[turn % 4], rng) for turn in range(8))
    print("\n" + histogram(died))
    assert died.total() == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kills_in_every_phase_are_recovered(source: str, warehouse: DuckDBWarehouse):
    rng, died, turn = random.Random(2), Counter[str](), 0
    while min(died[phase] for phase in PHASES) < 8 and turn < 120:
        died[kill_and_recover(source, warehouse, turn, min(PHASES, key=lambda phase: died[phase]), rng)] += 1
        turn += 1
    print("\n" + histogram(died))
    assert min(died[phase] for phase in PHASES) >= 8


def test_a_first_load_that_is_killed_is_finished_by_a_delta(source: str, warehouse: DuckDBWarehouse):
    rng = random.Random(3)
    execute(
        source,
        """insert into ai_audit_logs select 'r' || n, null, 'x', 'y', %s + n * interval '1 minute'
        from generate_series(1, 80 * 1440) n""",
        (NOW - 80 * DAY,),
    )
    execute(source, "delete from ai_audit_logs where created_at > %s", (NOW,))
    kill_in_phase(source, warehouse.path.parent, "delta", "before commit", rng)
    for _ in range(2):
        kill_in_phase(source, warehouse.path.parent, "delta", "after commit", rng)
    run(source, warehouse)
    assert loaded_ids(warehouse) == source_ids(source)
