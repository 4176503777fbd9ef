"""Keeps services running: restarts a service when it dies or stops answering, and stops all of them in order.

If a service keeps dying right after its start, the supervisor gives up and reports it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from audit_assets.demo.process_guard import ProcessGuard

_POLL_EVERY_S = 0.5
_CHECK_EVERY_S = 5.0
_QUICK_S, _QUICK_DEATHS = 60.0, 5  # five deaths in a row, each within a minute of its start
_LONGEST_PAUSE_S = 30.0
_TERMINATE_WITHIN_S = 5.0


@dataclass(frozen=True)
class Service:
    """A process and everything it starts."""

    name: str
    command: Sequence[str]
    # The health check: its current problem, or None. Returns within some seconds; called from its own thread.
    problem: Callable[[], str | None] | None = None
    after: str | None = None  # the service that must have answered before the first start of this one
    starts_within_s: float = 600.0  # loading the code takes minutes on a busy machine
    hung_after_s: float = 30.0
    stop_within_s: float = 15.0
    is_essential: bool = True  # the other services continue without one that is not essential
    outlives: Callable[[psutil.Process], bool] = lambda _: False  # processes of its group that a restart keeps


@dataclass(frozen=True)
class ServiceState:
    """The state of a service: its process if it runs, its number of restarts, its problem."""

    name: str
    pid: int | None
    restarts: int
    problem: str | None


@dataclass
class _Running:
    """A service's process and its observed state. Times are from `time.monotonic`."""

    service: Service
    process: subprocess.Popen[Any] | None = None
    started: float = 0.0
    answered: float = 0.0  # the last answer, or the start
    has_answered: bool = False
    start_at: float | None = 0.0
    quick_deaths: int = 0
    restarts: int = 0
    problem: str | None = None
    check: Future[str | None] | None = None
    checked: float = 0.0
    groups: set[int] = field(default_factory=set[int])  # process groups of earlier starts that still have processes

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def state(self) -> ServiceState:
        return ServiceState(self.name, self.process.pid if self.process else None, self.restarts, self.problem)


class ServiceLostError(Exception):
    """An essential service could not be kept running. The message names it and how it ended."""


