"""Ends the process groups that this process started when it ends, even by SIGKILL or out of memory.

A second small process holds the read end of a pipe. The operating system closes the write end when its owner ends, and
the guard then ends every registered group: SIGTERM, five seconds, SIGKILL. A group includes grandchildren, which a
signal on the parent's death (PR_SET_PDEATHSIG) would not reach, and works on macOS and Linux.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

TERMINATE_WITHIN_S = 5.0
_LOOK_EVERY_S = 1.0


class ProcessGuard:
    """Starts process groups and ends them when this process ends. One per process is enough. Not thread-safe."""

    def __init__(self, pass_fds: Sequence[int] = ()) -> None:
        """The descriptors `pass_fds` stay open until all groups have ended, so that a file lock is held until then."""
        self._groups: set[int] = set()
        self._pass_fds = tuple(pass_fds)
        self._watcher = self._start_watcher()

    @property
    def pid(self) -> int:
        return self._watcher.pid

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts `command` in a new process group led by the returned process, with the options of `Popen`."""
        process = subprocess.Popen(command, process_group=0, **options)
        self.add(process.pid)
        return process

    def add(self, group: int) -> None:
        """Registers the process group `group` to be ended when this process ends."""
        self._groups.add(group)
        self._write(f"+{group}\n")

    def discard(self, group: int) -> None:
        """Unregisters a group that has ended, because its id may be reused."""
        self._groups.discard(group)
        self._write(f"-{group}\n")

    def check(self) -> None:
        """Restarts the guard process if it was killed. Call this regularly."""
        if self._watcher.poll() is not None:
            self._close()
            self._watcher = self._start_watcher()
            for group in self._groups:
                self._write(f"+{group}\n")

    def close(self) -> None:
        """Ends the remaining groups and the guard process."""
        self._close()
        self._watcher.wait()

    def _start_watcher(self) -> subprocess.Popen[str]:
        # Isolated and without site-packages, it starts in 20 ms and uses 8 MB. A new session, so that Ctrl-C at the
        # terminal does not reach it.
        command = [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid())]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._pass_fds,
            text=True,
        )

    def _write(self, line: str) -> None:
        pipe = self._watcher.stdin
        assert pipe is not None
        with suppress(BrokenPipeError):  # the guard process was killed; `check` restarts it and sends all groups
            pipe.write(line)
            pipe.flush()

    def _close(self) -> None:
        pipe = self._watcher.stdin
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()


def end_groups(groups: set[int], terminate_within: float = TERMINATE_WITHIN_S) -> None:
    """Sends SIGTERM to every process of `groups`, and SIGKILL to those alive after `terminate_within` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        deadline = time.monotonic() + terminate_within
        while (groups := {group for group in groups if _exists(group)}) and time.monotonic() < deadline:
            time.sleep(0.05)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # on macOS, for a group of zombies
        return True
    return True


def _watch(pipe: IO[str], parent: int) -> None:
    """Reads the groups from `pipe` until its write end is closed or `parent` has ended, then ends them.

    It also checks the parent, because a process that was forked without `exec` may keep the write end open.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    rest = ""
    while True:
        is_orphan = os.getppid() != parent  # checked before reading, so that the parent's last writes are still read
        readable, _, _ = select.select([pipe], [], [], 0 if is_orphan else _LOOK_EVERY_S)
        if not readable and not is_orphan:
            continue
        read = os.read(pipe.fileno(), 65536).decode() if readable else ""
        if not read:
            break
        *lines, rest = (rest + read).split("\n")
        for line in lines:
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end_groups(groups)


if __name__ == "__main__":
    _watch(sys.stdin, int(sys.argv[1]))
