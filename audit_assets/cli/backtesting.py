"""`audit rules backtest`: how often rules would have fired, over what is published or over counts from outside."""

import csv
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.replayed_facts import replayed_facts
from audit_assets.cli.screen import AsJson, counting, err, out, print_json
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.backtest import History, as_block
from audit_assets.rules.backtest import backtest as run
from audit_assets.rules.calendar import BusinessCalendar, read_calendar
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import Rule
from audit_assets.rules.plot import plotted
from audit_assets.rules.spelling import did_you_mean
from audit_assets.rules.time_facts import with_time_facts
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.outside_counts import OutsideCounts, grids_of, read_counts
from audit_assets.warehouse.protocol import start_of

_BY_INSTANCE = 12  # the noisiest so many of a rule; all of them with --json


@dataclass(frozen=True)
class _Backtested:
    """A rule over history: what it did, and what the playbook's form would have done."""

    rule: Rule
    ours: History
    literal: History | None


@dataclass(frozen=True)
class _Span:
    """What is judged: facts up to `until`, episodes from `since` on; `width` of a step where it is not the table's."""

    facts: Mapping[str, pl.DataFrame]
    until: datetime
    since: datetime | None
    width: timedelta | None
    calendar: BusinessCalendar
    data: str


def backtest(
    ids: Annotated[list[str] | None, typer.Argument(help="Rules. Default: all that the data can be judged by.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First UTC day, as 2026-11-01. Default: all.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last UTC day. Default: the newest.")] = None,
    counts: Annotated[
        Path | None, typer.Option(help="A Parquet or CSV file with series, bin, count instead of what is published.")
    ] = None,
    bin_minutes: Annotated[int, typer.Option(min=1, max=60, help="How wide a bin of --counts is.")] = 15,
    timezone: Annotated[
        str | None, typer.Option(help="The zone whose days bins that are times lie in. Default: the calendar's.")
    ] = None,
    write_alerts: Annotated[
        Path | None, typer.Option("--out", help="With --counts: write series,bin,type of each alert there, as CSV.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw each series and what fired into this HTML file.")] = None,
    as_json: AsJson = False,
) -> None:
    """How often each rule would have fired, a week and instance, and how often the playbook's literal form."""
    settings = read_settings()
    rule_set = load_rules(settings.rules_folder)
    for name in ids or ():
        if rule_set.rule(name) is None:
            raise WindowError(f"{name}: no such rule{did_you_mean(name, rule_set.ids)}")
    calendar = read_calendar(settings.calendar_file)
    read = read_counts(counts, bin_minutes, timezone or calendar.timezone) if counts else None
    since, until = _bounds(first, last, read.until if read else datetime.now(UTC))
    span = _outside(read, counts, since, until, calendar) if read and counts else _published(settings, since, until)
    asked = [rule for rule in rule_set.rules if rule.watch in span.facts and (not ids or rule.id in ids)]
    if ids and len(asked) < len(ids):
        missing = next(name for name in ids if name not in {rule.id for rule in asked})
        raise WindowError(f"{missing}: these data hold nothing it could judge")
    with counting("rules", len(asked)) as advance:
        tested = [_tested(rule, span, advance) for rule in asked]
    if write_alerts is not None:
        if read is None:
            raise WindowError("--out goes with --counts; --json prints the alerts of published data")
        _write_csv(write_alerts, tested, read)
    if plot is not None:
        plot.write_text(plotted(span.facts, [each.ours for each in tested], {r.rule.id: r.rule for r in tested}))
        err.print(f"drawn into {plot}")
    if as_json:
        print_json({"data": span.data, "rules": [_figures(each) for each in tested]})
        return
    out.print(_table(tested))
    out.print(_by_instance(tested))
    err.print("a week: alerts a week and instance; weekend: share of alerts on Saturday and Sunday (2/7 is 29 %)")
    for each in tested if ids else ():
        out.print(f"\n# {each.rule.id}.yaml", markup=False)
        out.print(as_block(each.ours, each.literal, span.data, datetime.now(UTC).date()), markup=False)


def _tested(rule: Rule, span: _Span, advance: Any) -> _Backtested:
    facts = span.facts[rule.watch]
    ours = run(rule, facts, span.until, span.calendar, "fires_when", span.since, span.width)
    literal = None
    if rule.literal is not None:
        literal = run(rule, facts, span.until, span.calendar, "literal", span.since, span.width)
    advance(1)
    return _Backtested(rule, ours, literal)


