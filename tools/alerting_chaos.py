"""Chaos test: kills recorders and deliverers at random moments while providers fail, and counts what was delivered.

The processes are this module: `python -m tools.alerting_chaos record LEDGER BASE COUNT PHASE` writes evaluations by
which COUNT episodes open, an hour apart (PHASE open), and then close (PHASE close). `… deliver LEDGER SLACK_URL
EVENTS_URL` sends until it is killed. Both print `ready` once they run.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import func, select

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.senders import build_senders
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery.deliverer import deliver
from audit_assets.alerting.delivery.outbox import UNFINISHED
from audit_assets.alerting.ledger.tables import Ledger, deliveries, open_ledger
from audit_assets.alerting.links import Links
from audit_assets.alerting.notify.recorder import EvaluationRun, record_evaluation
from audit_assets.rules.business_clock import read_calendar
from audit_assets.rules.episode import Episode, Finding
from audit_assets.rules.judge import RuleResult
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import RuleSet
from audit_assets.rules.routing import Routing
from audit_assets.settings import PROJECT_ROOT
from tools.fakes.answering import Faults
from tools.fakes.providers import FakeProviders
from tools.fakes.reading import Received, read_log

FAULTS = Faults(server_error=0.10, rate_limited=0.05, dropped_after_processing=0.05, seed=11)

_ROUTING_KEY = "0123456789abcdef0123456789abcdef"
_TOKEN = "xoxb-1234-open-sesame"
_CHANNELS = {"#ai-copilot-ops": "C0COPILOT1"}
_ON_CALL = {"pagerduty": {"service": "ai-audit-observability", "escalation": ["Data Platform on-call"]}}
_OPS = {"slack": "#ai-copilot-ops"}
_ROUTES = {"on_call": {"description": "paged", **_ON_CALL, **_OPS}, "ops": {"description": "read", **_OPS}}
_ROUTING = Routing.model_validate({"routes": _ROUTES})
_RULE = "volume_spike"

_QUARTER = timedelta(minutes=15)
_APART = timedelta(minutes=61)  # longer than the window in which episodes share a message
_LEASE = timedelta(seconds=8)
_TIMEOUT_SECONDS = 3.0


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
    with FakeProviders(log, routing_key=_ROUTING_KEY, token=_TOKEN, channels=_CHANNELS, faults=FAULTS) as fakes:
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
        command = [sys.executable, "-m", "tools.alerting_chaos", *self._arguments]
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


class _Recorder:
    """Records evaluations of one rule. A recorder that starts again gives its runs the same ids."""

    def __init__(self, ledger: Ledger) -> None:
        alerts = PROJECT_ROOT / "observability" / "alerts"
        rule = load_rules(alerts / "ai-audit").rule(_RULE)
        assert rule is not None
        self._ledger, self._rules, self._runs = ledger, RuleSet((rule,), ()), 0
        self._calendar = read_calendar(alerts / "calendar.yaml")

    def record(self, episodes: list[Episode], now: datetime) -> None:
        """Records that exactly these episodes are open at `now` (UTC)."""
        self._runs += 1
        result = RuleResult(_RULE, tuple(episodes), 12, 0, 0, now - _QUARTER, now)
        run = EvaluationRun(
            self._rules, [result], {}, self._calendar, now, now, f"run{self._runs}", "test", _ROUTING, Links("", "")
        )
        record_evaluation(self._ledger, run)


def _episode(capability: str, at: datetime) -> Episode:
    """An episode that fired in the quarter of an hour that ends `at` (UTC)."""
    start = at - _QUARTER
    finding = Finding(_RULE, "live", (("capability", capability),), 90.0, 10.0, 20.0, 800.0, start, at)
    return Episode("firing", start, at, at, at, None, (True,), finding, finding)


def record(ledger_url: str, base: datetime, count: int, phase: str) -> None:
    """Records every evaluation from the first on; those recorded before change nothing."""
    recorder = _Recorder(open_ledger(ledger_url))
    print("ready", flush=True)
    known: list[Episode] = []
    steps = [base + number * _APART for number in range(2 * count)]
    for number, now in enumerate(steps[:count]):
        known.append(_episode(f"capability-{number}", now))
        recorder.record(known, now)
        time.sleep(0.02)
    for number, now in enumerate(steps[count:] if phase == "close" else ()):
        recorder.record(known[number + 1 :], now)
        time.sleep(0.02)
    print("done", flush=True)


def deliver_forever(ledger_url: str, slack_url: str, events_url: str) -> None:
    ledger = open_ledger(ledger_url)
    slack = SlackClient(SecretStr(_TOKEN), slack_url, _TIMEOUT_SECONDS)
    pagerduty = PagerDutyClient(SecretStr(_ROUTING_KEY), events_url, _TIMEOUT_SECONDS)
    senders = build_senders(slack, pagerduty, Console(quiet=True))
    print("ready", flush=True)
    while True:
        deliver(ledger, senders, _ROUTING, lambda: datetime.now(UTC), lease=_LEASE)
        time.sleep(0.02)


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "record":
        url, base, count, phase = arguments
        record(url, datetime.fromisoformat(base), int(count), phase)
    else:
        deliver_forever(*arguments)
