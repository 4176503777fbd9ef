"""One run of the sync job, as a process that says how far it is, so that it can be killed there.

It imports all it needs, and begins when it is given a line on stdin.
"""

import os
import sys
from datetime import UTC, datetime

import audit_assets.definitions  # noqa: F401
from audit_assets.cli.headless import prepare_instance, run_build
from audit_assets.defs import dbt_events, publishing
from audit_assets.settings import read_settings

# Where each phase begins: the first line of code of the project that belongs to it.
_BEGINNINGS = ((dbt_events, "_invoke", "models"), (publishing, "publish", "publish"))


def run_once() -> None:
    """Runs the job over today and says `phase …` as each begins, and `succeeded` or `failed` at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    for module, name, phase in _BEGINNINGS:
        _announce(module, name, phase)
    settings = read_settings()
    prepare_instance(settings)
    today = datetime.now(UTC).date()
    outcome = run_build(settings, today, today, mode="delta")
    print("succeeded" if outcome.succeeded else f"failed {outcome.failure}", flush=True)


def _announce(module: object, name: str, phase: str) -> None:
    begin = getattr(module, name)

    def announced(*arguments: object, **more: object) -> object:
        print(f"phase {phase}", flush=True)
        return begin(*arguments, **more)

    setattr(module, name, announced)


if __name__ == "__main__":
    sys.stdin.readline()
    run_once()
