"""Runs a micro-batch in a new process, like the sensor's runs: `python -m benchmarks.one_batch NOW`.

Prints the epoch seconds of the run's start and end, and the seconds of each step.
"""

import json
import sys
from datetime import datetime

from dagster import DagsterInstance

from audit_assets.defs.runner import prepare_instance
from audit_assets.settings import read_settings


def main() -> None:
    now = datetime.fromisoformat(sys.argv[1])
    prepare_instance(read_settings())
    from audit_assets.definitions import build_definitions  # after DAGSTER_HOME is set, as in the process of a run

    job = build_definitions(read_settings()).resolve_job_def("audit_sync")
    with DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key=now.date().isoformat(),
            run_config={
                "ops": {"sync_ai_audit_logs": {"config": {"mode": "delta"}}},
                "resources": {"clock": {"config": {"fixed_now": now.isoformat()}}},
            },
            tags={"audit/mode": "delta", "audit/reason": "benchmark"},
            raise_on_error=True,
        )
        times: dict[str, dict[str, float]] = {}
        for entry in instance.all_logs(result.run_id):
            event = entry.dagster_event
            if event is None:
                continue
            place = times.setdefault(event.step_key or "run", {})
            place[event.event_type_value] = entry.timestamp
    steps = {
        key: moments["STEP_SUCCESS"] - moments["STEP_START"]
        for key, moments in times.items()
        if "STEP_START" in moments and "STEP_SUCCESS" in moments
    }
    first = min(moments["STEP_START"] for moments in times.values() if "STEP_START" in moments)
    last = max(moments["STEP_SUCCESS"] for moments in times.values() if "STEP_SUCCESS" in moments)
    sys.stdout.write(json.dumps({"began": first, "ended": last, "steps": steps}) + "\n")


if __name__ == "__main__":
    main()
