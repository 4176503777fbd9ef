"""The capabilities that contribute most to the deviation of a total, and related details of a finding; pure."""

from collections.abc import Mapping

import polars as pl

from audit_assets.rules.episode import Finding
from audit_assets.rules.evaluate import RuleError, for_expressions
from audit_assets.rules.expression import compile_figure
from audit_assets.rules.facts import NEW_CAPABILITIES, REGISTRY, SYNC_STATE, TABLES
from audit_assets.rules.model import Rule

_OF_FAILED_SYNCS = ("failed_in_a_row", "hours_since_repair")
_REGISTERED_WITHIN = dict(zip(NEW_CAPABILITIES, (60, 24 * 60), strict=True))  # minutes
_PARTS_OF = {
    "ai_audit_total_grid": "ai_audit_capability_grid",
    "ai_audit_total_outcomes": "ai_audit_capability_outcomes",
}


def contributors(
    finding: Finding, rule: Rule, tables: Mapping[str, pl.DataFrame], at_most: int = 3
) -> list[tuple[str, float, float]]:
    """The top contributors of `finding`, at most `at_most`, as (name, value, baseline).

    For an asset with failing checks: these checks and the rows they found. For a total: the capabilities at the
    finding's step, largest deviation first; empty if the rule does not watch a total, has no baseline, or the table by
    capability is missing.
    """
    if rule.watch == "asset_checks" and rule.watch in tables:
        return _failing_checks(finding, tables[rule.watch], at_most)
    parts, form = _PARTS_OF.get(rule.watch), rule.conditions[finding.condition]
    if parts is None or parts not in tables or form.baseline is None:
        return []
    table = TABLES[parts]
    at = pl.col(table.time).dt.convert_time_zone("UTC") == finding.window_start
    rows = tables[parts].filter(at, pl.col("environment") == finding.environment)
    try:
        figures = {
            name: for_expressions(rows, table, compiled.columns).select(compiled.polars.cast(pl.Float64)).to_series()
            for name, compiled in (
                ("value", compile_figure(form.value, parts)),
                ("usual", compile_figure(form.baseline, parts)),
            )
        }
    except RuleError:
        return []
    ranked = rows.select("capability").with_columns(**figures).drop_nulls()
    downwards = finding.value is not None and finding.baseline is not None and finding.value < finding.baseline
    ranked = ranked.sort(pl.col("value") - pl.col("usual"), descending=not downwards).head(at_most)
    return [(str(row["capability"]), row["value"], row["usual"]) for row in ranked.iter_rows(named=True)]


def newly_registered(rule: Rule, tables: Mapping[str, pl.DataFrame], at_most: int = 8) -> tuple[tuple[str, ...], int]:
    """For a rule on the number of registered capabilities: the names of the newest, and how many more there are."""
    if rule.watch != SYNC_STATE or rule.form.value not in _REGISTERED_WITHIN or REGISTRY not in tables:
        return (), 0
    is_news = ~pl.col("registered_silently") & (pl.col("environment") == "live")
    recent = pl.col("minutes_since_registered") < _REGISTERED_WITHIN[rule.form.value]
    newest = tables[REGISTRY].filter(is_news, recent).sort("minutes_since_registered", "capability")
    names = newest.get_column("capability").drop_nulls()
    return tuple(names.head(at_most).to_list()), max(0, names.len() - at_most)


def cause(rule: Rule, tables: Mapping[str, pl.DataFrame]) -> str:
    """For a rule on failing syncs: the mode and the last error. Empty if no sync fails or the error is unknown."""
    if rule.watch != SYNC_STATE or rule.form.value not in _OF_FAILED_SYNCS or SYNC_STATE not in tables:
        return ""
    for mode, error in tables[SYNC_STATE].select("failed_mode", "last_error").head(1).iter_rows():
        if mode is not None and (mode == "full" or rule.form.value != "hours_since_repair"):
            return f"{mode}: {error or 'no error was recorded'}"
    return ""


def _failing_checks(finding: Finding, facts: pl.DataFrame, at_most: int) -> list[tuple[str, float, float]]:
    found = facts.filter(pl.col("asset") == finding.dimension("asset")).get_column("checks").explode().drop_nulls()
    listed = [(str(check["name"]), float(check["rows"]), 0.0) for check in found]
    return sorted(listed, key=lambda check: (-check[1], check[0]))[: max(at_most, 5)]
