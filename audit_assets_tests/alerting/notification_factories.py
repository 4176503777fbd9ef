"""Factories for message tests: one notification per shipped rule, and one with several alerts."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from audit_assets.alerting.links import Links
from audit_assets.alerting.notify.notification import AlertState, Contributor, Notification
from audit_assets.rules.model import Rule
from audit_assets_tests.rules.factories import LAST_STEP, NOW, shipped

LINKS = Links("https://bi.example", "https://docs.example")
SINCE = datetime.fromisoformat("2026-11-23T12:45:00Z")
STEP_END = LAST_STEP + timedelta(minutes=15)

# Rule → condition, value, baseline, threshold, and the values of the last windows.
FIGURES: dict[str, tuple[str, float, float | None, float, tuple[float | None, ...]]] = {
    "volume_spike": ("", 1742, 399, 625, (380, 402, 395, 410, 388, None, 640, 905, 1310, 1742)),
    "volume_drop": ("low_two_hours", 31, 204, 118, (210, 198, 205, 201, 120, 88, 31)),
    "total_volume_spike": ("busy_hour", 5210, 2104, 3950, (2080, 2110, 2231, 3105, 4402, 5210)),
    "total_volume_drop": ("", 0, 1980, 1240, (1990, 1975, 1204, 310, 0, 0, 0)),
    "no_recent_logs": ("", 135, None, 120, (30, 60, 90, 120, 135)),
    "error_surge": ("", 0.214, 0.012, 0.05, (0.01, 0.012, 0.011, 0.06, 0.18, 0.214)),
    "total_error_surge": ("", 0.083, 0.011, 0.05, (0.01, 0.012, 0.011, 0.04, 0.06, 0.083)),
    "unknown_status": ("", 0.0725, None, 0.01, (0.0, 0.002, 0.02, 0.0725)),
    "new_capability": ("", 2, None, 60, ()),
    "freshness_slo": ("", 7.2, None, 5, (0.5, 1.1, 2.3, 5.2, 7.2)),
    "sync_failed": ("", 3, None, 3, (0, 1, 2, 3)),
    "repair_overdue": ("", 37.5, None, 36, (34.5, 35.5, 36.5, 37.5)),
    "capability_cardinality": ("", 20_000, None, 50, ()),
    "rows_differ": ("", 2, None, 0, (0, 0, 2)),
    "removal_held": ("", 1000, None, 0, (0, 0, 1000)),
    "check_failed": ("", 6, None, 1, (0, 0, 6)),
    "run_failed": ("", 1, None, 1, (0, 1)),
    "source_clock_skew": ("", 1.5, None, 0.5, (0, 0, 1.5)),
    "source_clock_wrong": ("", 120, None, 5, (0, 0, 120)),
    "source_replica_lag": ("", 42, None, 5, (0, 4, 42)),
    "long_transaction": ("", 22, 15, 15, (2, 7, 12, 17, 22)),
}


ABOUT = {"check_failed": (("asset", "ai_audit_daily"),), "run_failed": (("run", "audit_sync delta"),)}


def alert(rule: Rule, **changes: Any) -> AlertState:
    """An alert of `rule` that has been firing for 80 minutes, of `code_review` if the rule is per capability."""
    condition, value, baseline, threshold, history = FIGURES.get(rule.id, FIGURES["volume_spike"])
    now_only = rule.window == "now"
    capability = {"new_capability": "contract_chek"}.get(rule.id, "code_review")
    usual = AlertState(
        key=f"ai-audit/production/{rule.id}/5f1c9ab4e07d/3",
        environment="live",
        dimensions=ABOUT.get(rule.id, (("capability", capability),)) if rule.per else (),
        state="firing",
        since=SINCE,
        opened_at=SINCE + timedelta(minutes=15),
        resolved_at=None,
        resolve_reason=None,
        value=value,
        baseline=baseline,
        threshold=threshold,
        delta_percent=(value / baseline - 1) * 100 if baseline else None,
        peak=value,
        window_start=NOW if now_only else LAST_STEP,
        window_end=NOW if now_only else STEP_END,
        condition=condition,
        history=history,
    )
    return replace(usual, **changes)


def named(rule: Rule, name: str, **changes: Any) -> AlertState:
    return alert(rule, dimensions=(("capability", name),), **changes)


def notification(rule: Rule, *episodes: AlertState, **changes: Any) -> Notification:
    parts = (("code_review", 3820, 640), ("search_answer", 701, 655), ("contract_chek", 402, 0))
    scale = 10_000 if rule.form.unit == "share" else 1
    contributors = tuple(Contributor(name, value / scale, usual / scale) for name, value, usual in parts)
    plain = Notification(
        rule=rule,
        alerts=episodes or (alert(rule),),
        now=NOW,
        data_until=NOW - timedelta(minutes=2),
        links=LINKS,
        contributors=contributors if rule.watch.startswith("ai_audit_total") and rule.form.baseline else (),
        run_url="https://dagster.example/runs/8c1f",
        cause="full: no space left for warehouse.duckdb: free some" if rule.id == "sync_failed" else "",
    )
    if rule.id == "capability_cardinality":
        plain = replace(plain, registered=("junk 00001", "junk 00002", "pay\u200bment"), more_registered=19_997)
    return replace(plain, **changes)


def night() -> Notification:
    """A spike of several capabilities, one of them already resolved."""
    rule = shipped("volume_spike")
    others = (
        ("search_answer", 610, 140, (130, 128, 141, 160, 420, 610)),
        ("contract_summary", 388, 96, (90, 101, 97, 250, 388)),
        ("translate", 212, 61, (60, 58, None, 63, 150, 212)),
        ("draft_reply", 160, 44, (44, 43, 47, 160, 102, 45)),
    )
    made = [
        named(rule, name, value=value, baseline=usual, delta_percent=(value / usual - 1) * 100, history=history)
        for name, value, usual, history in others
    ]
    over = datetime.fromisoformat("2026-11-23T13:55:00Z")
    made[-1] = replace(made[-1], state="resolved", resolved_at=over, resolve_reason="cleared")
    return notification(rule, alert(rule), *made)


def resolved(episode: AlertState, reason: str = "cleared", **changes: Any) -> AlertState:
    at = NOW - timedelta(minutes=5)
    return replace(episode, state="resolved", resolved_at=at, resolve_reason=reason, **changes)


def acknowledged(episode: AlertState, by: str = "Ada Lovelace", minutes_ago: int = 3) -> AlertState:
    return replace(episode, acknowledged_at=NOW - timedelta(minutes=minutes_ago), acknowledged_by=by)
