"""`audit verify-kpis`: compare each tile with its reconciliation query over raw rows."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.cli.clock import now_utc
from audit_assets.cli.output import FAILED, AsJson, counting, err, out, print_json
from audit_assets.config.validation import did_you_mean
from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.verify.comparison import (
    Comparison,
    TileResult,
    cases,
    count_calls,
    days_to_compare,
    group_by_tile,
    open_readers,
    scopes_to_check,
    verify,
)
from audit_assets.dashboards.verify.reconciliation_queries import load_reconciliation_queries
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.settings import read_settings

_DAY = "%Y-%m-%d"


def verify_kpis(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=[_DAY], help="First UTC day. Default: several ranges.")
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=[_DAY], help="Last UTC day. Default: today.")] = None,
    tiles: Annotated[
        list[str] | None, typer.Option("--tile", help="A tile or mart, such as T05; repeatable. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare each tile with a recount of raw rows, for several ranges and filters. Exits 1 if they differ, or if there
    was nothing to compare."""
    settings, now = read_settings(), now_utc()
    definition = load_definition(settings.dashboards_folder)
    reconciliation = load_reconciliation_queries(
        settings.dashboards_folder, definition, read_policy(settings.policy_file).source.statuses
    )
    only = _validate_ids(tiles or [], [case.id for case in cases(definition, reconciliation)])
    days = _days(first, last, now.date())
    found: list[Comparison] = []
    with open_readers(settings, now, days) as (reader, raw):
        calls = count_calls(reconciliation, raw, now, days)
        if not calls:
            _report_nothing(now, days, as_json)
        scopes = scopes_to_check(reconciliation, raw, now, days)
        with counting("comparing", None) as advance:
            for compared in verify(definition, reconciliation, reader, scopes, only, raw):
                found.append(compared)
                advance(1)
    results = group_by_tile(found)
    differing = [result for result in results if result.agrees is False]
    missing = [result for result in results if result.agrees is None]
    if as_json:
        print_json(_figures(results, now, calls))
    else:
        out.print(_table(results))
        for result in results:
            if result.displayed.note:
                out.print(f"{result.id}: {result.displayed.note}", markup=False, soft_wrap=True)
        for check in (check for result in differing for check in result.checks if check.agrees is False):
            out.print(f"{check.id}, {check.scope}: shown {check.shown}; raw {check.raw}", markup=False, soft_wrap=True)
        for result in missing:
            out.print(f"{result.id} was not compared: {result.displayed.missing}", markup=False, soft_wrap=True)
        checked = sum(check.agrees is not None for check in found)
        summary = f"{len(differing)} differ from raw rows" if differing else "no differences from raw rows"
        err.print(f"{checked} comparisons of {len(results)} tiles and marts: {summary}", soft_wrap=True)
    if differing or len(missing) == len(results):
        raise typer.Exit(FAILED)


def _report_nothing(now: datetime, days: tuple[date, date] | None, as_json: bool) -> NoReturn:
    """Reports that there is no raw row to compare tiles with, and exits with 1. Comparing zero with zero would also
    pass on a wrong page."""
    if as_json:
        print_json(_figures((), now, 0))
    else:
        first, last = days_to_compare(days, now)
        reason = f"nothing was compared: the snapshot has no call from {first} to {last} (UTC)"
        out.print(f"{reason}; run `audit build`, or give other days with --from and --to", soft_wrap=True)
    raise typer.Exit(FAILED)


def _figures(results: tuple[TileResult, ...], now: datetime, compared_rows: int) -> dict[str, Any]:
    return {
        "as_of": now,
        "compared_rows": compared_rows,
        "agree": any(result.agrees for result in results) and all(result.agrees is not False for result in results),
        "differing": [result.id for result in results if result.agrees is False],
        "not_published": [result.id for result in results if result.agrees is None],
        "tiles": [
            {
                "id": result.id,
                "title": result.title,
                "agrees": result.agrees,
                "note": result.displayed.note,
                "scopes": [
                    {name: value for name, value in asdict(check).items() if name not in ("id", "title", "note")}
                    for check in result.checks
                ],
            }
            for result in results
        ],
    }


def _table(results: tuple[TileResult, ...]) -> Table:
    """The table of results. The figures of raw rows are printed below it where they differ."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("tile", "title", "scopes", "shown", "agrees"):
        table.add_column(heading, justify="right" if heading == "scopes" else "left", overflow="fold")
    marks = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("not published", "yellow")}
    for result in results:
        cells = (result.id, result.title, str(len(result.checks)), result.displayed.shown)
        table.add_row(*map(Text, cells), marks[result.agrees])
    return table


def _days(first: datetime | None, last: datetime | None, today: date) -> tuple[date, date] | None:
    """The requested UTC days; None for the default ranges. Raises WindowError if they are not in order or lie in the
    future."""
    if first is None and last is None:
        return None
    end = last.date() if last else today
    start = first.date() if first else end
    if not start <= end <= today:
        raise WindowError(f"--from {start} --to {end}: give two days in order, up to {today} (UTC)")
    return start, end


def _validate_ids(requested: list[str], ids: list[str]) -> list[str]:
    for name in requested:
        if name not in ids:
            raise WindowError(f"{name}: no tile or mart with a reconciliation query{did_you_mean(name, ids)}")
    return requested
