"""Runs child processes and measures them: wall time, CPU including ended children, peak memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_assets.settings import PROJECT_ROOT
from benchmarks.figure import BenchmarkError

# ru_maxrss is in KiB on Linux, in bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class ProcessResult:
    """A child that succeeded: seconds of wall time and CPU, peak resident memory in MB, epoch seconds of its start, and
    the last JSON object it printed (empty without one)."""

    wall: float
    cpu: float
    peak_mb: float
    began: float
    output: dict[str, Any]


def run_module(module: str, *arguments: str, environment: Mapping[str, str]) -> ProcessResult:
    """Runs `python -m module` in the project's folder. Raises BenchmarkError with its last output on failure."""
    return run([sys.executable, "-m", module, *arguments], environment)


def run(command: Sequence[str], environment: Mapping[str, str], stdout: int | None = None) -> ProcessResult:
    """Runs `command` to its end. `stdout` is a descriptor that receives its output; without it, the last line is
    parsed. Raises BenchmarkError on failure."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began, clock = time.time(), time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out if stdout is None else stdout,
            stderr=err,
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - clock
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        printed, errors = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if child.returncode != 0:
        tail = "\n".join((errors or printed).strip().splitlines()[-12:])
        raise BenchmarkError(f"{_name(command)} ended with {child.returncode}:\n{tail}")
    peak_mb = usage.ru_maxrss * _RSS_UNIT / 1e6
    return ProcessResult(wall, usage.ru_utime + usage.ru_stime, peak_mb, began, _last_object(printed))


def _name(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:3]])


def _last_object(printed: str) -> dict[str, Any]:
    lines = [line for line in printed.strip().splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}
