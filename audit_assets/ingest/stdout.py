"""The sync to stdout: normalized rows as lines of JSON, without a warehouse or a watermark."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from audit_assets.ingest.normalize import Scope, normalizing_sql
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import open_source
from audit_assets.ingest.windows import Request, day_windows, plan
from audit_assets.warehouse.protocol import SyncPosition
from audit_assets.warehouse.schema import RAW_COLUMNS

# Lines fetched at once, so that a day of millions of rows is never in memory as Python values.
_LINES = 2_000


@dataclass(frozen=True)
class StdoutReport:
    """What a sync to stdout did: lines written; rows left out that a warehouse would reject, by reason; the start and
    end of the window (UTC); and the time of the source's newest row, None if there is none or its times are text."""

    rows: int
    rejected: Mapping[str, int]
    start: datetime
    end: datetime
    newest: datetime | None


def sync_to_stdout(
    url: str, policy: SyncPolicy, request: Request, write: Callable[[str], None], source_now: datetime | None = None
) -> StdoutReport:
    """Writes one line per row that `request` selects, by UTC day and created_at, and returns a report.

    Rows a warehouse would reject are left out and counted; prompt and response text is left out. Without `since`,
    `lookback` or days it selects the last 24 hours. No state is kept. `source_now` (UTC) replaces the source's clock.
    Raises SourceError or WindowError.
    """
    written, rejected = 0, Counter[str]()
    with open_source(url, policy, source_now) as source, duckdb.connect(config={"threads": 2}) as memory:
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
                f"select reject_reason, {_LINE} from ({normalizing_sql(scope, policy, facts.now)})"
                " order by created_at, id"
            )
            while lines := rows.fetchmany(_LINES):
                for reason, line in lines:
                    if reason is None:
                        write(line + "\n")
                        written += 1
                    else:
                        rejected[reason] += 1
            memory.unregister("incoming")
        return StdoutReport(written, rejected, chosen.start, chosen.end, facts.max_created_at)


def _value(name: str) -> str:
    return f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%fZ')" if RAW_COLUMNS[name] == "timestamptz" else name


_LINE = "to_json(struct_pack(" + ", ".join(f"{name} := {_value(name)}" for name in RAW_COLUMNS) + "))::varchar"
