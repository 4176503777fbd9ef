"""Child processes that tests can kill at any moment. They are forked from a process that has imported their modules, so
that starting one takes milliseconds instead of seconds."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from queue import Empty, Queue


class Child:
    """A forked process that runs one function. `lines` receives its output."""

    def __init__(self, pid: int, lines: Queue[str]) -> None:
        self.pid, self.lines = pid, lines

    def line(self, wanted: Callable[[str], bool] = bool, within: float = 60.0) -> str | None:
        """The next line for which `wanted` is true; None if the child ends before it prints one."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"the child {self.pid} printed no such line within {within:.0f} s") from None
            if line.startswith("ended "):
                self.lines.put(line)
                return None
            if wanted(line):
                return line

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def ended(self, within: float = 120.0) -> int:
        """Waits until it has ended. Returns its exit code, negative for a signal."""
        deadline = time.monotonic() + within
        while not (line := self.lines.get(timeout=max(0.01, deadline - time.monotonic()))).startswith("ended "):
            pass
        return int(line.split()[1])


class ForkServer:
    """The process that forks children."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def child(self, *arguments: str) -> Child:
        """Forks a child that runs the server's function with these arguments."""
        assert self._process.stdin is not None
        while not self._lines.empty():
            self._lines.get()
        self._process.stdin.write("\t".join(arguments) + "\n")
        self._process.stdin.flush()
        while not (line := self._lines.get(timeout=60)).startswith("begun "):
            pass
        return Child(int(line.split()[1]), self._lines)


@contextmanager
def fork_server(function: str, environment: Mapping[str, str] | None = None) -> Generator[ForkServer]:
    """Yields a server that forks children which run `module:function`. The module is imported once, before the first
    child."""
    process = subprocess.Popen(
        [sys.executable, "-m", "audit_assets_tests.forkserver", function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that children that outlive their test end with the server
        env=None if environment is None else dict(environment),
    )
    try:
        yield ForkServer(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _serve(function: str) -> None:
    module, name = function.split(":")
    run = getattr(importlib.import_module(module), name)
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            print(f"begun {os.getpid()}", flush=True)
            code = 1
            try:
                run(*filter(None, line.rstrip("\n").split("\t")))
                code = 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
