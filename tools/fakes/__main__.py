"""The fakes as a process: prints its addresses as one line of JSON, then serves until it is stopped."""

import argparse
import json
import threading
from pathlib import Path

from tools.fakes.answering import Faults
from tools.fakes.providers import FakeProviders


def main() -> None:
    """Parses the options, prints the addresses and serves until Ctrl-C or a signal. With an existing log it continues
    from the state in the log."""
    parser = argparse.ArgumentParser(prog="python -m tools.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free port")
    parser.add_argument("--log", type=Path, help="JSONL file of all requests, written before each reply")
    for share in ("server-error", "rate-limited", "dropped-after-processing"):
        parser.add_argument(f"--{share}", type=float, default=0.0, metavar="SHARE", help="share of requests, 0 to 1")
    parser.add_argument("--retry-after", default="1", help="Retry-After header of a 429")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the faults")
    options = parser.parse_args()
    faults = Faults(
        server_error=options.server_error,
        rate_limited=options.rate_limited,
        retry_after=options.retry_after,
        dropped_after_processing=options.dropped_after_processing,
        seed=options.seed,
    )
    with FakeProviders(options.log, options.port, faults) as fakes:
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
