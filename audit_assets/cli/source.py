"""`audit source`, `audit load`, `audit simulate`: the embedded Postgres, and rows in the source."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from audit_assets.cli.clock import now_utc
from audit_assets.cli.output import AsJson, counting, err, figures_table, out, print_json
from audit_assets.demo import postgres
from audit_assets.demo.load import load_file
from audit_assets.demo.source_tables import server_address
from audit_assets.demo.traffic import first_instant, traffic
from audit_assets.demo.writing import live, write, write_population
from audit_assets.ingest.policy import read_policy
from audit_assets.settings import Settings, SettingsError, read_settings

source_app = typer.Typer(help="The embedded Postgres, for demos and development.", no_args_is_help=True)
simulate_app = typer.Typer(help="Synthetic rows in the source.", no_args_is_help=True)


def start_source(settings: Settings) -> str:
    """The source's URL. Starts the embedded Postgres if no other source is configured."""
    if settings.configured_source_url is None:
        postgres.start(settings.postgres_folder, lambda line: err.print(line))
    return settings.source_url


@source_app.command("start")
def start() -> None:
    """Start it unless it runs, and print its address."""
    settings = read_settings()
    if settings.configured_source_url is not None:
        raise SettingsError("AI_AUDIT_SOURCE_URL is set; unset it to use the embedded Postgres")
    address = server_address(start_source(settings))
    out.print(f"the embedded Postgres runs at {address}; its URL is in {settings.postgres_folder}/url")


@source_app.command("stop")
def stop() -> None:
    """Stop it and keep its data."""
    stopped = postgres.stop(read_settings().postgres_folder)
    out.print("stopped" if stopped else "not running")


@source_app.command("remove")
def remove() -> None:
    """Stop it and delete its data."""
    removed = postgres.remove(read_settings().postgres_folder)
    out.print("removed" if removed else "nothing to remove")


def load(
    file: Annotated[Path, typer.Argument(help="A Parquet file with the columns of ai_audit_logs.")],
    write_to_source: Annotated[
        bool, typer.Option("--write-to-source", help="Required if AI_AUDIT_SOURCE_URL is set.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load a file's rows into the source. Rows that the table cannot store are rejected one by one and counted."""
    settings = read_settings()
    url = writable_source_url(settings, write_to_source)
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
    rows_per_day: Annotated[int, typer.Option(min=10, help="Average number of rows per day.")] = 8000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 1,
    anomaly: Annotated[bool, typer.Option(help="End with a spike and a surge of errors.")] = True,
    as_live: Annotated[bool, typer.Option("--live", help="Insert live rows until stopped.")] = False,
    rate: Annotated[float, typer.Option(min=0.01, max=5000, help="Rows per second, with --live.")] = 2.0,
    write_to_source: Annotated[
        bool, typer.Option("--write-to-source", help="Required if AI_AUDIT_SOURCE_URL is set.")
    ] = False,
) -> None:
    """Generate realistic synthetic traffic for demos and development. Do not use it to score rules."""
    url = writable_source_url(read_settings(), write_to_source)
    if as_live:
        ended = False

        def end(*_: object) -> None:
            nonlocal ended
            ended = True

        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        err.print(f"inserting {rate:g} rows per second; Ctrl-C stops")
        out.print(f"{live(url, rate, seed, lambda: ended):,} rows inserted")
        return
    out.print(f"{make_traffic(url, days, rows_per_day, seed, anomaly):,} rows inserted")


def make_traffic(url: str, days: int, rows_per_day: int, seed: int, anomaly: bool) -> int:
    """Fills the source with synthetic history that ends now. Returns the number of new rows."""
    now = now_utc()
    write_population(url, seed, first_instant(now, days), now)
    with counting("rows", days * rows_per_day) as advance:
        return write(url, traffic(seed, now, days, rows_per_day, anomaly), advance)


def writable_source_url(settings: Settings, allowed: bool) -> str:
    """The URL of a source that synthetic rows may be written to: the embedded one, which is started, or the configured
    one if `allowed`. Raises SettingsError otherwise."""
    if settings.configured_source_url is not None and not allowed:
        raise SettingsError(
            "AI_AUDIT_SOURCE_URL is set, and writing to that source needs --write-to-source; "
            "add the option, or unset the variable to use the embedded Postgres"
        )
    return start_source(settings)
