"""One sync: a window of the source into the warehouse, a UTC day a commit, with its row in ai_audit_sync_state."""

import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from audit_assets.ingest.itinerary import day_windows, spans
from audit_assets.ingest.normalise import Scope, normalising_sql
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import Source, SourceFacts, open_source
from audit_assets.ingest.source_error import SourceError
from audit_assets.ingest.windows import Plan, Request, WindowError, plan, watermark_after
from audit_assets.ingest.workspaces import WorkspacesRead, are_due, read_workspaces
from audit_assets.warehouse.protocol import (
    DayWindow,
    Incoming,
    Load,
    LoadCounts,
    LoadTerms,
    SyncRun,
    Warehouse,
    WarehouseWriter,
    start_of,
)

# A micro-batch waits this long at the most while a backfill runs; closing the file after every day would rewrite
# its last row group each time (2M rows over 61 days: 32 of 77 s).
HOLD_SECONDS = 2.0

# Ids looked up at the source at once: 20,000 are a statement of 1 MB.
IDS_A_QUESTION = 20_000

_DAY = timedelta(days=1)

Now = Callable[[], datetime]


class Listener(Protocol):
    """Told after each committed day."""

    def __call__(self, window: DayWindow, load: Load) -> None: ...


@dataclass(frozen=True)
class SyncReport:
    """What a sync did: its state row, the UTC days whose rows it changed, what a person should know, and how many
    workspaces it found, None where it did not look."""

    run: SyncRun
    days: tuple[date, ...]
    warnings: tuple[str, ...]
    workspaces: int | None


def utc_now() -> datetime:
    return datetime.now(UTC)


def sync(
    url: str,
    warehouse: Warehouse,
    policy: SyncPolicy,
    request: Request,
    listener: Listener | None = None,
    now: Now = utc_now,
) -> SyncReport:
    """Reads what `request` asks for and commits it day by day; the lock is let go between days.

    Safe to repeat and to kill: rows are upserted by id, and the watermark is saved with the rows it covers.
    Raises SourceError, WarehouseError or WindowError; a failure of the source is on record in the state table.
    """
    session = _Session(url, warehouse, policy, request, listener, now)
    try:
        with open_source(url, policy) as source:
            return session.run_to_end(source)
    except (SourceError, WindowError) as error:
        session.record_failure(str(error))
        raise


@dataclass(frozen=True)
class _Reading:
    """What stays the same while one sync reads."""

    source: Source
    facts: SourceFacts
    plan: Plan


