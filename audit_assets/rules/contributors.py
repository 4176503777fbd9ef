"""Which capabilities a total's deviation is made of; pure."""

from collections.abc import Mapping

import polars as pl

from audit_assets.rules.episode import Finding
from audit_assets.rules.expression import figure
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Rule
from audit_assets.rules.rows import RuleError, for_expressions

_PARTS_OF = {
    "ai_audit_total_grid": "ai_audit_capability_grid",
    "ai_audit_total_outcomes": "ai_audit_capability_outcomes",
}


def contributors(
    finding: Finding, rule: Rule, tables: Mapping[str, pl.DataFrame], at_most: int = 3
) -> list[tuple[str, float, float]]:
    """Capability, value and baseline of the step `finding` ends with, those that deviate most first; empty where the
    rule is no total's, knows no baseline, or the parts are not there."""
    parts, form = _PARTS_OF.get(rule.watch), rule.ways[finding.way]
    if parts is None or parts not in tables or form.baseline is None:
        return []
    table = TABLES[parts]
    at = pl.col(table.time).dt.convert_time_zone("UTC") == finding.window_start
    rows = tables[parts].filter(at, pl.col("environment") == finding.environment)
    try:
        figures = {
            name: for_expressions(rows, table, compiled.columns).select(compiled.polars.cast(pl.Float64)).to_series()
            for name, compiled in (("value", figure(form.value, parts)), ("usual", figure(form.baseline, parts)))
        }
    except RuleError:
        return []
    told = rows.select("capability").with_columns(**figures).drop_nulls()
    downwards = finding.value is not None and finding.baseline is not None and finding.value < finding.baseline
    told = told.sort(pl.col("value") - pl.col("usual"), descending=not downwards).head(at_most)
    return [(str(row["capability"]), row["value"], row["usual"]) for row in told.iter_rows(named=True)]
