"""The facts of the rules on the pipeline itself: syncs, asset checks and runs. Pure: runs, calendar and `now` are
arguments."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from audit_assets.rules.business_clock import BusinessCalendar, business_minutes_between, is_open
from audit_assets.rules.facts import NEW_CAPABILITIES, SYNC_STATE, TABLES
from audit_assets.warehouse.protocol import Discrepancy, Mode, SyncRun, last_good_repair

CHECKS, RUNS = "asset_checks", "pipeline_runs"

# The columns counted in the registry are added by facts.add_new_capabilities.
SYNC_FACTS_SCHEMA = {name: kind for name, kind in TABLES[SYNC_STATE].schema.items() if name not in NEW_CAPABILITIES}

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_MAX_RUNS = 50  # per mode, and successful runs per mode, at each time of a replay
_MODES: tuple[Mode, ...] = ("full", "days", "delta")

_Fact = datetime | str | float | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One evaluation of an asset check. `days` are the UTC days it read; None stands for the whole table.
    `was_checked` is false if there were no rows to check."""

    asset: str
    check: str
    run_id: str
    at: datetime
    passed: bool
    is_error: bool
    days: frozenset[date | None]
    failed_rows: int
    was_checked: bool = True


@dataclass(frozen=True, slots=True)
class RunResult:
    """A failed run: when it ended (UTC) and the step that failed first; `step` is empty if its process was killed."""

    kind: str
    run_id: str
    at: datetime
    step: str


def check_facts(results: Iterable[CheckResult], now: datetime, environment: str) -> pl.DataFrame:
    """One row per asset with a failing check. `results` must be in chronological order.

    A check of single days fails until it has passed on each day on which it failed: a success today does not fix a
    wrong day of last week, and an evaluation without rows fixes none. `checks` lists the failing checks with the number
    of rows they found.
    """
    failing: dict[tuple[str, str], dict[date | None, int]] = {}
    for result in results:
        if not result.was_checked:
            continue
        days = failing.setdefault((result.asset, result.check), {})
        if None in result.days:
            days.clear()
        for day in result.days:
            days.pop(day, None)
            if not result.passed and result.is_error:
                days[day] = result.failed_rows
    rows: dict[str, dict[str, int]] = {}
    open_days: dict[str, set[date | None]] = {}
    for (asset, check), days in sorted(failing.items()):
        if days:
            rows.setdefault(asset, {})[check] = max(days.values())
            open_days.setdefault(asset, set()).update(days)
    return pl.DataFrame(
        [
            {
                "judged_at": now, "environment": environment, "asset": asset, "failing_checks": len(checks),
                "failing_days": len(open_days[asset] - {None}), "failing_rows": max(checks.values()),
                "checks": [{"name": name, "rows": count} for name, count in checks.items()],
            }
            for asset, checks in rows.items()
        ],
        schema={
            **TABLES[CHECKS].schema,
            "checks": pl.List(pl.Struct({"name": pl.String(), "rows": pl.Int64()})),
        },
    )  # fmt: skip


def run_facts(results: Iterable[RunResult], now: datetime, environment: str) -> pl.DataFrame:
    """One row per kind of run that failed, with the number of failures since its last success."""
    by_kind: dict[str, list[RunResult]] = {}
    for result in results:
        by_kind.setdefault(result.kind, []).append(result)
    return pl.DataFrame(
        [
            {"judged_at": now, "environment": environment, "run": kind, "failed_runs": len(failed)}
            for kind, failed in sorted(by_kind.items())
        ],
        schema=dict(TABLES[RUNS].schema),
    )