class _Session:
    """The state of one sync while it runs."""

    def __init__(
        self,
        url: str,
        warehouse: Warehouse,
        policy: SyncPolicy,
        request: Request,
        listener: Listener | None,
        now: Now,
    ) -> None:
        self._warehouse, self._policy, self._request, self._now = warehouse, policy, request, now
        self._listener = listener
        self._begun = time.monotonic()
        self._synced_at = now()
        self._purpose = f"audit sync --mode {request.mode}"
        self._days: set[date] = set()
        self._run = SyncRun(
            sync_id=str(uuid.uuid4()), mode=request.mode, status="running", window_start=None, window_end=None,
            started_at=self._synced_at, last_synced_at=None, sync_duration_ms=0, counts=LoadCounts(),
            source_max_created_at=None, watermark=None, oldest_write_seconds=None, sessions_visible=None,
        )  # fmt: skip

    def run_to_end(self, source: Source) -> SyncReport:
        with self._warehouse.writer(self._purpose) as writer:
            position = writer.position()
            facts = source.facts()
            chosen = plan(self._request, position, facts, self._policy)
            held = frozenset(writer.held_days(chosen.start.date(), chosen.end.date()))
        self._run = replace(
            self._run,
            window_start=chosen.start,
            window_end=chosen.end,
            source_max_created_at=facts.max_created_at,
            watermark=position.watermark,
            oldest_write_seconds=facts.oldest_write_seconds,
            sessions_visible=facts.sessions_visible,
        )
        reading = _Reading(source, facts, chosen)
        windows = day_windows(source, chosen, held)
        self._load_all(reading, spans(source, chosen, windows, held))
        if self._request.mode == "full":
            self._follow_moved(reading, {window.day for window in windows})
        found: WorkspacesRead | None = None
        if are_due(self._request.mode, position.last_success_at, self._synced_at):
            found = read_workspaces(source, facts, self._policy, self._synced_at)
        self._run = replace(self._stamped(self._run, reading, chosen.end), status="succeeded")
        with self._warehouse.writer(self._purpose) as writer:
            # Before the run is on record as a success: killed in between, the next one reads the workspaces again.
            workspaces = None if found is None else writer.replace_workspaces(found.incoming)
            writer.record(self._run)
        problems = (found.problem,) if found and found.problem else ()
        warnings = (*_warnings(self._run, self._policy), *problems)
        return SyncReport(self._run, tuple(sorted(self._days)), warnings, workspaces)

    def record_failure(self, message: str) -> None:
        """Leaves the failure in the state table, for the rule that tells of failed syncs."""
        with self._warehouse.writer("recording a failed sync") as writer:
            position = writer.position()
            writer.record(
                replace(
                    self._run,
                    status="failed",
                    watermark=self._run.watermark or position.watermark,
                    sync_duration_ms=self._elapsed_ms(),
                    error=message,
                )
            )

    def _load_all(self, reading: "_Reading", groups: list[list[DayWindow]]) -> None:
        """A group a commit; in between, once the lock was held for HOLD_SECONDS, whoever waits is let in.

        The lock is taken before the source is read: rows that a micro-batch commits in between would look gone.
        """
        waiting = deque(groups)
        while waiting:
            with self._warehouse.writer(self._purpose) as writer:
                until = time.monotonic() + HOLD_SECONDS
                while waiting and time.monotonic() < until:
                    group = waiting.popleft()
                    if len(group) == 1:
                        self._load(writer, reading, group[0])
                    elif not self._load_new(writer, reading, group):
                        waiting.extendleft([window] for window in reversed(group))
            if waiting:
                self._warehouse.let_others_in()

    def _load(self, writer: WarehouseWriter, reading: "_Reading", window: DayWindow) -> None:
        load = writer.load(
            self._incoming(reading, window), window, self._terms(reading, window), self._after(reading, window)
        )
        self._committed(reading, window, load)

    def _load_new(self, writer: WarehouseWriter, reading: "_Reading", group: list[DayWindow]) -> bool:
        span = replace(group[0], end=group[-1].end)
        load = writer.load_new(self._incoming(reading, span), span, self._after(reading, span))
        if load is not None:
            self._committed(reading, span, load)
        return load is not None

    def _incoming(self, reading: "_Reading", window: DayWindow) -> Incoming:
        scope = Scope(window, self._policy.first_day, reading.facts.now + self._policy.future_tolerance)
        sql = normalising_sql(scope, reading.source.table, self._policy, self._synced_at)
        return Incoming(reading.source.read(scope), sql)

    def _terms(self, reading: "_Reading", window: DayWindow) -> LoadTerms:
        return LoadTerms(
            sync_id=self._run.sync_id,
            mode=self._run.mode,
            synced_at=self._synced_at,
            replace=reading.plan.replace or window.day is None,
            late_before=reading.plan.late_before,
        )

    def _after(self, reading: "_Reading", window: DayWindow) -> Callable[[Load], SyncRun]:
        """The run as it stands once a load of `window` is committed."""
        return lambda load: self._stamped(
            replace(self._run, counts=self._run.counts + load.counts), reading, window.end
        )

    def _committed(self, reading: "_Reading", window: DayWindow, load: Load) -> None:
        self._run = self._after(reading, window)(load)
        self._days.update(load.days)
        if self._listener is not None:
            self._listener(window, load)

    def _follow_moved(self, reading: "_Reading", read: set[date | None]) -> None:
        """Reads the other day of every row that moved between a day that was read and one that was not: an id on two
        days, and an id that is gone from a day but still at the source; and again every day that refused a row for a
        newer one that is gone now. An id that stays on two days after that is a double at the source, and refused."""
        asked: set[str] = set()
        retried: set[date] = set()
        while True:
            with self._warehouse.writer(self._purpose) as writer:
                doubled = writer.doubled_days()
                gone = set(writer.gone_ids(self._run.sync_id)) - asked
                bereft = {*writer.bereft_days()} - retried
            days = ({*doubled, *self._days_now(reading, sorted(gone))} - read) | bereft
            asked |= gone
            retried |= bereft
            if not days:
                break
            end = reading.plan.end
            whole = [DayWindow(day, start_of(day), min(start_of(day + _DAY), end)) for day in sorted(days)]
            self._load_all(reading, [[window] for window in whole])
            read |= days
        if not doubled:
            return
        with self._warehouse.writer(self._purpose) as writer:
            load = writer.refuse_doubles(self._run.sync_id, self._run.mode, self._synced_at)
        self._days.update(load.days)
        self._run = replace(self._run, counts=self._run.counts + load.counts)

    def _days_now(self, reading: "_Reading", ids: list[str]) -> set[date]:
        """The days on which rows that went from their day are now; a repair of all days has read them already."""
        first = start_of(self._policy.first_day)
        if reading.plan.start <= first:
            return set()
        parts = [ids[at : at + IDS_A_QUESTION] for at in range(0, len(ids), IDS_A_QUESTION)]
        return {day for part in parts for day in reading.source.days_of(part, first, reading.plan.end)}

    def _stamped(self, run: SyncRun, reading: "_Reading", read_to: datetime) -> SyncRun:
        moved = reading.plan.moves_watermark
        return replace(
            run,
            last_synced_at=self._now(),
            sync_duration_ms=self._elapsed_ms(),
            watermark=watermark_after(read_to, reading.facts, run.watermark) if moved else run.watermark,
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._begun) * 1000)


def _warnings(run: SyncRun, policy: SyncPolicy) -> tuple[str, ...]:
    warnings: list[str] = []
    if run.oldest_write_seconds is not None and run.oldest_write_seconds > policy.lookback.total_seconds():
        warnings.append(
            f"the source's oldest open write began {run.oldest_write_seconds:.0f} s ago, longer than the look-back of "
            f"{policy.lookback.total_seconds():.0f} s: rows it commits late arrive with the next repair. "
            "End it, or raise `lookback` in observability/sync.yaml"
        )
    if run.sessions_visible is False:
        warnings.append(
            "this role cannot see other sessions' transactions, so one that outlives the look-back goes unnoticed "
            "until the nightly repair; grant pg_read_all_stats to it"
        )
    if run.counts.rejected:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(run.counts.rejected.items()))
        warnings.append(f"rows refused, kept in ai_audit_rejects: {told}")
    return tuple(warnings)