class Supervisor:
    """Runs services until SIGINT or SIGTERM, or until an essential one is lost. Use it from the main thread."""

    def __init__(
        self,
        services: Sequence[Service],
        guard: ProcessGuard,
        cwd: Path,
        environment: Mapping[str, str],
        report: Callable[[str], None],
        changed: Callable[[Sequence[ServiceState]], None] = lambda _: None,
    ) -> None:
        """`report` receives a line for each death, restart and end; `changed` all states whenever one changes."""
        self._running = [_Running(service) for service in services]
        self._guard, self._cwd, self._environment = guard, cwd, dict(environment)
        self._report, self._changed = report, changed
        self._signals = 0
        self._checks = ThreadPoolExecutor(max_workers=len(services), thread_name_prefix="health")

    def run(self) -> None:
        """Returns after a signal has stopped all services. Raises ServiceLostError after the others were stopped."""
        # Unlike an ignored signal, a handler is not inherited: children get the defaults, whatever started us.
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            states: list[ServiceState] = []
            while not self._signals:
                for running in self._running:
                    self._supervise(running, time.monotonic())
                if (now := [running.state for running in self._running]) != states:
                    states = now
                    self._changed(states)
                self._guard.check()
                time.sleep(_POLL_EVERY_S)
        finally:
            self._stop_all()
            self._checks.shutdown(wait=False, cancel_futures=True)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        self._signals += 1  # the second one stops waiting

    def _supervise(self, running: _Running, now: float) -> None:
        if running.process is None:
            if running.start_at is not None and now >= running.start_at and self._may_start(running):
                self._start(running, now)
        elif (code := running.process.poll()) is not None:
            self._has_died(running, code, now)
        else:
            self._check(running, now)
        for group in {group for group in running.groups if not live_processes(group)}:
            running.groups.discard(group)
            self._guard.discard(group)

    def _may_start(self, running: _Running) -> bool:
        first = next((other for other in self._running if other.name == running.service.after), None)
        return first is None or first.has_answered or running.restarts > 0

    def _start(self, running: _Running, now: float) -> None:
        running.process = self._guard.popen(running.service.command, cwd=self._cwd, env=self._environment)
        running.started = running.answered = now
        running.has_answered, running.check, running.start_at = False, None, None
        running.problem = "it has not answered yet" if running.service.problem is not None else None

    def _has_died(self, running: _Running, code: int, now: float) -> None:
        """Schedules a restart, or gives up. Kills the processes that the service started, except those that outlive
        it."""
        assert running.process is not None
        service, pid = running.service, running.process.pid
        never_answered = service.problem is not None and not running.has_answered
        running.quick_deaths = running.quick_deaths + 1 if never_answered or now - running.started < _QUICK_S else 0
        running.process, running.restarts = None, running.restarts + 1
        running.groups.add(pid)
        for process in live_processes(pid):
            with suppress(psutil.NoSuchProcess):
                if not service.outlives(process):
                    process.kill()
        running.problem = f"it {_ended(code)}"
        if running.quick_deaths < _QUICK_DEATHS:
            pause = min(2.0 ** max(running.quick_deaths - 1, 0), _LONGEST_PAUSE_S)
            running.start_at = now + pause
            self._report(f"{service.name} (process {pid}) {_ended(code)}; restarting it in {pause:.0f} s")
            return
        line = f"{service.name} {_ended(code)} {_QUICK_DEATHS} times, each soon after its start: giving up on it"
        running.problem = f"it {_ended(code)} {_QUICK_DEATHS} times, each soon after its start"
        self._report(line)
        if service.is_essential:
            self._changed([each.state for each in self._running])
            raise ServiceLostError(f"{line}. Its output above shows the reason")

    def _check(self, running: _Running, now: float) -> None:
        service = running.service
        if service.problem is None:
            return
        if running.check is None and now - running.checked >= _CHECK_EVERY_S:
            running.check, running.checked = self._checks.submit(service.problem), now
        elif running.check is not None and running.check.done():
            error = running.check.exception()
            running.problem = f"{type(error).__name__}: {error}" if error else running.check.result()
            running.check = None
            if running.problem is None:
                running.answered, running.has_answered = now, True
        patience = service.hung_after_s if running.has_answered else service.starts_within_s
        if running.problem is not None and now - running.answered > patience:
            assert running.process is not None
            self._report(
                f"{service.name} (process {running.process.pid}) does not answer ({running.problem}): killing it"
            )
            running.process.kill()

    def _stop_all(self) -> None:
        """Sends SIGINT first to services that no other needs, then to the rest. Services that take too long get SIGTERM
        and SIGKILL."""
        needed = {running.service.after for running in self._running}
        for phase in (False, True):
            self._stop([running for running in self._running if (running.name in needed) is phase])

    def _stop(self, ending: Sequence[_Running]) -> None:
        processes = [running.process for running in ending if running.process is not None]
        for process in processes:
            process.send_signal(signal.SIGINT)
        groups = {process.pid for process in processes}.union(*(running.groups for running in ending))
        self._wait(groups, processes, max((running.service.stop_within_s for running in ending), default=0.0))
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in [process for group in groups for process in live_processes(group)]:
                with suppress(psutil.NoSuchProcess):
                    end(process)
            self._wait(groups, processes, _TERMINATE_WITHIN_S)
        for group in groups:
            self._guard.discard(group)

    def _wait(self, groups: set[int], leaders: Sequence[subprocess.Popen[Any]], seconds: float) -> None:
        """Waits until no process of the groups is alive, the time is over, or another signal arrives."""
        deadline, signals = time.monotonic() + seconds, self._signals
        while any(map(live_processes, groups)) and time.monotonic() < deadline and self._signals == signals:
            time.sleep(0.1)
            for leader in leaders:
                leader.poll()  # reaps an ended child, which is a zombie until then


def live_processes(group: int) -> list[psutil.Process]:
    """The processes of a group that have not ended. A zombie has ended, even if it is never reaped."""

    def is_alive(process: psutil.Process) -> bool:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in psutil.process_iter() if is_alive(process)]


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"