def sync_facts(
    rows: Sequence[SyncRun],
    calendar: BusinessCalendar,
    lookback: timedelta,
    now: datetime,
    environment: str,
    discrepancies: Sequence[Discrepancy] | None = None,
    built_from: datetime | None = None,
) -> pl.DataFrame:
    """One row by SYNC_FACTS_SCHEMA at `now`; unknown figures are null, minutes are never negative.

    `rows` are the newest runs in any order, including the last success of each mode, the first success and all good
    repairs. A run that is still running is neither success nor failure. `built_from` is the end (UTC) of the newest
    sync whose rows are in all published facts, None if that is not recorded: a sync whose rows no model has read does
    not count as fresh. Raises ValueError if `now` has no time zone.
    """
    figures = _facts_at(rows, calendar, lookback, now, environment, built_from)
    return _frame([{**figures, **_differing(discrepancies, rows)}])


def sync_facts_history(
    rows: Sequence[SyncRun],
    calendar: BusinessCalendar,
    lookback: timedelta,
    until: datetime,
    every: timedelta,
    environment: str,
) -> pl.DataFrame:
    """The facts every `every` from the end of the first run to `until` (UTC), one row each; for a backtest."""
    ended = sorted((row for row in rows if row.status != "running"), key=_ended)
    kinds = [[row for row in ended if row.mode == mode] for mode in _MODES]
    kinds += [[row for row in of_mode if row.status == "succeeded"] for of_mode in kinds]
    timed = [([_ended(row) for row in kind], kind) for kind in kinds]
    first = [row for row in ended if row.status == "succeeded"][:1]
    facts: list[dict[str, _Fact]] = []
    at = _ended(ended[0]) if ended else until
    while ended and at <= until:
        known = {row.sync_id: row for row in first if _ended(row) <= at}
        for ends, kind in timed:
            count = bisect_right(ends, at)
            known |= {row.sync_id: row for row in kind[max(0, count - _MAX_RUNS) : count]}
        facts.append({**_facts_at([*known.values()], calendar, lookback, at, environment), **_differing(None, ())})
        at += every
    return _frame(facts)


