"""`audit source`, `audit load`, `audit simulate`: the embedded Postgres, and rows in it."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from audit_assets.cli.screen import AsJson, counting, err, figures_table, out, print_json
from audit_assets.ingest.policy import read_policy
from audit_assets.settings import Settings, SettingsError, read_settings
from audit_assets.simulate import postgres
from audit_assets.simulate.load import load_file
from audit_assets.simulate.tables import place
from audit_assets.simulate.traffic import first_instant, traffic
from audit_assets.simulate.writing import live, write, write_world

source_app = typer.Typer(help="The embedded Postgres, for trying things out.", no_args_is_help=True)
simulate_app = typer.Typer(help="Made rows in the source.", no_args_is_help=True)


def started(settings: Settings) -> str:
    """The source's URL; the embedded Postgres is started where no other source is configured."""
    if settings.configured_source_url is None:
        postgres.start(settings.postgres_folder, lambda line: err.print(line))
    return settings.source_url


@source_app.command("start")
def start() -> None:
    """Start it (or find it running) and say where it is."""
    settings = read_settings()
    if settings.configured_source_url is not None:
        raise SettingsError("AI_AUDIT_SOURCE_URL names a source already; unset it to use the embedded Postgres")
    out.print(
        f"the embedded Postgres answers at {place(started(settings))}; its address is in {settings.postgres_folder}/url"
    )


@source_app.command("stop")
def stop() -> None:
    """Stop it; its data stay."""
    stopped = postgres.stop(read_settings().postgres_folder)
    out.print("stopped" if stopped else "it was not running")


@source_app.command("remove")
def remove() -> None:
    """Stop it and delete its data."""
    removed = postgres.remove(read_settings().postgres_folder)
    out.print("removed" if removed else "there was nothing to remove")


def load(
    file: Annotated[Path, typer.Argument(help="A Parquet file with the columns of ai_audit_logs.")],
    write_to_source: Annotated[
        bool, typer.Option("--write-to-source", help="Needed where AI_AUDIT_SOURCE_URL names the source.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a file's rows into the source. Rows that the table cannot hold are refused one by one and counted."""
    settings = read_settings()
    url = writable(settings, write_to_source)
    naive = read_policy(settings.policy_file).naive_timezone
    with counting("rows read") as advance:
        report = load_file(url, file, advance, naive)
    rejected = {line.reason: line.rows for line in report.rejected}
    figures = {"read": report.read, "loaded": report.loaded, "rejected": sum(rejected.values())}
    if as_json:
        print_json(figures | {"rejected_by_reason": rejected})
    else:
        out.print(figures_table(figures | {f"  {reason}": rows for reason, rows in rejected.items()}))


@simulate_app.command("traffic")
def simulate_traffic(
    days: Annotated[int, typer.Option(min=1, max=1100, help="UTC days of history, ending now.")] = 60,
    rows_per_day: Annotated[int, typer.Option(min=10, help="Rows of an average day.")] = 8000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 1,
    anomaly: Annotated[bool, typer.Option(help="End with a spike and a surge of errors.")] = True,
    as_live: Annotated[bool, typer.Option("--live", help="Go on inserting rows until stopped.")] = False,
    rate: Annotated[float, typer.Option(min=0.01, max=5000, help="Rows a second, with --live.")] = 2.0,
    write_to_source: Annotated[
        bool, typer.Option("--write-to-source", help="Needed where AI_AUDIT_SOURCE_URL names the source.")
    ] = False,
) -> None:
    """Believable made traffic, for trying things out; never for scoring rules."""
    url = writable(read_settings(), write_to_source)
    if as_live:
        ended = False

        def end(*_: object) -> None:
            nonlocal ended
            ended = True

        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        err.print(f"inserting {rate:g} rows a second; Ctrl-C ends it")
        out.print(f"{live(url, rate, seed, lambda: ended):,} rows inserted")
        return
    out.print(f"{make_traffic(url, days, rows_per_day, seed, anomaly):,} rows inserted")


def make_traffic(url: str, days: int, rows_per_day: int, seed: int, anomaly: bool) -> int:
    """Fills the source with made history that ends now; how many rows are new."""
    now = datetime.now(UTC)
    write_world(url, seed, first_instant(now, days), now)
    with counting("rows", days * rows_per_day) as advance:
        return write(url, traffic(seed, now, days, rows_per_day, anomaly), advance)


def writable(settings: Settings, allowed: bool) -> str:
    """Made rows go into a database we started, unless told otherwise."""
    if settings.configured_source_url is not None and not allowed:
        raise SettingsError(
            "AI_AUDIT_SOURCE_URL names a source that is not ours to fill; "
            "unset it to use the embedded Postgres, or say --write-to-source"
        )
    return started(settings)
