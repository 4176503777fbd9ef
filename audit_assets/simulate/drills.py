"""Drills: made rows of a capability of their own, with 28 days of history, that then spikes, drops, errs, falls silent
or appears. They carry `drillId`: business figures leave them out, and rules judge them in the environment `sim`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from audit_assets.simulate.tables import connected
from audit_assets.simulate.writing import write

DrillName = Literal["spike", "drop", "errors", "silence", "new-capability"]

HISTORY = timedelta(days=28)
CALLS_A_STEP = 12  # of a quarter of an hour, on average, day and night: enough to be judged, little enough to load fast
_STEP = timedelta(minutes=15)

# The rule that must see each drill.
RULE_OF: dict[DrillName, str] = {
    "spike": "volume_spike",
    "drop": "volume_drop",
    "errors": "error_surge",
    "silence": "no_recent_logs",
    "new-capability": "new_capability",
}


@dataclass(frozen=True)
class Drill:
    """One drill: what it shows, its id, and the moment it is made for (UTC). `quiet_since` is where the calls of a drop
    or a silence end."""

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
    """The ordinary calls before the trouble, a day a frame; none for a capability that is new."""
    if drill.name == "new-capability":
        return
    start = drill.now - HISTORY
    while start < drill.now:
        end = min(start + timedelta(days=1), drill.now)
        yield _calls(drill, start, end, CALLS_A_STEP, 0.0, "h")
        start = end


def trouble(drill: Drill) -> pl.DataFrame:
    """What the drill adds: six times the calls, calls that fail, or first calls; nothing for a drop or a silence."""
    recent = drill.now - 2 * _STEP
    if drill.name == "spike":
        return _calls(drill, drill.now - 8 * _STEP, drill.now, 6 * CALLS_A_STEP, 0.0, "t")
    if drill.name == "errors":
        return _calls(drill, recent, drill.now, 2 * CALLS_A_STEP, 0.5, "t")
    if drill.name == "new-capability":
        return _calls(drill, recent, drill.now, CALLS_A_STEP, 0.0, "t")
    return _calls(drill, drill.now, drill.now, 0, 0.0, "t")


def add_history(url: str, drill: Drill) -> int:
    """Puts the history into the source; how many rows."""
    return write(url, history(drill), lambda _: None)


def begin_trouble(url: str, drill: Drill) -> datetime:
    """Puts the trouble into the source, or takes the calls out that a drop or a silence lacks; when that was committed
    (UTC)."""
    if drill.name in ("drop", "silence"):
        _delete(url, drill, "and created_at >= %s", drill.quiet_since)
    else:
        write(url, [trouble(drill)], lambda _: None)
    return datetime.now(UTC)


def end_trouble(url: str, drill: Drill) -> None:
    """Makes it as if nothing had happened: the added calls go, the missing ones come."""
    if drill.name in ("drop", "silence"):
        write(url, [_calls(drill, drill.quiet_since, drill.now, CALLS_A_STEP, 0.0, "b")], lambda _: None)
    else:
        _delete(url, drill, "and id like %s", f"{drill.capability}-t-%")


def remove(url: str, drill: Drill) -> int:
    """Deletes all rows of the drill from the source; how many."""
    return _delete(url, drill, "")


def _delete(url: str, drill: Drill, where: str, *values: object) -> int:
    with connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"delete from ai_audit_logs where capability = %s and request_metadata ->> 'drillId' = %s {where}",
            (drill.capability, drill.drill_id, *values),
        )
        return cursor.rowcount


def _calls(drill: Drill, start: datetime, end: datetime, a_step: float, failing: float, kind: str) -> pl.DataFrame:
    """Calls evenly at random over [start, end), a share of them failing; the same for the same drill and span."""
    rng = np.random.default_rng([int(drill.drill_id, 36), int(start.timestamp()), ord(kind)])
    steps = (end - start) / _STEP
    count = rng.poisson(a_step * steps) if steps > 0 else 0
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
