"""The sync whose destination is a stream: normalised rows as lines of JSON, with no warehouse and no watermark."""

from collections.abc import Callable
from dataclasses import replace

import duckdb

from audit_assets.ingest.itinerary import day_windows
from audit_assets.ingest.normalise import Scope, normalising_sql
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import open_source
from audit_assets.ingest.windows import Request, plan
from audit_assets.warehouse.protocol import SyncPosition
from audit_assets.warehouse.schema import RAW_COLUMNS

# Lines fetched at once, so that a day of millions is never in memory as Python values.
_LINES = 2_000


def sync_to_stdout(url: str, policy: SyncPolicy, request: Request, write: Callable[[str], None]) -> int:
    """Writes one line a row that `request` asks for, by UTC day and created_at, and returns how many.

    Rows a warehouse would refuse are left out, as is prompt and response text. Without `since`, `lookback` or days
    it is the last 24 hours. Nothing is remembered. Raises SourceError or WindowError.
    """
    written = 0
    with open_source(url, policy) as source, duckdb.connect(config={"threads": 2}) as memory:
        memory.execute("set TimeZone = 'UTC'")
        facts = source.facts()
        since = request.since or facts.now - (request.lookback or policy.repair.minimum_lookback)
        wanted = request if request.mode == "days" else replace(request, mode="delta", since=since)
        chosen = replace(
            plan(wanted, SyncPosition(None, None, None), facts, policy), reads_outside=False, replace=False
        )
        for window in day_windows(source, chosen, ()):
            scope = Scope(window, policy.first_day, facts.now + policy.future_tolerance)
            memory.register("incoming", source.read(scope))
            rows = memory.execute(
                f"select {_LINE} from ({normalising_sql(scope, source.table, policy, facts.now)})"
                " where reject_reason is null order by created_at, id"
            )
            while lines := rows.fetchmany(_LINES):
                for (line,) in lines:
                    write(line + "\n")
                written += len(lines)
            memory.unregister("incoming")
    return written


def _value(name: str) -> str:
    return f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%fZ')" if RAW_COLUMNS[name] == "timestamptz" else name


_LINE = "to_json(struct_pack(" + ", ".join(f"{name} := {_value(name)}" for name in RAW_COLUMNS) + "))::varchar"