def _published(settings: Settings, since: datetime | None, until: datetime) -> _Span:
    replayed = replayed_facts(settings, read_policy(settings.policy_file).lookback)
    return _Span(replayed.tables, min(until, replayed.as_of), since, None, replayed.calendar, "what is published")


def _outside(
    counts: OutsideCounts, path: Path, since: datetime | None, until: datetime, calendar: BusinessCalendar
) -> _Span:
    facts = with_time_facts(grids_of(counts), until, calendar, counts.width)
    # One series is not another's part: what they sum to means nothing.
    del facts["ai_audit_total_grid"]
    return _Span(facts, until, since, counts.width, calendar, path.name)


def _bounds(first: str | None, last: str | None, newest: datetime) -> tuple[datetime | None, datetime]:
    return (
        start_of(_day(first, "--from")) if first else None,
        min(newest, start_of(_day(last, "--to") + timedelta(days=1))) if last else newest,
    )


def _day(text: str, option: str) -> date:
    with suppress(ValueError):
        return date.fromisoformat(text)
    raise WindowError(f"{option} {text}: not a day; write it as 2026-11-01")


def _write_csv(path: Path, tested: list[_Backtested], counts: OutsideCounts) -> None:
    alerts = sorted(
        (episode.latest.dimension("capability"), episode.opened_at - counts.width, each.rule.kind)
        for each in tested
        for episode in each.ours.episodes
        if episode.opened_at is not None
    )
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("series", "bin", "type"))
        writer.writerows((series, counts.bin_of(start), kind) for series, start, kind in alerts)
    err.print(f"{len(alerts)} alerts written to {path}")


def _table(tested: list[_Backtested]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("rule")
    for heading in ("instances", "days", "alerts", "a week", "weekend", "longest", "literally a week"):
        table.add_column(heading, justify="right")
    for each in tested:
        ours = each.ours
        table.add_row(
            each.rule.id,
            f"{len(ours.instances):,}",
            f"{ours.days:,.0f}",
            f"{ours.alerts:,}",
            f"{ours.alerts_a_week:.2f}",
            "" if ours.weekend_share is None else f"{ours.weekend_share:.0%}",
            _span_told(ours.longest),
            "" if each.literal is None else f"{each.literal.alerts_a_week:.2f}",
        )
    return table


def _by_instance(tested: list[_Backtested]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title_justify="left")
    for heading in ("rule", "instance"):
        table.add_column(heading)
    for heading in ("alerts", "a week", "longest"):
        table.add_column(heading, justify="right")
    for each in tested:
        noisy = sorted(each.ours.instances, key=lambda one: (-one.alerts_a_week, one.instance))
        for one in [one for one in noisy if one.episodes][:_BY_INSTANCE]:
            table.add_row(
                each.rule.id,
                Text(", ".join(map(shown, one.instance)) or "all capabilities"),
                f"{len(one.episodes):,}",
                f"{one.alerts_a_week:.2f}",
                _span_told(one.longest),
            )
    return table


def _span_told(span: timedelta) -> str:
    minutes = span // timedelta(minutes=1)
    return "" if not minutes else f"{minutes / 60:,.1f} h" if minutes >= 60 else f"{minutes} min"


def _figures(each: _Backtested) -> dict[str, Any]:
    """A rule's figures and alerts for machines; times are ISO 8601 in UTC, spans are minutes."""

    def of(history: History) -> dict[str, Any]:
        return {
            "first": history.first,
            "until": history.until,
            "alerts": history.alerts,
            "alerts_a_week": round(history.alerts_a_week, 4),
            "weekend_share": history.weekend_share,
            "longest_minutes": history.longest / timedelta(minutes=1),
            "instances": [
                {
                    "instance": list(one.instance),
                    "days": round(one.days, 3),
                    "alerts": len(one.episodes),
                    "alerts_a_week": round(one.alerts_a_week, 4),
                    "longest_minutes": one.longest / timedelta(minutes=1),
                    "opened_at": [episode.opened_at for episode in one.episodes],
                }
                for one in history.instances
            ],
        }

    return {"rule": each.rule.id, **of(each.ours), "literal": of(each.literal) if each.literal else None}
