"""`python -m benchmarks`: runs what is asked for and prints the table. Exits 1 where one could not be measured."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks import (
    bigquery,
    dashboards,
    demo,
    detection,
    error_rule,
    freshness,
    ingest,
    judging,
    microbatch,
    paging,
    rebuild,
    telling,
)
from benchmarks.figure import BenchmarkError, Figure
from benchmarks.machine import this_machine
from benchmarks.report import as_json, table_of

Measured = Callable[[], tuple[Figure, ...]]


def _benchmarks(quick: bool, hour: bool) -> Mapping[str, Measured]:
    steady = freshness.HOUR if hour else freshness.QUICK if quick else freshness.FULL
    return {
        "ingest": lambda: ingest.measure(ingest.QUICK if quick else ingest.FULL),
        "rebuild": lambda: rebuild.measure(rebuild.QUICK if quick else rebuild.FULL),
        "microbatch": lambda: microbatch.measure(microbatch.QUICK if quick else microbatch.FULL),
        "bigquery": lambda: bigquery.measure(bigquery.QUICK if quick else bigquery.FULL),
        "detection": detection.measure,
        "error_rule": lambda: error_rule.measure(error_rule.QUICK if quick else error_rule.FULL),
        "judging": lambda: judging.measure(judging.QUICK if quick else judging.FULL),
        "telling": lambda: telling.measure(quick),
        "paging": lambda: paging.measure(paging.QUICK if quick else paging.FULL),
        "dashboards": lambda: dashboards.measure(dashboards.QUICK if quick else dashboards.FULL),
        "demo": lambda: demo.measure(demo.QUICK if quick else demo.FULL),
        "freshness": lambda: freshness.measure(steady),
        "backfill": lambda: freshness.measure(freshness.QUICK_BACKFILL if quick else freshness.BACKFILL),
    }


def main() -> None:
    names = list(_benchmarks(quick=False, hour=False))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="This one; give it again for more than one.")
    parser.add_argument("--quick", action="store_true", help="Small sizes: minutes, to see that it runs.")
    parser.add_argument("--hour", action="store_true", help="The freshness run for an hour, with the disk's growth.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the figures there as well.")
    asked = parser.parse_args()
    screen, progress = Console(highlight=False), Console(stderr=True, highlight=False)
    if not screen.is_terminal:
        screen.width = 160
    machine = this_machine()
    if machine.load > 0.5:
        progress.print(f"[yellow]the machine is not idle (load {machine.load:.1f}): the figures will be worse[/]")
    taken: dict[str, tuple[Figure, ...]] = {}
    failed = False
    for name, measured in _benchmarks(asked.quick, asked.hour).items():
        if asked.only and name not in asked.only:
            continue
        progress.print(f"{name} …")
        try:
            taken[name] = measured()
        except BenchmarkError as error:  # told in the table; the others are measured all the same
            failed = True
            taken[name] = (Figure("not measured", None, "", detail=str(error).splitlines()[-1]),)
            progress.print(str(error), style="red", markup=False)
    screen.print(str(machine), markup=False)
    screen.print(table_of(taken, asked.quick))
    if asked.json:
        asked.json.write_text(as_json(machine, asked.quick, taken))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
