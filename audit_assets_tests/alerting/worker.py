"""A process that records episodes in a ledger or delivers its outbox; it may be killed at any time.

`python -m audit_assets_tests.alerting.worker record LEDGER BASE COUNT PHASE` writes evaluations by which COUNT episodes
open, an hour apart (PHASE open), and then close (PHASE close). `… deliver LEDGER SLACK_URL EVENTS_URL` sends until it
is killed. Both print `ready` once they run.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from rich.console import Console

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.senders import build_senders
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.alerting.delivery.deliverer import deliver
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.rules.episode import Episode
from audit_assets_tests.alerting.conftest import ROUTING_KEY, TOKEN
from audit_assets_tests.alerting.ledger_factories import ROUTING, Book, episode, rule_result

APART = timedelta(minutes=61)  # longer than the window in which episodes share a message
LEASE = timedelta(seconds=8)
_TIMEOUT = 3.0


def record(ledger_url: str, base: datetime, count: int, phase: str) -> None:
    """Records every evaluation from the first on; those recorded before change nothing."""
    book = Book(open_ledger(ledger_url))
    print("ready", flush=True)
    known: list[Episode] = []
    steps = [base + number * APART for number in range(2 * count)]
    for number, now in enumerate(steps[:count]):
        known.append(episode(f"capability-{number}", at=now))
        book.record(rule_result(*known, at=now), now=now)
        time.sleep(0.02)
    for number, now in enumerate(steps[count:] if phase == "close" else ()):
        book.record(rule_result(*known[number + 1 :], at=now), now=now)
        time.sleep(0.02)
    print("done", flush=True)


def deliver_forever(ledger_url: str, slack_url: str, events_url: str) -> None:
    ledger = open_ledger(ledger_url)
    slack = SlackClient(SecretStr(TOKEN), slack_url, _TIMEOUT)
    senders = build_senders(slack, PagerDutyClient(SecretStr(ROUTING_KEY), events_url, _TIMEOUT), Console(quiet=True))
    print("ready", flush=True)
    while True:
        deliver(ledger, senders, ROUTING, lambda: datetime.now(UTC), lease=LEASE)
        time.sleep(0.02)


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "record":
        url, base, count, phase = arguments
        record(url, datetime.fromisoformat(base), int(count), phase)
    else:
        deliver_forever(*arguments)
