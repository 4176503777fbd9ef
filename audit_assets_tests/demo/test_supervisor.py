"""Services are kept running and stopped in order, tested with small programs in place of Dagster's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from tools.dev_server import until

# Runs the services in its first argument (JSON: shell commands by name) in the folder in its second argument.
_SUPERVISING = """
import json, sys
from pathlib import Path
from audit_assets.demo import supervisor
from audit_assets.demo.process_guard import ProcessGuard

supervisor._CHECK_EVERY_S, supervisor._LONGEST_PAUSE_S = 0.2, 1.0
folder = Path(sys.argv[2])
services = []
for name, (command, more) in json.loads(sys.argv[1]).items():
    hangs = folder / f"{name} hangs"
    healthy = folder / f"{name} is healthy"
    problem = lambda hangs=hangs, healthy=healthy: "it hangs" if hangs.exists() else healthy.touch()
    services.append(supervisor.Service(name, ["sh", "-c", command], problem, hung_after_s=0.5, stop_within_s=2, **more))
report = lambda line: print(line, flush=True)
try:
    supervisor.Supervisor(services, ProcessGuard(), folder, {"PATH": "/usr/bin:/bin"}, report).run()
except supervisor.ServiceLostError as error:
    report(f"lost: {error}")
    sys.exit(1)
"""
# Records its process id when it starts, and its name when it ends on SIGINT.
_RUNS = "echo $$ >> {name}.pids; trap 'echo {name} >> ended; exit' INT; while :; do sleep 0.05; done"

Command = str | tuple[str, dict[str, object]]


@dataclass
class Supervised:
    process: subprocess.Popen[str]
    folder: Path
    log: Path

    def pids(self, name: str) -> list[int]:
        path = self.folder / f"{name}.pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def restarted(self, name: str) -> psutil.Process:
        """Waits until the service has been restarted, and returns its second process."""
        until(lambda: len(self.pids(name)) > 1, 20)
        return psutil.Process(self.pids(name)[-1])

    def output(self) -> str:
        return self.log.read_text()

    def tree(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


class Supervise(Protocol):
    """Starts a supervisor of services: name → shell command, alone or with more arguments of the service."""

    def __call__(self, **commands: Command) -> Supervised: ...


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    started: list[Supervised] = []

    def start(**commands: Command) -> Supervised:
        services: dict[str, Command] = {
            name: (command if isinstance(command, tuple) else (command.replace("{name}", name), {}))
            for name, command in commands.items()
        }
        log = tmp_path / "log"
        with log.open("w") as out:
            arguments = [sys.executable, "-c", _SUPERVISING, json.dumps(services), str(tmp_path)]
            # A script's background jobs ignore these signals; supervised services must not inherit that.
            process = subprocess.Popen(arguments, stdout=out, stderr=out, text=True)
        started.append(Supervised(process, tmp_path, log))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()  # its guard ends the rest
        one.process.wait()


def test_a_service_that_is_killed_is_started_again_and_the_others_go_on(supervise: Supervise):
    running = supervise(first=_RUNS, second=_RUNS)
    until(lambda: running.pids("first") and running.pids("second"), 10)

    psutil.Process(running.pids("first")[0]).kill()

    assert running.restarted("first").is_running()
    assert len(running.pids("second")) == 1
    assert f"first (process {running.pids('first')[0]}) was ended by SIGKILL; restarting it in 1 s" in running.output()


def test_a_service_that_no_longer_answers_is_killed_and_started_again(supervise: Supervise):
    running = supervise(first=_RUNS)
    until((running.folder / "first is healthy").exists, 10)
    psutil.Process(running.pids("first")[0]).suspend()

    (running.folder / "first hangs").touch()
    until(lambda: "does not answer" in running.output(), 10)
    (running.folder / "first hangs").unlink()

    assert running.restarted("first").is_running()
    assert "(it hangs): killing it" in running.output()


def test_a_service_that_dies_at_once_each_time_ends_all_with_a_line_that_names_it(supervise: Supervise):
    running = supervise(first=_RUNS, second="exit 3")

    assert running.process.wait(timeout=60) == 1
    assert "lost: second ended with exit code 3 5 times, each soon after its start: giving up" in running.output()
    assert (running.folder / "ended").read_text().split() == ["first"]


def test_without_a_service_that_is_not_essential_the_others_go_on(supervise: Supervise):
    running = supervise(first=_RUNS, second=("exit 3", {"is_essential": False}))

    until(lambda: "second ended with exit code 3 5 times" in running.output(), 60)

    assert running.process.poll() is None
    assert len(running.pids("first")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_them_those_first_that_need_another(supervise: Supervise, number: signal.Signals):
    running = supervise(first=_RUNS, second=(_RUNS.replace("{name}", "second"), {"after": "first"}))
    until(lambda: running.pids("second"), 10)
    tree = running.tree()

    running.process.send_signal(number)

    assert running.process.wait(timeout=20) == 0
    assert (running.folder / "ended").read_text().split() == ["second", "first"]
    assert psutil.wait_procs(tree[1:], timeout=5)[1] == []


def test_a_service_that_ignores_its_signals_is_killed_in_the_end(supervise: Supervise):
    running = supervise(first="trap '' INT TERM; echo $$ >> first.pids; while :; do sleep 0.05; done")
    until(lambda: running.pids("first"), 10)

    running.process.send_signal(signal.SIGTERM)

    assert running.process.wait(timeout=30) == 0
    assert not psutil.pid_exists(running.pids("first")[0])


def test_nothing_of_it_lives_on_after_a_kill_of_the_supervisor(supervise: Supervise):
    running = supervise(first=_RUNS, second=_RUNS)
    until(lambda: running.pids("first") and running.pids("second"), 10)
    tree = running.tree()
    assert len(tree) >= 4

    running.process.kill()
    running.process.wait()

    assert psutil.wait_procs(tree[1:], timeout=20)[1] == []
