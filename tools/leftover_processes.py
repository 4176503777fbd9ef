"""Ends all processes of a test run when the run ends, even by SIGKILL, Ctrl-C or a time limit.

The run sets a unique mark in its environment. Its descendants inherit the mark, in any process group or session. A
small process waits for the run's end, then ends all processes with the mark: SIGTERM, some seconds, SIGKILL. A fixture
that builds the environment of a process itself adds `mark()` to it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress

import psutil

_MARK = "TEST_RUN_MARK"
TERMINATE_WITHIN_S = 5.0
_KILL_WITHIN_S = 10.0
_LOOK_EVERY_S = 1.0


def start_watcher() -> subprocess.Popen[bytes]:
    """Marks this process's environment, and starts the watcher, which ends all marked processes after this one
    ends."""
    os.environ[_MARK] = str(uuid.uuid4())
    unmarked = {name: value for name, value in os.environ.items() if name != _MARK}
    return subprocess.Popen(
        [sys.executable, "-I", __file__, str(os.getpid()), os.environ[_MARK]],
        env=unmarked,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C at the terminal does not reach it
    )


def stop_watcher(watcher: subprocess.Popen[bytes]) -> None:
    """Ends the remaining processes of the run now, and the watcher."""
    assert watcher.stdin is not None
    watcher.stdin.close()
    watcher.wait()


def mark() -> dict[str, str]:
    """The environment variable that makes a process end with the run; empty outside a run."""
    return {_MARK: os.environ[_MARK]} if _MARK in os.environ else {}


def marked(value: str, name: str = _MARK) -> list[psutil.Process]:
    """The processes whose environment has the variable `name` with `value`, without zombies."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it ended meanwhile, or belongs to another user
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(name) == value:
                found.append(process)
    return found


def _end(value: str) -> None:
    """Ends all marked processes. Searches repeatedly, because a process may start another one before it ends."""
    for number, within in ((signal.SIGTERM, TERMINATE_WITHIN_S), (signal.SIGKILL, _KILL_WITHIN_S)):
        deadline = time.monotonic() + within
        asked: set[psutil.Process] = set()
        while (left := marked(value)) and time.monotonic() < deadline:
            for process in {*left} - asked:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            asked |= {*left}
            time.sleep(0.1)


def _watch(parent: int, value: str) -> None:
    """Waits until stdin is closed or `parent` has ended (a fork of it may keep the pipe open), then ends all marked
    processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == parent and not select.select([sys.stdin], [], [], _LOOK_EVERY_S)[0]:
        pass
    _end(value)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2])