def _frame(rows: list[dict[str, _Fact]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(SYNC_FACTS_SCHEMA), orient="row")


def _differing(discrepancies: Sequence[Discrepancy] | None, rows: Sequence[SyncRun]) -> dict[str, _Fact]:
    """On how many rows and days the warehouse is known to differ from the source. None: not known, as before the first
    full sync, because only a full sync compares older days."""
    if discrepancies is None:
        return {"held_removals": None, "days_with_held_removals": None, "days_that_differ": None}
    held = [found for found in discrepancies if found.kind == "removal_held"]
    return {
        "held_removals": sum(found.row_count for found in held),
        "days_with_held_removals": len({found.date for found in held}),
        "days_that_differ": (
            sum(found.kind == "rows_differ" for found in discrepancies)
            if any(row.mode == "full" and row.status == "succeeded" for row in rows)
            else None
        ),
    }


def _facts_at(
    rows: Sequence[SyncRun],
    calendar: BusinessCalendar,
    lookback: timedelta,
    now: datetime,
    environment: str,
    built_from: datetime | None = None,
) -> dict[str, _Fact]:
    if now.tzinfo is None:
        raise ValueError("now has no time zone; give it in UTC")
    synced = max((row.last_synced_at for row in rows if row.last_synced_at and _reached_the_present(row)), default=None)
    published = min(synced, built_from) if synced and built_from else synced
    failures = [_ended(row) for row in rows if row.status == "failed"]
    in_a_row = max((_failed_in_a_row(rows, mode, synced) for mode in _MODES), key=len)
    last_failure = max(in_a_row, key=_ended, default=None)
    repaired = _repaired(rows)
    newest = max(
        (row for row in rows if row.status != "running"), key=lambda row: (row.started_at, row.sync_id), default=None
    )
    measured = max(
        (row for row in rows if row.clock_skew_seconds is not None and row.status != "running"),
        key=lambda row: (row.started_at, row.sync_id),
        default=None,
    )
    lag = measured.replay_lag_seconds if measured else None
    if measured and measured.is_replica is False:
        lag = 0.0  # it is the primary
    oldest_write = newest.oldest_write_seconds if newest else None
    if newest and newest.sessions_visible and oldest_write is None:
        oldest_write = 0.0  # none is open
    return {
        "judged_at": now.astimezone(UTC),
        "environment": environment,
        "ever_synced": synced is not None,
        "minutes_since_sync": _minutes(published, now),
        "business_minutes_since_sync": (
            None if published is None else business_minutes_between(calendar, published, now)
        ),
        "minutes_behind_source": _minutes_behind(newest) if newest else None,
        "failed_in_a_row": len(in_a_row),
        "failed_mode": last_failure.mode if last_failure else None,
        "last_error": last_failure.error if last_failure else None,
        "hours_since_repair": None if repaired is None else max(timedelta(), now - repaired) / _HOUR,
        "minutes_since_failure": _minutes(max(failures, default=None), now),
        "oldest_write_minutes": None if oldest_write is None else oldest_write / 60,
        "lookback_minutes": lookback / _MINUTE,
        "sessions_visible": newest.sessions_visible if newest else None,
        # Of the newest run that read the source: a run that did not reach it measured nothing.
        "clock_skew_seconds": measured.clock_skew_seconds if measured else None,
        "is_replica": measured.is_replica if measured else None,
        "replay_lag_minutes": None if lag is None else max(lag, 0.0) / 60,
        "in_business_hours": is_open(calendar, now),
    }


def _failed_in_a_row(rows: Sequence[SyncRun], mode: Mode, synced: datetime | None) -> list[SyncRun]:
    """The failed runs of `mode` since a run succeeded that does the same work. For a delta: any sync that reached the
    present, at `synced` (UTC). For days: a sync of days or a full sync. For a full sync: a full sync. So a successful
    delta does not hide a repair that fails every night."""
    does_the_same = {"full": ("full",), "days": ("days", "full"), "delta": ()}[mode]
    good = [_ended(row) for row in rows if row.status == "succeeded" and row.mode in does_the_same]
    since = max(good, default=None) if does_the_same else synced
    failed = [row for row in rows if row.status == "failed" and row.mode == mode]
    return [row for row in failed if since is None or _ended(row) > since]


def _repaired(rows: Sequence[SyncRun]) -> datetime | None:
    """When the last good repair ended (UTC): one that reached back to the good repair before it. Before the first
    repair, the end of the first sync; None before that."""
    repairs = [row for row in rows if row.mode == "full" and row.status == "succeeded" and row.window_start]
    windows = [
        (row.window_start, row.started_at - timedelta(seconds=row.oldest_write_seconds or 0), _ended(row))
        for row in sorted(repairs, key=lambda row: row.started_at)
        if row.window_start
    ]
    good = last_good_repair((start, seen) for start, seen, _ in windows)
    if good is not None:
        return max(ended for _, seen, ended in windows if seen == good)
    return min((_ended(row) for row in rows if row.status == "succeeded"), default=None)


def _reached_the_present(row: SyncRun) -> bool:
    """Whether the run succeeded and read up to its start time: loading days of last year does not count as fresh."""
    if row.status != "succeeded":
        return False
    return row.mode != "days" or (row.window_end is not None and row.window_end >= row.started_at)


def _ended(row: SyncRun) -> datetime:
    """When the run ended; the last commit of a failed run, if any, was earlier."""
    if row.status == "succeeded" and row.last_synced_at:
        return row.last_synced_at
    return row.started_at + timedelta(milliseconds=row.sync_duration_ms)


def _minutes_behind(newest: SyncRun) -> float | None:
    """Minutes from the watermark to the newest row at the source. A row dated after the run by a client whose clock is
    ahead counts at the run's end: the watermark never passes the source's current time."""
    if newest.source_max_created_at is None or newest.watermark is None:
        return None
    return _minutes(newest.watermark, min(newest.source_max_created_at, _ended(newest)))


def _minutes(since: datetime | None, until: datetime) -> float | None:
    """At least 0: a clock may have been set back."""
    return None if since is None else max(timedelta(), until - since) / _MINUTE
