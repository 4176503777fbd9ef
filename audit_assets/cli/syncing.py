"""`audit sync`, `audit sync status`, `audit gaps`."""

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from audit_assets.cli.screen import FAILED, AsJson, counting, err, figures_table, out, print_json, told
from audit_assets.ingest.gaps import Counts, GapReport, read_gaps
from audit_assets.ingest.mirror import lag_seconds, write_mirror
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.stdout import sync_to_stdout
from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request, WindowError
from audit_assets.rules.durations import parse_duration
from audit_assets.settings import Destination, read_settings
from audit_assets.warehouse.opening import open_warehouse
from audit_assets.warehouse.protocol import DayWindow, Load, start_of
from audit_assets.warehouse.snapshot import SnapshotError

sync_app = typer.Typer(help="Bring rows from the source into the warehouse.", invoke_without_command=True)


class SyncMode(StrEnum):
    """What a sync reads."""

    delta = "delta"
    full = "full"


class DestinationName(StrEnum):
    """Where rows go."""

    duckdb = "duckdb"
    bigquery = "bigquery"
    stdout = "stdout"


@sync_app.callback()
def run_sync(
    context: typer.Context,
    mode: Annotated[
        SyncMode, typer.Option(help="delta: since the watermark. full: re-read and repair, day by day.")
    ] = SyncMode.delta,
    since: Annotated[str | None, typer.Option(help="Start here instead; ISO 8601 with a zone, or a UTC day.")] = None,
    lookback: Annotated[str | None, typer.Option(help="How far to look back, such as 15m, 24h or 7d.")] = None,
    destination: Annotated[
        DestinationName | None, typer.Option(help="Default: AI_AUDIT_WAREHOUSE_DESTINATION, else duckdb.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sync once, without Dagster. Safe to repeat, and to run beside the continuous sync."""
    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    policy = read_policy(settings.policy_file)
    request = Request(mode.value, _since(since), _lookback(lookback))
    chosen: Destination = destination.value if destination else settings.destination
    if chosen == "stdout":
        count = sync_to_stdout(settings.source_url, policy, request, _write)
        err.print(f"{count:,} rows written; the watermark stays where it is")
        return
    warehouse = open_warehouse(settings, policy.bigquery, destination=chosen)
    with counting("rows") as advance:

        def committed(window: DayWindow, load: Load) -> None:
            advance(load.counts.read)

        report = sync(settings.source_url, warehouse, policy, request, committed)
    write_mirror(settings.state_file, report.run)
    figures = report.run.row() | {"days_changed": len(report.days), "warnings": list(report.warnings)}
    if as_json:
        print_json(figures)
        return
    del figures["warnings"], figures["error"]
    out.print(figures_table(figures))
    for warning in report.warnings:
        err.print(f"[yellow]warning[/] {warning}")


@sync_app.command("status")
def status(as_json: AsJson = False) -> None:
    """How far the warehouse is: last sync, newest row at the source, lag, records, duration."""
    settings = read_settings()
    warehouse = open_warehouse(settings, read_policy(settings.policy_file).bigquery, timeout_seconds=60)
    with warehouse.keeper("audit sync status") as keeper:
        found = keeper.fetch(
            """select last_synced_at, source_max_created_at, watermark, records_synced, sync_duration_ms, mode
            from analytics.ai_audit_sync_state where status = 'succeeded' order by last_synced_at desc limit 1"""
        )
    if not found:
        raise SnapshotError("no sync has succeeded yet: run `audit sync`, or `make dev` for the continuous one")
    last_synced_at, source_max, watermark, records, duration, mode = found[0]
    figures = {
        "last_synced_at": last_synced_at,
        "source_max_created_at": source_max,
        "lag_seconds": lag_seconds(source_max, watermark, last_synced_at),
        "seconds_since_last_sync": round((datetime.now(UTC) - last_synced_at).total_seconds(), 1),
        "records_synced": records,
        "sync_duration_ms": duration,
        "watermark": watermark,
        "mode": mode,
    }
    if as_json:
        print_json(figures)
    else:
        out.print(figures_table(figures))


def gaps(
    days: Annotated[int, typer.Option(min=1, max=3660, help="How many UTC days back, the running one included.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Days and hours where source and warehouse hold different counts. Exits 1 where there are any."""
    settings = read_settings()
    policy = read_policy(settings.policy_file)
    start = start_of(datetime.now(UTC).date() - timedelta(days=days - 1))
    warehouse = open_warehouse(settings, policy.bigquery)
    report = read_gaps(settings.source_url, policy, warehouse, start)
    if as_json:
        print_json(_gap_figures(report))
    else:
        _print_gaps(report)
    if not report.is_empty:
        raise typer.Exit(FAILED)


def _gap_figures(report: GapReport) -> dict[str, Any]:
    return {
        "start": report.start,
        "end": report.end,
        "days": {day.isoformat(): asdict(counts) for day, counts in report.days.items()},
        "hours": {hour.isoformat(): asdict(counts) for hour, counts in report.hours.items()},
        "outside": asdict(report.outside) if report.outside else None,
        "everything": asdict(report.everything) if report.everything else None,
        "untold": report.untold,
    }


def _print_gaps(report: GapReport) -> None:
    if report.untold:
        err.print(report.untold)
    if report.is_empty:
        out.print(f"no gaps from {told(report.start)} to {told(report.end)}: every source row is loaded or refused")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("UTC")
    for heading in ("source", "loaded", "refused", "missing"):
        table.add_column(heading, justify="right")

    def row(name: str, counts: Counts, style: str = "") -> None:
        figures = (counts.source, counts.loaded, counts.rejected, counts.missing)
        table.add_row(name, *(f"{figure:,}" for figure in figures), style=style)

    for day, counts in report.days.items():
        row(str(day), counts, "bold")
        for hour, of_hour in report.hours.items():
            if hour.date() == day:
                row(f"  {hour:%H}:00", of_hour)
    for name, counts in (("outside all days", report.outside), ("everything", report.everything)):
        if counts is not None:
            row(name, counts, "bold")
    out.print(table)
    err.print("`audit build --from DAY --to DAY` reads these days again; so does a backfill in the UI")


def _write(line: str) -> None:
    sys.stdout.write(line)


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WindowError(
            f"--since {text}: not a time; write 2026-11-01T08:00:00Z, or a UTC day as 2026-11-01"
        ) from None
    if len(text) == len("2026-11-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    if moment.tzinfo is None:
        raise WindowError(f"--since {text}: says no time zone; add Z for UTC, or an offset as -08:00")
    return moment.astimezone(UTC)


def _lookback(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise WindowError(f"--lookback: {error}") from None
