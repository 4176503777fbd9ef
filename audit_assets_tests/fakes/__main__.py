"""The fakes as a process: prints its addresses as one line of JSON, then serves until it is ended."""

import argparse
import json
import threading
from pathlib import Path

from audit_assets_tests.fakes.answering import Faults
from audit_assets_tests.fakes.providers import FakeProviders


def main() -> None:
    """Parse, print, serve. Ctrl-C or a signal ends it; started again on the same log it goes on from there."""
    parser = argparse.ArgumentParser(prog="python -m audit_assets_tests.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--log", type=Path, help="JSONL of every request, written before its answer")
    for share in ("server-error", "rate-limited", "dropped-after-processing"):
        parser.add_argument(f"--{share}", type=float, default=0.0, metavar="SHARE", help="of requests, 0 to 1")
    parser.add_argument("--retry-after", default="1", help="the header of a 429")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    asked = parser.parse_args()
    faults = Faults(
        server_error=asked.server_error,
        rate_limited=asked.rate_limited,
        retry_after=asked.retry_after,
        dropped_after_processing=asked.dropped_after_processing,
        seed=asked.seed,
    )
    with FakeProviders(asked.log, asked.port, faults) as fakes:
        addresses = {
            "PAGERDUTY_EVENTS_URL": fakes.events_url,
            "PAGERDUTY_API_URL": fakes.events_url,
            "SLACK_BASE_URL": fakes.slack_url,
            "JIRA_URL": fakes.jira_url,
            "AI_AUDIT_TICKET_WEBHOOK_URL": fakes.hook_url("tickets"),
            "AI_AUDIT_REMEDIATION_URL": fakes.hook_url("remediation"),
        }
        print(json.dumps(addresses), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
