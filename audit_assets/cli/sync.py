"""`audit sync`, `audit sync status`, `audit gaps`: bring rows into the warehouse and compare it with the source."""

import getpass
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from audit_assets.cli.clock import clock, now_utc
from audit_assets.cli.output import FAILED, AsJson, counting, err, figures_table, format_value, out, print_json
from audit_assets.config.validation import parse_duration
from audit_assets.ingest.gaps import Counts, GapReport, read_gaps
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.state_mirror import lag_seconds, write_mirror
from audit_assets.ingest.stdout import StdoutReport, sync_to_stdout
from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request, WindowError, first_readable_day
from audit_assets.settings import Destination, read_settings
from audit_assets.warehouse.attempts import track_attempt
from audit_assets.warehouse.builds import facts_synced_at, newest_successful_sync
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.protocol import DayWindow, Load, start_of
from audit_assets.warehouse.snapshot import SnapshotError

sync_app = typer.Typer(help="Sync rows from the source into the warehouse.", invoke_without_command=True)


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
        SyncMode, typer.Option(help="delta: rows since the watermark. full: re-read and repair, day by day.")
    ] = SyncMode.delta,
    since: Annotated[
        str | None, typer.Option(help="Start of the window: ISO 8601 with a time zone, or a UTC day.")
    ] = None,
    lookback: Annotated[str | None, typer.Option(help="Look-back, such as 15m, 24h or 7d.")] = None,
    destination: Annotated[
        DestinationName | None, typer.Option(help="Default: AI_AUDIT_WAREHOUSE_DESTINATION, else duckdb.")
    ] = None,
    accept_removal: Annotated[
        bool,
        typer.Option(
            "--accept-removal",
            help="Remove rows that the source no longer has, including held removals. Your name is recorded.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sync once, without Dagster. Safe to repeat, and to run alongside the continuous sync. Exits 1 if removals are
    held: rows that are missing at the source but kept in the warehouse."""
    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    actor = getpass.getuser() if accept_removal else None
    request = Request(mode.value, _since(since), _lookback(lookback), accept_removal_by=actor)
    chosen: Destination = destination.value if destination else settings.destination
    if chosen == "stdout":
        policy = read_policy(settings.policy_file)
        _report_written(sync_to_stdout(settings.source_url, policy, request, _write, clock().fixed_at))
        return
    with counting("rows") as advance, track_attempt(settings.attempts_folder, mode.value, clock()()) as attempt:
        policy = read_policy(settings.policy_file)
        warehouse = open_warehouse(settings, policy.bigquery, destination=chosen)

        def committed(window: DayWindow, load: Load) -> None:
            advance(load.counts.read)

        report = sync(settings.source_url, warehouse, policy, request, committed, clock(), clock().fixed_at, attempt)
    write_mirror(settings.state_file, report.run)
    figures = report.run.row() | {"days_changed": len(report.days), "warnings": list(report.warnings)}
    if as_json:
        print_json(figures)
    else:
        del figures["warnings"], figures["error"], figures["removal_accepted_by"]
        out.print(figures_table(figures))
        for warning in report.warnings:
            err.print(f"[yellow]warning[/] {warning}")
    if report.held:
        raise typer.Exit(FAILED)


def _report_written(written: StdoutReport) -> None:
    err.print(f"{written.rows:,} rows written; the watermark is unchanged")
    if written.rejected:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(written.rejected.items()))
        err.print(f"[yellow]warning[/] rows rejected: {counts}")
        if "naive_time" in written.rejected:
            err.print("set `naive_timezone` in observability/sync.yaml to read times without a zone")
    elif not written.rows:
        newest = f"; its newest row is from {written.newest:%Y-%m-%d %H:%M:%S} UTC" if written.newest else ""
        err.print(
            f"the source has no rows from {written.start:%Y-%m-%d %H:%M:%S} to {written.end:%Y-%m-%d %H:%M:%S} UTC"
            f"{newest}; --since and --lookback reach further back"
        )


@sync_app.command("status")
def status(as_json: AsJson = False) -> None:
    """Show the state of the sync: last sync, newest row at the source, lag, records, duration."""
    settings = read_settings()
    warehouse = open_warehouse(settings, read_policy(settings.policy_file).bigquery, timeout_seconds=60)
    with warehouse.maintenance("audit sync status") as session:
        newest, facts_at = newest_successful_sync(session), facts_synced_at(session)
    if newest is None:
        raise SnapshotError("no sync has succeeded yet: run `audit sync`, or `make dev` for the continuous sync")
    now = now_utc()
    figures = {
        "last_synced_at": newest.last_synced_at,
        "source_max_created_at": newest.source_max_created_at,
        "lag_seconds": lag_seconds(newest.source_max_created_at, newest.watermark, newest.last_synced_at),
        "seconds_since_last_sync": round((now - newest.last_synced_at).total_seconds(), 1),
        "facts_last_synced_at": facts_at,
        "facts_age_seconds": round((now - facts_at).total_seconds(), 1) if facts_at else None,
        "records_synced": newest.records_synced,
        "sync_duration_ms": newest.sync_duration_ms,
        "watermark": newest.watermark,
        "mode": newest.mode,
    }
    if as_json:
        print_json(figures)
    else:
        out.print(figures_table(figures))


def gaps(
    days: Annotated[
        int | None,
        typer.Option(min=1, max=3660, help="Number of UTC days to compare, including today. Default: all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List days and hours where the row counts of source and warehouse differ. Exits 1 if there are any, or if there
    was nothing to compare."""
    settings = read_settings()
    policy = read_policy(settings.policy_file)
    start = start_of(first_readable_day(clock()(), policy))
    if days is not None:
        start = max(start, start_of(clock().today() - timedelta(days=days - 1)))
    warehouse = open_warehouse(settings, policy.bigquery)
    report = read_gaps(settings.source_url, policy, warehouse, start, source_now=clock().fixed_at)
    if as_json:
        print_json(_gap_figures(report))
    else:
        _print_gaps(report)
    if report.compared_nothing or not report.is_empty:
        raise typer.Exit(FAILED)


def _gap_figures(report: GapReport) -> dict[str, Any]:
    return {
        "start": report.start,
        "end": report.end,
        "days": {day.isoformat(): asdict(counts) for day, counts in report.days.items()},
        "hours": {hour.isoformat(): asdict(counts) for hour, counts in report.hours.items()},
        "outside": asdict(report.outside) if report.outside else None,
        "everything": asdict(report.everything) if report.everything else None,
        "untold": report.limitation,
        "compared_rows": report.compared_rows,
    }


def _print_gaps(report: GapReport) -> None:
    span = f"{format_value(report.start)} to {format_value(report.end)}"
    if report.limitation:
        err.print(report.limitation)
    if report.compared_nothing:
        out.print(
            f"nothing was compared: neither the source nor the warehouse has a row from {span}; "
            "run `audit sync`, and check that AI_AUDIT_SOURCE_URL names the right database"
        )
        return
    if report.is_empty:
        out.print(f"no gaps from {span}: every source row is loaded or rejected")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("UTC")
    for heading in ("source", "loaded", "rejected", "missing"):
        table.add_column(heading, justify="right")

    def row(name: str, counts: Counts, style: str = "") -> None:
        figures = (counts.source, counts.loaded, counts.rejected, counts.missing)
        table.add_row(name, *(f"{figure:,}" for figure in figures), style=style)

    for day, counts in report.days.items():
        row(str(day), counts, "bold")
        for hour, hour_counts in report.hours.items():
            if hour.date() == day:
                row(f"  {hour:%H}:00", hour_counts)
    for name, counts in (("outside all days", report.outside), ("everything", report.everything)):
        if counts is not None:
            row(name, counts, "bold")
    out.print(table)
    err.print("`audit build --from DAY --to DAY` or a backfill in the UI reads these days again")


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
        raise WindowError(f"--since {text}: has no time zone; add Z for UTC, or an offset as -08:00")
    return moment.astimezone(UTC)


def _lookback(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise WindowError(f"--lookback: {error}") from None
