"""Rows of drills: a separate capability with 28 days of history that then spikes, drops, fails, falls silent, or is
new. The rows carry `drillId`: business figures exclude them, and rules judge them in the environment `sim`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from audit_assets.demo.source_tables import connect
from audit_assets.demo.writing import write

DrillName = Literal["spike", "drop", "errors", "silence", "new-capability"]

HISTORY = timedelta(days=28)
CALLS_PER_STEP = 12  # per quarter of an hour on average, day and night: enough to be judged, and fast to load
_STEP = timedelta(minutes=15)

# The rule that must fire for each drill.
RULE_OF: dict[DrillName, str] = {
    "spike": "volume_spike",
    "drop": "volume_drop",
    "errors": "error_surge",
    "silence": "no_recent_logs",
    "new-capability": "new_capability",
}


@dataclass(frozen=True)
class Drill:
    """One drill: its kind, its id, and its reference time `now`. `quiet_since` is when the calls of a drop or a silence
    end. Times are UTC."""

    name: DrillName
    drill_id: str
    now: datetime
    quiet_since: datetime

    @property
    def capability(self) -> str:
        return f"drill-{self.drill_id}"

    @property
    def first_day(self) -> datetime:
        return self.now - (timedelta() if self.name == "new-capability" else HISTORY)


def history(drill: Drill) -> Iterator[pl.DataFrame]:
    """The ordinary calls before the anomaly, one frame per day; none for a new capability."""
    if drill.name == "new-capability":
        return
    start = drill.now - HISTORY
    while start < drill.now:
        end = min(start + timedelta(days=1), drill.now)
        yield _calls(drill, start, end, CALLS_PER_STEP, 0.0, "h")
        start = end


def anomaly_rows(drill: Drill) -> pl.DataFrame:
    """The rows that the drill adds: six times the calls, failing calls, or first calls; none for a drop or silence."""
    recent = drill.now - 2 * _STEP
    if drill.name == "spike":
        return _calls(drill, drill.now - 8 * _STEP, drill.now, 6 * CALLS_PER_STEP, 0.0, "t")
    if drill.name == "errors":
        return _calls(drill, recent, drill.now, 2 * CALLS_PER_STEP, 0.5, "t")
    if drill.name == "new-capability":
        return _calls(drill, recent, drill.now, CALLS_PER_STEP, 0.0, "t")
    return _calls(drill, drill.now, drill.now, 0, 0.0, "t")


def add_history(url: str, drill: Drill) -> int:
    """Writes the history to the source. Returns the number of rows."""
    return write(url, history(drill), lambda _: None)


def begin_anomaly(url: str, drill: Drill) -> None:
    """Writes the anomaly to the source, or deletes the calls that are missing in a drop or silence."""
    if drill.name in ("drop", "silence"):
        _delete(url, drill, "and created_at >= %s", drill.quiet_since)
    else:
        write(url, [anomaly_rows(drill)], lambda _: None)


def end_anomaly(url: str, drill: Drill) -> None:
    """Reverts the anomaly: deletes the added calls, or writes the missing ones."""
    if drill.name in ("drop", "silence"):
        write(url, [_calls(drill, drill.quiet_since, drill.now, CALLS_PER_STEP, 0.0, "b")], lambda _: None)
    else:
        _delete(url, drill, "and id like %s", f"{drill.capability}-t-%")


def remove(url: str, drill: Drill) -> int:
    """Deletes all rows of the drill from the source. Returns the number of rows."""
    return _delete(url, drill, "")


def _delete(url: str, drill: Drill, where: str, *values: object) -> int:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"delete from ai_audit_logs where capability = %s and request_metadata ->> 'drillId' = %s {where}",
            (drill.capability, drill.drill_id, *values),
        )
        return cursor.rowcount


def _calls(
    drill: Drill, start: datetime, end: datetime, calls_per_step: float, failing: float, kind: str
) -> pl.DataFrame:
    """Uniformly random calls over [start, end), of which the share `failing` fails. The same drill and span give the
    same rows."""
    rng = np.random.default_rng([int(drill.drill_id, 36), int(start.timestamp()), ord(kind)])
    steps = (end - start) / _STEP
    count = rng.poisson(calls_per_step * steps) if steps > 0 else 0
    offsets = np.sort(rng.random(count)) * (end - start).total_seconds()
    times = [start + timedelta(seconds=float(offset)) for offset in offsets]
    fails = rng.random(count) < failing
    latency = rng.lognormal(7.0, 0.5, count).astype(int)
    request = json.dumps({"drillId": drill.drill_id, "prompt": "drill"})
    return pl.DataFrame(
        {
            "id": [f"{drill.capability}-{kind}-{int(start.timestamp())}-{number}" for number in range(count)],
            "workflow_id": [f"drill-workspace-{number % 5}" for number in range(count)],
            "capability": [drill.capability] * count,
            "provider": ["openai"] * count,
            "created_at": times,
            "request_metadata": [request] * count,
            "response_metadata": [
                json.dumps({"status": "error" if failed else "success", "durationMs": int(took)})
                for failed, took in zip(fails, latency, strict=True)
            ],
        },
        schema={
            **dict.fromkeys(("id", "workflow_id", "capability", "provider"), pl.String()),
            "created_at": pl.Datetime("us", "UTC"),
            **dict.fromkeys(("request_metadata", "response_metadata"), pl.String()),
        },
    )
