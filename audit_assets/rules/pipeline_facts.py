"""The pipeline's own asset checks and runs as facts; pure: Dagster's records and `now` are arguments."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from audit_assets.rules.facts import TABLES

CHECKS, RUNS = "asset_checks", "pipeline_runs"


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
