"""Warnings about a sync that succeeded. Each names the cause and the fix. Pure functions."""

from collections.abc import Collection, Iterator
from datetime import date, datetime

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.warehouse.protocol import SyncRun, WorkspacesLoad

NOT_COMPARED = (
    "the source cannot be compared by hour: its times are text or without a zone, or its documents are not jsonb; the"
    " last {days} days are read again instead. Shorten `repair.horizon` in observability/sync.yaml if that costs too"
    " much, or set `repair.compare: counts` if its times have a zone"
)

_ACCEPT = (
    "check the source for row level security, a TRUNCATE or a changed view. If they were deleted on purpose, run"
    " `audit sync --accept-removal`"
)

_LAG_WARNED = 300.0  # seconds, as promised for freshness


def run_warnings(run: SyncRun, policy: SyncPolicy) -> Iterator[str]:
    """Warnings about writes that may arrive too late, and about rejected rows."""
    if run.oldest_write_seconds is not None and run.oldest_write_seconds > policy.lookback.total_seconds():
        yield (
            f"the source's oldest open write began {run.oldest_write_seconds:.0f} s ago, longer than the look-back of "
            f"{policy.lookback.total_seconds():.0f} s: rows it commits late are loaded by the next repair. "
            "End it, or raise `lookback` in observability/sync.yaml"
        )
    if run.sessions_visible is False:
        yield (
            "this role cannot see other sessions' transactions, so a write that outlives the look-back goes unnoticed "
            "until the nightly repair; grant pg_read_all_stats to it"
        )
    if run.counts.rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(run.counts.rejected.items()))
        yield f"rows rejected, kept in ai_audit_rejects: {reasons}"


def clock_warnings(
    run: SyncRun, policy: SyncPolicy, reset_from: datetime | None, watermark: datetime | None
) -> Iterator[str]:
    """Warnings about clock skew, replay lag, and a watermark that was reset from `reset_from` to `watermark` (UTC)."""
    skew, tolerance = run.clock_skew_seconds or 0.0, policy.clock_tolerance.total_seconds()
    if abs(skew) > tolerance:
        yield (
            f"the source's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's: rows"
            " carry its time, so rules evaluate them at the wrong hour. Correct the wrong clock with NTP"
        )
    lag = run.replay_lag_seconds or 0.0
    if lag > _LAG_WARNED:
        yield (
            f"the source is a replica that is {lag / 60:.0f} minutes behind its primary: newer rows are"
            " missing here. Check the replica's recovery and its WAL receiver, or read from the primary"
        )
    if reset_from is not None and watermark is not None:
        yield (
            f"the recorded watermark {reset_from.isoformat()} lies in the future, as after a clock was set"
            f" back; this sync read from {watermark.isoformat()} minus the look-back"
        )


def removal_warnings(
    run: SyncRun, held_removal_days: Collection[date], workspaces: WorkspacesLoad | None
) -> Iterator[str]:
    """Warnings about rows and workspaces that are missing at the source and whose removal is held."""
    held = run.counts.held
    if held:
        days = f"{min(held_removal_days)} to {max(held_removal_days)}" if held_removal_days else "not known"
        yield f"{held:,} rows of ai_audit_logs are missing at the source (UTC days: {days}) and stay: {_ACCEPT}"
    if workspaces and workspaces.held:
        yield (
            f"{workspaces.held:,} of {workspaces.rows:,} workspaces are missing at the source and all stay in"
            f" ai_audit_workspaces: {_ACCEPT}"
        )
