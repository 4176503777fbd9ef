"""The state file: complete at any time, with older generations, and reported when it is wrong."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from audit_assets.ingest.state_mirror import MirrorError, mirror_document, mirror_problem, write_mirror
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import NOW, insert_row, run

pytestmark = pytest.mark.requirement("R13")


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / ".cache/state.json"


def test_the_mirror_holds_the_newest_run(source: str, warehouse: DuckDBWarehouse, state_file: Path):
    insert_row(source, "a", NOW - timedelta(hours=1))
    ran = run(source, warehouse).run
    write_mirror(state_file, ran)
    assert json.loads(state_file.read_text()) == {
        "last_synced_at": ran.last_synced_at.isoformat(timespec="microseconds") if ran.last_synced_at else None,
        "source_max_created_at": (NOW - timedelta(hours=1)).isoformat(timespec="microseconds"),
        "lag_seconds": 0.0,
        "records_synced": 1,
        "sync_duration_ms": ran.sync_duration_ms,
        "mode": "delta",
        "watermark": (NOW - timedelta(hours=1)).isoformat(timespec="microseconds"),
        "sync_id": ran.sync_id,
    }
    assert mirror_problem(state_file, ran) is None


def test_the_last_five_generations_are_kept(source: str, warehouse: DuckDBWarehouse, state_file: Path):
    ids: list[str] = []
    for _ in range(8):
        ran = run(source, warehouse).run
        write_mirror(state_file, ran)
        ids.append(ran.sync_id)
    kept = [state_file, *(state_file.with_name(f"{state_file.name}.{number}") for number in range(1, 6))]
    assert [json.loads(path.read_text())["sync_id"] for path in kept] == ids[:1:-1]
    assert sorted(path.name for path in state_file.parent.iterdir()) == sorted(path.name for path in kept)


def test_a_mirror_that_is_missing_unreadable_or_behind_is_reported(
    source: str, warehouse: DuckDBWarehouse, state_file: Path
):
    first = run(source, warehouse).run
    second = run(source, warehouse, now=NOW + timedelta(minutes=1)).run
    assert "is missing" in str(mirror_problem(state_file, second))
    state_file.parent.mkdir()
    for content in ("", "{", "[]", "{}", "5"):
        state_file.write_text(content)
        assert "is not a valid state file" in str(mirror_problem(state_file, second))
    state_file.write_bytes(b"\xff\xfe")
    assert "is not a valid state file" in str(mirror_problem(state_file, second))
    write_mirror(state_file, first)
    assert "is behind" in str(mirror_problem(state_file, second))
    write_mirror(state_file, second)
    assert mirror_problem(state_file, second) is None
    assert mirror_problem(state_file, first) is None
    assert "cannot be read" in str(mirror_problem(state_file.parent, second))


def test_a_reader_finds_a_whole_mirror_at_every_moment(source: str, warehouse: DuckDBWarehouse, state_file: Path):
    ran = run(source, warehouse).run
    write_mirror(state_file, ran)
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            found = json.loads(state_file.read_text())
            if found != mirror_document(ran):
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(150):
        write_mirror(state_file, ran)
    done.set()
    reader.join()
    assert wrong == []


def test_a_path_that_cannot_be_written_is_reported(source: str, warehouse: DuckDBWarehouse, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MirrorError, match="AI_AUDIT_STATE_FILE"):
        write_mirror(tmp_path / "file/state.json", run(source, warehouse).run)
