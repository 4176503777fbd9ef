"""Chaos test: kills recorders and deliverers at random moments while providers fail, and counts what was delivered."""

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from audit_assets.alerting.delivery.outbox import UNFINISHED
from audit_assets.alerting.ledger.tables import deliveries, open_ledger
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.alerting.conftest import CHANNELS, ROUTING_KEY, TOKEN
from tools.fakes.answering import Faults
from tools.fakes.providers import FakeProviders
from tools.fakes.reading import Received, read_log

FAULTS = Faults(server_error=0.10, rate_limited=0.05, dropped_after_processing=0.05, seed=11)


@dataclass(frozen=True)
class ChaosResult:
    """The result of a chaos run: kills by role, duration in seconds, and what the providers received."""

    episodes: int
    kills: Counter[str]
    seconds: float
    seen: Received
    left: int  # rows that are still to be sent

    @property
    def lost(self) -> int:
        return self.episodes - len(self.seen.incidents)

    @property
    def not_once(self) -> list[str]:
        """Keys of incidents that were not opened once and closed."""
        return [key for key, one in self.seen.incidents.items() if (one.opened, one.state) != (1, "resolved")]


def chaos(
    ledger_url: str, folder: Path, episodes: int, kills: int, deliverers: int = 2, recorders: int = 1, seed: int = 5
) -> ChaosResult:
    """Opens and closes `episodes`, killing a process `kills` times, half of them in each phase."""
    began, random_ = time.monotonic(), random.Random(seed)
    killed: Counter[str] = Counter()
    base = datetime.now(UTC).replace(microsecond=0)
    log = folder / "requests.jsonl"
    open_ledger(ledger_url).close()
    with FakeProviders(log, routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS, faults=FAULTS) as fakes:
        for phase in ("open", "close"):
            recording = ["record", ledger_url, base.isoformat(), str(episodes), phase]
            delivering = ["deliver", ledger_url, fakes.slack_url, fakes.events_url]
            team = [_Worker(recording) for _ in range(recorders)] + [_Worker(delivering) for _ in range(deliverers)]
            try:
                for _ in range(kills // 2):
                    victim = random_.choice(team)
                    victim.wait_until_ready()
                    time.sleep(random_.random() ** 2 * 0.5)
                    killed[victim.role] += victim.kill()
                    victim.start()
                for worker in team[:recorders]:
                    worker.wait_until_done()
                left = _drained(ledger_url)
            finally:
                for worker in team:
                    worker.kill()
    return ChaosResult(episodes, killed, time.monotonic() - began, read_log(log), left)


class _Worker:
    """One process, restarted after each kill."""

    def __init__(self, arguments: list[str]) -> None:
        self.role, self._arguments = arguments[0], arguments
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "audit_assets_tests.alerting.worker", *self._arguments]
        self._process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE)
        self._ready = False

    def wait_until_ready(self) -> None:
        if not self._ready:
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"ready\n"
            self._ready = True

    def wait_until_done(self) -> None:
        self.wait_until_ready()
        assert self._process.wait(timeout=120) == 0

    def kill(self) -> bool:
        """Sends SIGKILL; returns whether the process was alive."""
        alive = self._process.poll() is None
        self._process.kill()
        self._process.communicate()
        return alive


def _drained(ledger_url: str, within: float = 180.0) -> int:
    """Waits until no row is left to send, at most `within` seconds. Returns the number of rows left."""
    ledger, until = open_ledger(ledger_url), time.monotonic() + within
    try:
        while True:
            with ledger.transaction() as connection:
                waits = select(func.count()).select_from(deliveries).where(deliveries.c.status.in_(UNFINISHED))
                left = connection.execute(waits).scalar_one()
            if not left or time.monotonic() > until:
                return left
            time.sleep(0.25)
    finally:
        ledger.close()
