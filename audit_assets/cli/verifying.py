"""`audit verify-kpis`: each tile against its proof query."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.cli.screen import FAILED, AsJson, counting, err, out, print_json
from audit_assets.dashboards.load import load_definition
from audit_assets.dashboards.proofs import load_proofs
from audit_assets.dashboards.reader import Reader, SnapshotReader
from audit_assets.dashboards.scope import DAY, LONGEST_DAYS
from audit_assets.dashboards.serving import make_reader
from audit_assets.dashboards.verify import Compared, cases, scopes_to_check, verify
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.spelling import did_you_mean
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.snapshot import publish

_DAY = "%Y-%m-%d"

# How far before its range a tile looks at the most: trailing 14 days, compared with as many before.
_READ_BEFORE = 28
_MOST_ROWS = 5_000_000


@dataclass(frozen=True)
class Verdict:
    """A tile, or the numbers of a mart, over all scopes it was checked in. `agrees` is None where nothing could be."""

    id: str
    title: str
    agrees: bool | None
    checks: tuple[Compared, ...]

    @property
    def told(self) -> Compared:
        """The scope to show: the first that differs, else the first."""
        return next((check for check in self.checks if check.agrees is False), self.checks[0])


def verify_kpis(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=[_DAY], help="First UTC day. Default: several ranges.")
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=[_DAY], help="Last UTC day. Default: today.")] = None,
    tiles: Annotated[
        list[str] | None, typer.Option("--tile", help="A tile or mart, as T05; may be given again. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare each tile with a recount of raw rows, under ranges and filters. Exits 1 where they differ."""
    settings, now = read_settings(), datetime.now(UTC)
    definition = load_definition(settings.dashboards_folder)
    proofs = load_proofs(settings.dashboards_folder, definition)
    only = _known(tiles or [], [case.id for case in cases(definition, proofs)])
    days = _days(first, last, now.date())
    found: list[Compared] = []
    with _readers(settings, now, days) as (reader, raw):
        scopes = scopes_to_check(proofs, raw, now, days)
        with counting("comparing", None) as more:
            for compared in verify(definition, proofs, reader, scopes, only, raw):
                found.append(compared)
                more(1)
    verdicts = _verdicts(found)
    differing = [one for one in verdicts if one.agrees is False]
    missing = [one for one in verdicts if one.agrees is None]
    if as_json:
        print_json(_figures(verdicts, now))
    else:
        out.print(_table(verdicts))
        for one in verdicts:
            if one.told.note:
                out.print(f"{one.id}: {one.told.note}", markup=False, soft_wrap=True)
        for check in (check for one in differing for check in one.checks if check.agrees is False):
            out.print(f"{check.id}, {check.scope}: shown {check.shown}; raw {check.raw}", markup=False, soft_wrap=True)
        for one in missing:
            out.print(f"{one.id} was not compared: {one.told.missing}", markup=False, soft_wrap=True)
        checked = sum(check.agrees is not None for check in found)
        said = f"{len(differing)} differ from raw" if differing else "what could be compared agrees with raw"
        err.print(f"{checked} comparisons of {len(verdicts)} tiles and marts: {said}", soft_wrap=True)
    if differing:
        raise typer.Exit(FAILED)


@contextmanager
def _readers(settings: Settings, now: datetime, days: tuple[date, date] | None) -> Generator[tuple[Reader, Reader]]:
    """What the pages read, and raw rows for the proofs: the snapshot has both. From BigQuery rows are brought here, so
    that they are counted by another engine than the one that made the marts; batches wait meanwhile."""
    if settings.engine == "duckdb":
        reader = SnapshotReader(settings.snapshot_folder)
        yield reader, reader
        return
    warehouse = BigQueryWarehouse(settings, read_policy(settings.policy_file).bigquery)
    first, last = days or (now.date() - (LONGEST_DAYS - 1) * DAY, now.date())
    first -= _READ_BEFORE * DAY
    with warehouse.whole_keeper("audit verify-kpis") as keeper, TemporaryDirectory(prefix="audit-proofs-") as folder:
        ((rows,),) = keeper.fetch(
            "select coalesce(sum(interaction_count), 0) from analytics.ai_audit_daily"
            f" where date between date '{first.isoformat()}' and date '{last.isoformat()}'"
        )
        if rows > _MOST_ROWS:
            raise WindowError(
                f"{rows:,} interactions from {first} on would have to be brought here, {_MOST_ROWS:,} are the most: "
                "name fewer days with --from and --to"
            )
        publish(keeper, Path(folder), now, days=(first, last))
        yield make_reader(settings), SnapshotReader(Path(folder))


def _verdicts(found: list[Compared]) -> tuple[Verdict, ...]:
    verdicts: list[Verdict] = []
    for name, group in groupby(found, key=lambda compared: compared.id):
        checks = tuple(group)
        agreed = [check.agrees for check in checks if check.agrees is not None]
        verdicts.append(Verdict(name, checks[0].title, all(agreed) if agreed else None, checks))
    return tuple(verdicts)


def _figures(verdicts: tuple[Verdict, ...], now: datetime) -> dict[str, Any]:
    return {
        "as_of": now,
        "agree": all(one.agrees is not False for one in verdicts),
        "differing": [one.id for one in verdicts if one.agrees is False],
        "not_published": [one.id for one in verdicts if one.agrees is None],
        "tiles": [
            {
                "id": one.id,
                "title": one.title,
                "agrees": one.agrees,
                "note": one.told.note,
                "scopes": [
                    {name: value for name, value in asdict(check).items() if name not in ("id", "title", "note")}
                    for check in one.checks
                ],
            }
            for one in verdicts
        ],
    }


def _table(verdicts: tuple[Verdict, ...]) -> Table:
    """What raw says is left to the lines below it, where it is something else."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("tile", "title", "scopes", "shown", "agrees"):
        table.add_column(heading, justify="right" if heading == "scopes" else "left", overflow="fold")
    marks = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("not published", "yellow")}
    for one in verdicts:
        told = one.told
        cells = (one.id, one.title, str(len(one.checks)), told.shown)
        table.add_row(*map(Text, cells), marks[one.agrees])
    return table


def _days(first: datetime | None, last: datetime | None, today: date) -> tuple[date, date] | None:
    """The days asked for. Raises WindowError where they are not in order or lie ahead."""
    if first is None and last is None:
        return None
    end = last.date() if last else today
    start = first.date() if first else end
    if not start <= end <= today:
        raise WindowError(f"--from {start} --to {end}: give two days in order, up to {today} (UTC)")
    return start, end


def _known(asked: list[str], ids: list[str]) -> list[str]:
    for name in asked:
        if name not in ids:
            raise WindowError(f"{name}: no tile and no mart with a proof{did_you_mean(name, ids)}")
    return asked
