#!/usr/bin/env python3
"""Runs the test suite under faked clocks, at moments at which tests that read the wall clock fail.

Each run starts at a given instant, from which the clock advances. Every process that the tests start has the same
clock: Postgres, `audit dev`, Chromium. Timeouts use real time (the monotonic clock is not faked), and so do the times
of files, which the kernel writes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_ENDS_WITHIN_S = 20.0
ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@dataclass(frozen=True)
class FakeClock:
    """A run that starts at `starts_at` (UTC), on a machine in `time_zone`."""

    name: str
    starts_at: datetime
    time_zone: str
    why: str


def _clock(name: str, starts_at: str, why: str, time_zone: str = "UTC") -> FakeClock:
    return FakeClock(name, datetime.fromisoformat(starts_at), time_zone, why)


CLOCKS = (
    _clock("sunday", "2026-11-29T17:00:00Z", "a quiet evening, compared with other Sundays"),
    _clock("monday", "2026-11-30T01:00:00Z", "the start of a day after a Sunday"),
    _clock("midnight", "2026-11-30T23:58:00Z", "a day ends during the run"),
    _clock("new-york-spring", "2027-03-14T06:58:00Z", "summer time starts during the run", "America/New_York"),
    _clock("new-york-autumn", "2027-11-07T05:58:00Z", "summer time ends during the run", "America/New_York"),
    _clock("berlin-spring", "2027-03-28T00:58:00Z", "summer time starts during the run", "Europe/Berlin"),
    _clock("berlin-autumn", "2027-10-31T00:58:00Z", "summer time ends during the run", "Europe/Berlin"),
    _clock("leap-day", "2028-02-29T12:00:00Z", "the previous year does not have this day"),
)


class ClockError(Exception):
    """The clock cannot be faked here. The message names the fix."""


@dataclass(frozen=True)
class SuiteResult:
    """The result of the suite under one clock. `failed` lists failed tests and errors; `seconds` are in real time."""

    clock: str
    starts_at: str
    time_zone: str
    exit_code: int
    tests: int
    failed: tuple[str, ...]
    seconds: int

    def __str__(self) -> str:
        outcome = "passed" if self.exit_code == 0 else f"failed (pytest ended with {self.exit_code})"
        lines = [f"{self.clock}: {outcome}: {self.tests} tests in {self.seconds} s, {len(self.failed)} failed"]
        return "\n".join([*lines, *(f"  {name}" for name in self.failed)])


@contextmanager
def fakes(libraries: Sequence[Path] = LIBRARIES) -> Generator[tuple[Path, ...]]:
    """Yields the libraries to preload, in order. Raises ClockError if one is not available."""
    if not libraries:
        raise ClockError("libfaketime is missing: install Debian's package with `apt-get install faketime`")
    compiler = shutil.which("cc")
    if compiler is None:
        raise ClockError("a C compiler is missing: install Debian's package with `apt-get install gcc`")
    with tempfile.TemporaryDirectory(prefix="audit-clock-") as folder:
        waits = Path(folder) / "unfaked_waits.so"
        source = Path(__file__).with_name("unfaked_waits.c")
        built = subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", str(waits), str(source)], capture_output=True, text=True, check=False
        )
        if built.returncode != 0:
            raise ClockError(f"{source} does not compile: {built.stderr.strip()}")
        Path(folder).chmod(0o755)  # Postgres runs as another user if the caller is root
        waits.chmod(0o755)
        yield waits, libraries[0]


def faked_environment(clock: FakeClock, preload: Sequence[Path], now: datetime) -> dict[str, str]:
    """The environment variables that give a process `clock`, if it starts at `now` (UTC, by the system clock).

    The clock is faked by an offset. With an instant, each process would start at that instant again.
    """
    return {
        "TZ": clock.time_zone,
        "LD_PRELOAD": ":".join(map(str, preload)),
        "FAKETIME": f"{(clock.starts_at - now).total_seconds():+.3f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # otherwise waits on the monotonic clock end at once, and Chromium hangs
    }


def run_suite(clock: FakeClock, preload: Sequence[Path], arguments: Sequence[str], printed: int | None) -> SuiteResult:
    """Runs the suite under `clock`, with `arguments` for pytest, whose output goes to the descriptor `printed`."""
    with tempfile.TemporaryDirectory(prefix="audit-suite-") as folder:
        report = Path(folder) / "report.xml"
        command = [str(PYTHON), "-m", "pytest", f"--junitxml={report}", *arguments]
        environment = {**os.environ, **faked_environment(clock, preload, _real_now())}
        _check(environment, clock)
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed)
        try:
            code = process.wait()
        finally:
            _end(process)
        tests, failed = _outcomes(report)
    return SuiteResult(
        clock.name,
        clock.starts_at.isoformat(),
        clock.time_zone,
        code,
        tests,
        failed,
        round(time.monotonic() - began),
    )


def _real_now() -> datetime:
    """The current time (UTC) of the machine, also if this process itself runs under a faked clock."""
    real = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "FAKETIME")}
    program = "import time; print(time.time())"
    asked = subprocess.run([sys.executable, "-c", program], env=real, capture_output=True, text=True, check=True)
    return datetime.fromtimestamp(float(asked.stdout), UTC)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends pytest if this program ends first. The processes of the tests end with pytest."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:  # Dagster defers a signal until its step has ended
            process.kill()
            process.wait()


def _check(environment: Mapping[str, str], clock: FakeClock) -> None:
    """Raises ClockError if a process does not get the clock, or cannot sleep with it."""
    program = "import time; time.sleep(0.01); print(time.time())"
    done = subprocess.run([str(PYTHON), "-c", program], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not 0 <= float(done.stdout) - clock.starts_at.timestamp() < 60:
        output = (done.stdout + done.stderr).strip()
        raise ClockError(f"a process does not start at {clock.starts_at.isoformat()}: {output}")


def _outcomes(report: Path) -> tuple[int, tuple[str, ...]]:
    """The number of tests and the names of those that failed; none if pytest did not finish."""
    if not report.exists():
        return 0, ()
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return len(cases), tuple(f"{case.get('classname')}::{case.get('name')}" for case in failed)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no time zone: add Z for UTC")
    return instant.astimezone(UTC)


def _parser() -> argparse.ArgumentParser:
    named = "\n".join(f"  {clock.name:16} {clock.starts_at:%a %Y-%m-%d %H:%M}Z  {clock.why}" for clock in CLOCKS)
    parser = argparse.ArgumentParser(
        prog="tools/suite_under_clock.py",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog=f"clocks:\n{named}\n\nOther arguments go to pytest: paths, -x, -n 2. Needs Debian's faketime and gcc.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--clock", action="append", choices=[clock.name for clock in CLOCKS], help="one of the clocks; default: all"
    )
    parser.add_argument("--at", action="append", type=_instant, help="a custom instant, as 2026-12-31T23:59:00Z")
    parser.add_argument("--json", action="store_true", help="print results as JSON; pytest's output goes to stderr")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if the suite passed under each clock, 1 if it did not, 2 if no clock can be faked."""
    options, for_pytest = _parser().parse_known_args(arguments)
    own = [FakeClock("at", at, "UTC", "asked for") for at in options.at or ()]
    names = options.clock or ([] if own else [clock.name for clock in CLOCKS])
    clocks = [*(clock for clock in CLOCKS if clock.name in names), *own]
    results: list[SuiteResult] = []
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        with fakes() as preload:
            for number, clock in enumerate(clocks, 1):
                progress = f"[{number}/{len(clocks)}] {clock.name}: {clock.starts_at.isoformat()}, {clock.time_zone}"
                print(progress, file=sys.stderr, flush=True)
                results.append(run_suite(clock, preload, for_pytest, sys.stderr.fileno() if options.json else None))
                print(f"\n{results[-1]}", file=sys.stderr, flush=True)  # pytest's output may end without a newline
    except ClockError as error:
        print(f"suite_under_clock: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("suite_under_clock: interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    return 0 if all(result.exit_code == 0 for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
