"""`audit rules backtest`: how often rules would have fired, over published data or over counts from a file."""

import csv
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.inputs import replayed_facts
from audit_assets.backtest.external_series import ExternalSeries, facts_of_counts, read_counts
from audit_assets.backtest.plot import plot_page
from audit_assets.backtest.replay import Backtested, History, Span, backtest_forms, backtest_yaml
from audit_assets.cli.clock import now_utc
from audit_assets.cli.output import FAILED, AsJson, counting, err, out, print_json
from audit_assets.config.validation import did_you_mean
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.private_files import users_umask
from audit_assets.rules.business_clock import BusinessCalendar, read_calendar
from audit_assets.rules.load import NO_RULE_FILES, RulesFolderError, load_rules
from audit_assets.settings import Settings, read_settings
from audit_assets.text.sanitize import escape
from audit_assets.warehouse.protocol import start_of

_INSTANCES_SHOWN = 12  # the noisiest instances of each rule; --json prints all


def backtest(
    ids: Annotated[list[str] | None, typer.Argument(help="Rules. Default: all that apply to the data.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First UTC day, as 2026-11-01. Default: all.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last UTC day. Default: the newest.")] = None,
    counts: Annotated[
        Path | None, typer.Option(help="A Parquet or CSV file with series, bin, count, instead of published data.")
    ] = None,
    bin_minutes: Annotated[int, typer.Option(min=1, max=60, help="Width of a bin of --counts, in minutes.")] = 15,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of the days of bins that are times. Default: the calendar's.")
    ] = None,
    write_alerts: Annotated[
        Path | None, typer.Option("--out", help="With --counts: write series,bin,type of each alert to this CSV file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot each series and its alerts into this HTML file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how often each rule would have fired per week and instance, and how often its literal playbook form would
    have. Exits 1 if there was nothing to judge."""
    settings = read_settings()
    rule_set = load_rules(settings.rules_folder)
    for name in ids or ():
        if rule_set.rule(name) is None:
            raise WindowError(f"{name}: no such rule{did_you_mean(name, rule_set.ids)}")
    if not rule_set.ids:
        raise RulesFolderError(f"{settings.rules_folder} {NO_RULE_FILES}")
    calendar = read_calendar(settings.calendar_file)
    read = read_counts(counts, bin_minutes, timezone or calendar.timezone) if counts else None
    since, until = _bounds(first, last, read.until if read else now_utc())
    span = _from_counts(read, counts, since, until, calendar) if read and counts else _published(settings, since, until)
    selected = [rule for rule in rule_set.rules if rule.watch in span.facts and (not ids or rule.id in ids)]
    if ids and len(selected) < len(ids):
        missing = next(name for name in ids if name not in {rule.id for rule in selected})
        raise WindowError(f"{missing}: the data has no rows for this rule")
    with counting("rules", len(selected)) as advance:
        tested: list[Backtested] = []
        for rule in selected:
            tested.append(backtest_forms(rule, span))
            advance(1)
    if write_alerts is not None:
        if read is None:
            raise WindowError("--out needs --counts; --json prints the alerts of published data")
        _write_csv(write_alerts, tested, read)
    if plot is not None:
        page = plot_page(span.facts, [each.ours for each in tested], {r.rule.id: r.rule for r in tested})
        with users_umask():
            plot.write_text(page)
        err.print(f"plot written to {plot}")
    if as_json:
        print_json({"data": span.data, "rules": [_figures(each) for each in tested]})
    else:
        _print_tested(tested, span, with_blocks=bool(ids))
    if any(not each.ours.days for each in tested) if ids else all(not each.ours.days for each in tested):
        raise typer.Exit(FAILED)


def _print_tested(tested: list[Backtested], span: Span, with_blocks: bool) -> None:
    judged = [each for each in tested if each.ours.days]
    if judged:
        out.print(_table(judged))
        out.print(_by_instance(judged))
    for each in tested:
        if not each.ours.days:
            reason = f"{span.data}: no time span up to {span.until:%Y-%m-%d %H:%M} UTC that the rule could judge"
            out.print(f"{each.rule.id}: not backtested: {reason}", markup=False, soft_wrap=True)
    if not judged:
        return
    err.print("per week: alerts per week and instance; weekend: share of alerts on Saturday and Sunday (2/7 is 29 %)")
    for each in judged if with_blocks else ():
        out.print(f"\n# {each.rule.id}.yaml", markup=False)
        out.print(backtest_yaml(each.ours, each.literal, span.data, now_utc().date()), markup=False)


def _published(settings: Settings, since: datetime | None, until: datetime) -> Span:
    replayed = replayed_facts(settings, read_policy(settings.policy_file).lookback, now_utc())
    return Span(replayed.tables, min(until, replayed.as_of), since, None, replayed.calendar, "what is published")


def _from_counts(
    counts: ExternalSeries, path: Path, since: datetime | None, until: datetime, calendar: BusinessCalendar
) -> Span:
    return Span(facts_of_counts(counts, until, calendar), until, since, counts.width, calendar, path.name)


def _bounds(first: str | None, last: str | None, newest: datetime) -> tuple[datetime | None, datetime]:
    return (
        start_of(_day(first, "--from")) if first else None,
        min(newest, start_of(_day(last, "--to") + timedelta(days=1))) if last else newest,
    )


def _day(text: str, option: str) -> date:
    with suppress(ValueError):
        return date.fromisoformat(text)
    raise WindowError(f"{option} {text}: not a day; write it as 2026-11-01")


def _write_csv(path: Path, tested: list[Backtested], counts: ExternalSeries) -> None:
    alerts = sorted(
        (episode.latest.dimension("capability"), episode.opened_at - counts.width, each.rule.kind)
        for each in tested
        for episode in each.ours.episodes
        if episode.opened_at is not None
    )
    with users_umask(), path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("series", "bin", "type"))
        writer.writerows((series, counts.bin_of(start), kind) for series, start, kind in alerts)
    err.print(f"{len(alerts)} alerts written to {path}")


def _table(tested: list[Backtested]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("rule")
    for heading in ("instances", "days", "alerts", "per week", "weekend", "longest", "literal per week"):
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
            _span_summary(ours.longest),
            "" if each.literal is None else f"{each.literal.alerts_a_week:.2f}",
        )
    return table


def _by_instance(tested: list[Backtested]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title_justify="left")
    for heading in ("rule", "instance"):
        table.add_column(heading)
    for heading in ("alerts", "per week", "longest"):
        table.add_column(heading, justify="right")
    for each in tested:
        noisiest = sorted(each.ours.instances, key=lambda history: (-history.alerts_a_week, history.instance))
        for history in [history for history in noisiest if history.episodes][:_INSTANCES_SHOWN]:
            table.add_row(
                each.rule.id,
                Text(", ".join(map(escape, history.instance)) or "all capabilities"),
                f"{len(history.episodes):,}",
                f"{history.alerts_a_week:.2f}",
                _span_summary(history.longest),
            )
    return table


def _span_summary(span: timedelta) -> str:
    minutes = span // timedelta(minutes=1)
    return "" if not minutes else f"{minutes / 60:,.1f} h" if minutes >= 60 else f"{minutes} min"


def _figures(each: Backtested) -> dict[str, Any]:
    """A rule's figures and alerts for JSON. Times are ISO 8601 in UTC, spans are minutes."""

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
                    "instance": list(instance.instance),
                    "days": round(instance.days, 3),
                    "alerts": len(instance.episodes),
                    "alerts_a_week": round(instance.alerts_a_week, 4),
                    "longest_minutes": instance.longest / timedelta(minutes=1),
                    "opened_at": [episode.opened_at for episode in instance.episodes],
                }
                for instance in history.instances
            ],
        }

    return {"rule": each.rule.id, **of(each.ours), "literal": of(each.literal) if each.literal else None}
