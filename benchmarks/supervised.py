"""Runs a command until stdin closes and counts the CPU of all its descendants: `python -m benchmarks.supervised
COMMAND …`.

Orphans are reparented to this process instead of init, and reaped here. At the end the command gets SIGINT, as from
Ctrl-C, and the rest of its tree SIGTERM, then SIGKILL. Prints the CPU seconds of the whole tree. Linux only.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_TIMEOUT_SECONDS = {signal.SIGINT: 45.0, signal.SIGTERM: 10.0, signal.SIGKILL: 10.0}


def main() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_default_signals)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        if not _reaped():
            break
    for number, timeout in _TIMEOUT_SECONDS.items():
        for pid in [child.pid] if number == signal.SIGINT else _left():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + timeout
        while _reaped() and time.monotonic() < until:
            time.sleep(0.1)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"cpu": usage.ru_utime + usage.ru_stime, "left": len(_left())}))


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _reaped() -> bool:
    """Reaps ended children. Returns whether any child is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _left() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True)]


if __name__ == "__main__":
    main()
