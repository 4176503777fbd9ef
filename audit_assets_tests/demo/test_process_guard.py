"""Children end with the process that started them, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tools.dev_server import until

# Starts a shell with a child, and prints the process ids of the shell and the guard. The shell and its child ignore
# SIGTERM if requested.
_PARENT = """
import sys, time
from audit_assets.demo.process_guard import ProcessGuard
guard = ProcessGuard()
child = guard.popen(["sh", "-c", sys.argv[1] + 'sleep 300 & echo $! > "$0"; wait', sys.argv[2]])
print(child.pid, guard.pid, flush=True)
while True:
    time.sleep(0.2)
    guard.check()
"""


def _start(folder: Path, trap: str = "") -> tuple[subprocess.Popen[str], list[psutil.Process], psutil.Process]:
    """The parent, its child and grandchild, and the guard."""
    grandchild = folder / "grandchild"
    command = [sys.executable, "-c", _PARENT, trap, str(grandchild)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child, guard = (psutil.Process(int(number)) for number in parent.stdout.readline().split())
    until(lambda: grandchild.exists() and grandchild.read_text().strip(), 10)
    return parent, [child, psutil.Process(int(grandchild.read_text()))], guard


def _is_living(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["plain", "ignores-sigterm"])
def test_children_and_their_children_end_when_their_parent_is_killed(tmp_path: Path, trap: str):
    parent, children, guard = _start(tmp_path, trap)
    assert all(map(_is_living, children))
    parent.kill()
    parent.wait()
    until(lambda: not any(map(_is_living, [*children, guard])), 20)


def test_a_guard_that_is_killed_is_started_again_and_still_ends_the_children(tmp_path: Path):
    parent, children, guard = _start(tmp_path)
    guard.kill()
    own = psutil.Process(parent.pid)
    until(lambda: [one for one in own.children() if one not in (guard, children[0]) and _is_living(one)], 10)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not any(map(_is_living, children)), 20)
