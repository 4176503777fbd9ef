"""One writer at a time, across processes; a waiting process learns the holder's name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audit_assets.warehouse.duckdb.lock import exclusive
from audit_assets.warehouse.protocol import WarehouseError, WarehouseLockedError

pytestmark = pytest.mark.requirement("R10")

HOLD = """
import sys, time
from pathlib import Path
from audit_assets.warehouse.duckdb.lock import exclusive
with exclusive(Path(sys.argv[1]), "a long repair"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_holder_is_named_to_whoever_gives_up_waiting(tmp_path: Path):
    path = tmp_path / "lock"
    with holder(path) as process:
        with pytest.raises(WarehouseLockedError) as error, exclusive(path, "a test", timeout_seconds=0.1):
            pytest.fail("two hold it")
        assert f"process {process.pid} (a long repair, since 2" in str(error.value)
        assert "\n" not in str(error.value)
        process.kill()


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path):
    path = tmp_path / "lock"
    with holder(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with exclusive(path, "a test", timeout_seconds=5.0):
            pass


def test_whoever_waits_gets_it_as_soon_as_it_is_free(tmp_path: Path):
    path = tmp_path / "lock"
    order: list[str] = []

    def second() -> None:
        with exclusive(path, "second", timeout_seconds=10.0):
            order.append("second")

    with exclusive(path, "first"):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_lock_that_cannot_be_created_is_reported_with_the_fix(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WarehouseError, match="AI_AUDIT_DUCKDB_PATH"), exclusive(tmp_path / "file/lock", "a test"):
        pytest.fail("held nothing")


def test_only_the_user_may_read_who_holds_it(tmp_path: Path):
    with exclusive(tmp_path / "lock", "a test"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
