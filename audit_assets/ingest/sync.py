"""One sync: loads a window of the source into the warehouse, one commit per UTC day, and records it."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from audit_assets.clock import Clock
from audit_assets.ingest.gaps import differing_days
from audit_assets.ingest.normalize import Scope, normalizing_sql
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import (
    Source,
    SourceFacts,
    WorkspacesRead,
    open_source,
    read_workspaces,
    workspaces_are_due,
)
from audit_assets.ingest.source_connection import Pace, SourceError
from audit_assets.ingest.sync_warnings import NOT_COMPARED, clock_warnings, removal_warnings, run_warnings
from audit_assets.ingest.windows import (
    Plan,
    Request,
    day_windows,
    group_windows,
    plan,
    split_by_day,
    usable_watermark,
    watermark_after,
)
from audit_assets.warehouse.attempts import Attempt, describe
from audit_assets.warehouse.protocol import (
    DayWindow,
    ExtractBatch,
    HourDigest,
    Load,
    LoadOptions,
    RemovalLimit,
    SyncRun,
    Warehouse,
    WarehouseLockedError,
    WarehouseMemoryError,
    WarehouseWriter,
    start_of,
)

# How long a backfill holds the lock, and so the longest wait of a micro-batch. Closing the file after every day would
# rewrite its last row group each time (2M rows over 61 days: 32 of 77 s).
HOLD_SECONDS = 2.0

# How long recording a failure waits for the lock, which may be the cause. After it, the next sync records the failure.
RECORDED_WITHIN_SECONDS = 5.0

# Ids per lookup at the source: 20,000 make a statement of 1 MB.
IDS_PER_QUERY = 20_000

_DAY = timedelta(days=1)

_Result = TypeVar("_Result")

Now = Callable[[], datetime]


class Listener(Protocol):
    """Called after each committed day."""

    def __call__(self, window: DayWindow, load: Load) -> None: ...


@dataclass(frozen=True)
class SyncReport:
    """What a sync did: its state row; the UTC days whose rows it changed; warnings; the number of workspaces, None if
    they were not read; and `held`, the number of rows and workspaces whose removal is held."""

    run: SyncRun
    days: tuple[date, ...]
    warnings: tuple[str, ...]
    workspaces: int | None
    held: int = 0


def sync(
    url: str,
    warehouse: Warehouse,
    policy: SyncPolicy,
    request: Request,
    listener: Listener | None = None,
    now: Now = Clock(),  # noqa: B008 - a frozen value
    source_now: datetime | None = None,
    attempt: Attempt | None = None,
) -> SyncReport:
    """Loads the rows that `request` selects and commits them day by day. The lock is released between days.
    `source_now` (UTC) replaces the source's clock.

    Safe to repeat and to kill: rows are upserted by id, and the watermark is saved with the rows it covers.
    Raises SourceError, WarehouseError or WindowError. Any error is recorded in the state table, or in the file of
    `attempt` if the warehouse cannot be written.
    """
    session = _Session(url, warehouse, policy, request, listener, now, attempt)
    try:
        with open_source(url, policy, source_now, now) as source:
            return session.run_to_end(source)
    except BaseException as error:
        session.record_failure(error)
        raise


@dataclass(frozen=True)
class _SyncContext:
    """The values that do not change while one sync reads."""

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
        attempt: Attempt | None,
    ) -> None:
        self._warehouse, self._policy, self._request, self._now = warehouse, policy, request, now
        self._listener, self._attempt = listener, attempt
        self._started = time.monotonic()
        self._synced_at = now()
        self._purpose = f"audit sync --mode {request.mode}"
        self._days: set[date] = set()
        self._limit: RemovalLimit | None = None
        self._removed_live = 0
        self._held_removal_days: set[date] = set()
        self._reset_from: datetime | None = None
        self._pace = Pace(policy.source.retries)
        self._notes = [attempt.problem] if attempt and attempt.problem else list[str]()
        self._run = SyncRun(
            sync_id=attempt.sync_id if attempt else str(uuid.uuid4()),
            mode=request.mode, status="running", window_start=None, window_end=None,
            started_at=self._synced_at, last_synced_at=None, sync_duration_ms=0,
            removal_accepted_by=request.accept_removal_by,
        )  # fmt: skip

    def run_to_end(self, source: Source) -> SyncReport:
        facts = self._with_retries(source.facts)
        with self._warehouse.writer(self._purpose) as writer:
            if self._attempt is not None:
                self._attempt.record_earlier_failures(writer)
            position = writer.position()
            watermark = usable_watermark(position, facts, self._policy)
            if watermark is not None and watermark != position.watermark:
                self._reset_from, position = position.watermark, replace(position, watermark=watermark)
                writer.lower_watermark(watermark)
            chosen = plan(self._request, position, facts, self._policy)
            loaded = frozenset(writer.loaded_days(chosen.start.date(), chosen.end.date()))
            live = self._count_live(writer, facts, chosen.start, chosen.end) if chosen.replace else 0
        self._limit = self._removal_limit(source, chosen.start, chosen.end, live)
        self._run = replace(
            self._run,
            window_start=chosen.start,
            window_end=chosen.end,
            source_max_created_at=facts.max_created_at,
            watermark=position.watermark,
            oldest_write_seconds=facts.oldest_write_seconds,
            clock_skew_seconds=facts.clock_skew_seconds,
            is_replica=facts.is_replica,
            replay_lag_seconds=facts.replay_lag_seconds,
            sessions_visible=facts.sessions_visible,
        )
        context = _SyncContext(source, facts, chosen)
        windows = self._with_retries(lambda: day_windows(source, chosen, loaded))
        self._load_all(context, self._with_retries(lambda: group_windows(source, chosen, windows, loaded)))
        read = {window.day for window in windows}
        if self._request.mode == "full" or self._limit is None:
            read |= self._retry_held(context, read)
        if self._request.mode == "full":
            older = self._comparison_window(context)
            differing = set[date]() if older is None else self._repair_differing_days(context, older, read)
            self._read_moved_rows(context, read | differing)
            if older is not None:
                self._record_differences(context, older, differing)
        found: WorkspacesRead | None = None
        if self._limit is None or workspaces_are_due(self._request.mode, position.last_success_at, self._synced_at):
            found = read_workspaces(source, facts, self._policy, self._synced_at)
        self._run = replace(self._stamped(self._run, context, chosen.end), status="succeeded")
        with self._warehouse.writer(self._purpose) as writer:
            # Before the run is recorded as a success: if killed in between, the next sync reads the workspaces again.
            fresh = found if found and not found.is_kept else None
            workspaces = writer.replace_workspaces(fresh.batch, self._options(True, None)) if fresh else None
            writer.record(self._run)
        problems = (found.problem,) if found and found.problem else ()
        warnings = (
            *run_warnings(self._run, self._policy),
            *clock_warnings(self._run, self._policy, self._reset_from, position.watermark),
            *removal_warnings(self._run, self._held_removal_days, workspaces),
            *self._notes,
            *problems,
        )
        held_rows = self._run.counts.held + (workspaces.held if workspaces else 0)
        rows = workspaces.rows if workspaces else None
        return SyncReport(self._run, tuple(sorted(self._days)), warnings, rows, held_rows)

    def record_failure(self, error: BaseException) -> None:
        """Records the failure in the state table, for the rules on failed syncs. If that is impossible, `error` gets a
        note, and the attempt's file remains."""
        if self._attempt is not None:
            self._attempt.fail(error)  # first: the process may be killed in the following lines
        if isinstance(error, WarehouseLockedError):
            return  # the lock was already waited for
        failed = replace(self._run, status="failed", sync_duration_ms=self._elapsed_ms(), error=describe(error))
        try:
            with self._warehouse.writer("recording a failed sync", RECORDED_WITHIN_SECONDS) as writer:
                writer.record(replace(failed, watermark=failed.watermark or writer.position().watermark))
                if self._attempt is not None:
                    self._attempt.is_recorded = True
                    self._attempt.record_earlier_failures(writer)
        except Exception as failure:  # noqa: BLE001 - the caller raises `error`
            error.add_note(f"recording the failure failed too: {describe(failure)}")

    def _load_all(self, context: _SyncContext, groups: list[list[DayWindow]]) -> None:
        """Loads one group per commit. After HOLD_SECONDS it releases the lock, so that waiting processes can take it.

        The lock is taken before the source is read: rows that a micro-batch commits in between would look deleted. If
        the source fails, or a load does not fit into memory, the lock is released until that part is retried.
        """
        pending = deque(groups)
        while pending:
            failure: SourceError | WarehouseMemoryError | None = None
            with self._warehouse.writer(self._purpose) as writer:
                until = time.monotonic() + HOLD_SECONDS
                while pending and failure is None and time.monotonic() < until:
                    try:
                        left = self._load_group(writer, context, pending[0])
                    except (SourceError, WarehouseMemoryError) as error:
                        failure = error
                    else:
                        self._pace.progressed()
                        pending.popleft()
                        pending.extendleft(reversed(left))
            if failure is not None:
                self._pace.failed(failure, self._tried(context, pending[0]))
            elif pending:
                self._warehouse.yield_lock()

    def _load_group(
        self, writer: WarehouseWriter, context: _SyncContext, group: list[DayWindow]
    ) -> list[list[DayWindow]]:
        """Loads the group, or a part of it. Returns the rest."""
        with context.source.failures():
            if len(group) > 1:
                loaded = not self._pace.is_cut and self._load_new(writer, context, group)
                return [] if loaded else [[window] for window in group]
            part, rest = self._pace.part(group[0])
            self._load(writer, context, part)
            return [[rest]] if rest else []

    def _tried(self, context: _SyncContext, group: list[DayWindow]) -> timedelta | None:
        """The length of time that the load of `group` covered, or None if it cannot be split by time."""
        if group[0].day is None or context.source.times_are_listed:
            return None
        return group[-1].end - group[0].start if len(group) > 1 else self._pace.part(group[0])[0].length

    def _with_retries(self, question: Callable[[], _Result]) -> _Result:
        """The source's answer, with retries after transient failures. Raises SourceError."""
        while True:
            try:
                return question()
            except SourceError as error:
                self._pace.failed(error)

    def _load(self, writer: WarehouseWriter, context: _SyncContext, window: DayWindow) -> None:
        load = writer.load(
            self._batch(context, window), window, self._load_options(context, window), self._after(context, window)
        )
        self._committed(context, window, load)

    def _load_new(self, writer: WarehouseWriter, context: _SyncContext, group: list[DayWindow]) -> bool:
        span = replace(group[0], end=group[-1].end)
        load = writer.load_new(self._batch(context, span), span, self._after(context, span))
        if load is not None:
            self._committed(context, span, load)
        return load is not None

    def _batch(self, context: _SyncContext, window: DayWindow) -> ExtractBatch:
        scope = Scope(window, self._policy.first_day, context.facts.now + self._policy.future_tolerance)
        sql = normalizing_sql(scope, self._policy, self._synced_at)
        return ExtractBatch(context.source.read(scope), sql)

    def _load_options(self, context: _SyncContext, window: DayWindow) -> LoadOptions:
        return self._options(context.plan.replace or window.day is None, context.plan.late_before)

    def _options(self, replaces: bool, late_before: datetime | None) -> LoadOptions:
        limit = self._limit and replace(self._limit, removed_before=self._removed_live)
        return LoadOptions(self._run.sync_id, self._run.mode, self._synced_at, replaces, late_before, limit)

    def _count_live(self, writer: WarehouseWriter, facts: SourceFacts, start: datetime, end: datetime) -> int:
        """The loaded rows of no drill between `start` and `end`; of all time if times are text, since the source can
        only be counted as a whole then."""
        return writer.count_live(start_of(self._policy.first_day) if facts.times_are_text else start, end)

    def _removal_limit(self, source: Source, start: datetime, end: datetime, live: int) -> RemovalLimit | None:
        """How many rows may be removed between `start` and `end`, where the warehouse has `live` rows of no drill; None
        if somebody accepts any removal."""
        if self._request.accept_removal_by is not None:
            return None
        removal = self._policy.removal
        limit = RemovalLimit(removal.max_share, removal.max_rows, removal.min_rows)
        if not live:
            return limit
        at_source = self._with_retries(lambda: source.count_between(start, end))
        return replace(limit, window_is_lost=limit.is_lost(at_source, live))

    def _comparison_window(self, context: _SyncContext) -> DayWindow | None:
        """The days before those of a nightly repair, which are compared with the source; None if there are none, or if
        the caller set a start."""
        horizon = (context.facts.now - self._policy.repair.horizon).date()
        start = start_of(max(context.plan.first_whole_day, horizon))
        if self._request.since is not None or start >= context.plan.start:
            return None
        return DayWindow(None, start, context.plan.start)

    def _repair_differing_days(
        self, context: _SyncContext, older: DayWindow, read: Collection[date | None]
    ) -> set[date]:
        """Compares the older days with the source and reads those that differ again, or all of them if the source
        cannot be compared. Returns the days it read."""
        differing = self._differing(context, older)
        with self._warehouse.writer(self._purpose) as writer:
            loaded = frozenset(writer.loaded_days(older.start.date(), older.end.date()))
            live = self._count_live(writer, context.facts, older.start, older.end)
        if differing is None:
            self._notes.append(NOT_COMPARED.format(days=self._policy.repair.horizon.days))
            whole = replace(context.plan, start=older.start, end=older.end, replace=True, reads_outside=False)
            windows = self._with_retries(lambda: day_windows(context.source, whole, loaded))
            days = {window.day for window in windows if window.day}
        else:
            days = set(differing)
        days -= set(read)
        if days:
            self._limit = self._removal_limit(context.source, older.start, older.end, live)
            self._load_days(context, days)
        return days

    def _differing(self, context: _SyncContext, window: DayWindow) -> dict[date, tuple[int, int]] | None:
        """The days of the window on which source and warehouse differ, without those whose removal is held, and the
        numbers of rows in both; None if the source cannot be compared. One short query per day."""
        values = self._policy.repair.compare == "values"
        there: dict[datetime, HourDigest] = {}
        for day in split_by_day(window.start, window.end):
            found = self._with_retries(partial(context.source.digests_by_hour, day.start, day.end, values))
            if found is None:
                return None
            there |= found
        with self._warehouse.writer(self._purpose) as writer:
            in_warehouse = writer.digests_by_hour(window.start, window.end)
            known = set(writer.held_removals())
        if not values:
            in_warehouse = {hour: HourDigest(found.rows, 0) for hour, found in in_warehouse.items()}
        return {day: rows for day, rows in differing_days(there, in_warehouse).items() if day not in known}

    def _record_differences(self, context: _SyncContext, older: DayWindow, days: Collection[date]) -> None:
        """Compares the repaired days again, and records exactly the days that still differ."""
        still: dict[date, tuple[int, int]] = {}
        if days:
            span = DayWindow(None, start_of(min(days)), start_of(max(days) + _DAY))
            found = self._differing(context, span) or {}
            still = {day: rows for day, rows in found.items() if day in days}
        with self._warehouse.writer(self._purpose) as writer:
            writer.record_differences(still, older, self._options(True, None))
        self._notes += [
            f"{day}: source ({there:,} rows) and warehouse ({in_warehouse:,}) still differ after the repair; run"
            f" `audit build --from {day} --to {day}` and check ai_audit_discrepancies"
            for day, (there, in_warehouse) in still.items()
        ]

    def _retry_held(self, context: _SyncContext, read: set[date | None]) -> set[date]:
        """Reads the days with a held removal again: the rows may be back, or their removal may be accepted now."""
        with self._warehouse.writer(self._purpose) as writer:
            pending = {day for day in writer.held_removals() if day >= context.plan.first_whole_day} - read
        self._load_days(context, pending)
        return pending

    def _load_days(self, context: _SyncContext, days: Collection[date]) -> None:
        """Replaces the loaded rows of these whole days by those of the source."""
        end = context.plan.end
        again = replace(context, plan=replace(context.plan, replace=True, moves_watermark=False))
        whole = [DayWindow(day, start_of(day), min(start_of(day + _DAY), end)) for day in sorted(days)]
        self._load_all(again, [[window] for window in whole])

    def _after(self, context: _SyncContext, window: DayWindow) -> Callable[[Load], SyncRun]:
        """The run after a load of `window` is committed."""
        return lambda load: self._stamped(
            replace(self._run, counts=self._run.counts + load.counts), context, window.end
        )

    def _committed(self, context: _SyncContext, window: DayWindow, load: Load) -> None:
        self._run = self._after(context, window)(load)
        self._days.update(load.days)
        self._removed_live += load.removed_live
        if load.counts.held and window.day is not None:
            self._held_removal_days.add(window.day)
        if self._listener is not None:
            self._listener(window, load)

    def _read_moved_rows(self, context: _SyncContext, read: set[date | None]) -> None:
        """Reads the other day of every row that moved between a day that was read and one that was not: of an id that
        is on two days, and of an id that was deleted from a day but is still at the source. Also reads again every day
        that rejected a row because of a newer one that has been deleted since. An id that is still on two days after
        that is a duplicate at the source, and its older rows are rejected."""
        asked: set[str] = set()
        retried: set[date] = set()
        while True:
            with self._warehouse.writer(self._purpose) as writer:
                duplicated = writer.duplicated_days()
                deleted = set(writer.deleted_ids(self._run.sync_id)) - asked
                stale = {*writer.stale_reject_days()} - retried
            days = ({*duplicated, *self._current_days_of(context, sorted(deleted))} - read) | stale
            asked |= deleted
            retried |= stale
            days = {day for day in days if day >= context.plan.first_whole_day}
            if not days:
                break
            self._load_days(context, days)
            read |= days
        if not duplicated:
            return
        with self._warehouse.writer(self._purpose) as writer:
            load = writer.reject_duplicates(self._run.sync_id, self._run.mode, self._synced_at)
        self._days.update(load.days)
        self._run = replace(self._run, counts=self._run.counts + load.counts)

    def _current_days_of(self, context: _SyncContext, ids: list[str]) -> set[date]:
        """The current days of rows that were deleted from their day. A repair of all days has read them already."""
        first = start_of(self._policy.first_day)
        if context.plan.start <= first:
            return set()
        source = context.source
        parts = [ids[at : at + IDS_PER_QUERY] for at in range(0, len(ids), IDS_PER_QUERY)]
        return {
            day
            for part in parts
            for day in self._with_retries(lambda part=part: source.days_of(part, first, context.plan.end))
        }

    def _stamped(self, run: SyncRun, context: _SyncContext, read_to: datetime) -> SyncRun:
        moved = context.plan.moves_watermark
        return replace(
            run,
            last_synced_at=self._now(),
            sync_duration_ms=self._elapsed_ms(),
            watermark=watermark_after(read_to, context.facts, run.watermark, self._policy) if moved else run.watermark,
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)
