"""kill -9 at random moments of every phase: the next run leaves exactly the source's rows."""

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

from audit_assets.ingest.mirror import mirror_problem, write_mirror
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets_tests.ingest import killed_sync
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    ask,
    assert_all_accounted,
    held,
    held_ids,
    run,
    source_ids,
    spread,
    tell,
)

pytestmark = pytest.mark.requirement("R10", "R13")

PHASES = ("fetch", "before commit", "after commit", "state mirror")


def killed_in(source: str, folder: Path, mode: str, phase: str, chance: random.Random) -> str:
    """Starts a sync, kills it at a random moment of `phase`, and returns the phase it died in."""
    wanted, delay = (1, 0.0012) if phase == "state mirror" else (chance.randint(1, 4), 0.003)
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
        time.sleep(chance.uniform(0, delay))
        process.kill()
        rest = process.stdout.read().split("\n")[:-1]
        assert process.wait() in (0, -signal.SIGKILL), "the sync died of itself, before it was killed"
        return [last, *rest][-1]


def changed(source: str, turn: int, chance: random.Random) -> None:
    """Gives the next sync something to do: rows of each day added, changed and deleted."""
    spread(source, 400, NOW - 6 * DAY, timedelta(minutes=21), f"t{turn}-")
    tell(source, "update ai_audit_logs set capability = %s where random() < 0.1", (f"c{turn}",))
    tell(source, "delete from ai_audit_logs where random() < 0.05")


def assert_exactly_the_sources_rows(source: str, warehouse: DuckDBWarehouse) -> None:
    assert held_ids(warehouse) == source_ids(source)
    assert_all_accounted(source, warehouse)
    held_capabilities = held(warehouse, "select id, capability from analytics.ai_audit_logs order by id")
    assert held_capabilities == sorted(ask(source, "select id, capability from ai_audit_logs"))


def survives(source: str, warehouse: DuckDBWarehouse, turn: int, phase: str, chance: random.Random) -> str:
    """One kill and its mending; the phase it happened in."""
    folder = warehouse.path.parent
    state_file = folder / "state.json"
    changed(source, turn, chance)
    died = killed_in(source, folder, "full" if turn else "delta", phase, chance)
    if state_file.exists():
        json.loads(state_file.read_text())  # whole, whatever happened
    ran = run(source, warehouse, "full", since=NOW - 10 * DAY).run
    assert_exactly_the_sources_rows(source, warehouse)
    write_mirror(state_file, ran)
    assert ran.last_synced_at is not None
    assert mirror_problem(state_file, ran.sync_id, ran.last_synced_at) is None
    assert sorted(path.name for path in folder.glob(".state*")) == []
    return died


def histogram(died: Counter[str]) -> str:
    return "killed in: " + ", ".join(f"{phase} {died[phase]}" for phase in (*PHASES, "end"))


def test_a_sync_killed_in_any_phase_is_made_good_by_the_next(source: str, warehouse: DuckDBWarehouse):
    chance = random.Random(1)
    died = Counter(survives(source, warehouse, turn, PHASES[turn % 4], chance) for turn in range(8))
    print("\n" + histogram(died))
    assert died.total() == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kills_in_every_phase_are_made_good(source: str, warehouse: DuckDBWarehouse):
    chance, died, turn = random.Random(2), Counter[str](), 0
    while min(died[phase] for phase in PHASES) < 8 and turn < 120:
        died[survives(source, warehouse, turn, min(PHASES, key=lambda phase: died[phase]), chance)] += 1
        turn += 1
    print("\n" + histogram(died))
    assert min(died[phase] for phase in PHASES) >= 8


def test_a_first_load_that_is_killed_is_finished_by_a_delta(source: str, warehouse: DuckDBWarehouse):
    chance = random.Random(3)
    tell(
        source,
        """insert into ai_audit_logs select 'r' || n, null, 'x', 'y', %s + n * interval '1 minute'
        from generate_series(1, 80 * 1440) n""",
        (NOW - 80 * DAY,),
    )
    tell(source, "delete from ai_audit_logs where created_at > %s", (NOW,))
    killed_in(source, warehouse.path.parent, "delta", "before commit", chance)
    for _ in range(2):
        killed_in(source, warehouse.path.parent, "delta", "after commit", chance)
    run(source, warehouse)
    assert held_ids(warehouse) == source_ids(source)
