"""Runs the sync job once in a process that prints its progress, so that a test can kill it at a given phase.

It imports everything first, and starts when it gets a line on stdin.
"""

import os
import sys
from datetime import datetime

from audit_assets.definitions import build_definitions
from audit_assets.defs import dbt_events, publishing
from audit_assets.defs.runner import prepare_instance, run_build
from audit_assets.settings import read_settings

# The first function of the project in each phase.
_PHASES = ((dbt_events, "_invoke", "models"), (publishing, "publish", "publish"))


def run_once(now: datetime) -> None:
    """Runs the job over the day of `now` (UTC), which it takes as now. Prints `phase …` when a phase starts, and
    `succeeded` or `failed` at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    for module, name, phase in _PHASES:
        _announce(module, name, phase)
    settings = read_settings()
    prepare_instance(settings)
    outcome = run_build(build_definitions(settings), now.date(), now.date(), "delta", now)
    print("succeeded" if outcome.succeeded else f"failed {outcome.failure}", flush=True)


def _announce(module: object, name: str, phase: str) -> None:
    begin = getattr(module, name)

    def announced(*arguments: object, **more: object) -> object:
        print(f"phase {phase}", flush=True)
        return begin(*arguments, **more)

    setattr(module, name, announced)


if __name__ == "__main__":
    sys.stdin.readline()
    run_once(datetime.fromisoformat(sys.argv[1]))
