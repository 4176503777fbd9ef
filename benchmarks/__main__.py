"""`python -m benchmarks`: runs the selected benchmarks and prints a table. Exits 1 if one could not be measured."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks import (
    alert_delivery,
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
        "alert_delivery": lambda: alert_delivery.measure(quick),
        "paging": lambda: paging.measure(paging.QUICK if quick else paging.FULL),
        "dashboards": lambda: dashboards.measure(dashboards.QUICK if quick else dashboards.FULL),
        "demo": lambda: demo.measure(demo.QUICK if quick else demo.FULL),
        "freshness": lambda: freshness.measure(steady),
        "backfill": lambda: freshness.measure(freshness.QUICK_BACKFILL if quick else freshness.BACKFILL),
    }


def main() -> None:
    names = list(_benchmarks(quick=False, hour=False))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="Run only this benchmark; repeatable.")
    parser.add_argument("--quick", action="store_true", help="Small sizes that take minutes, to test that it runs.")
    parser.add_argument("--hour", action="store_true", help="Run freshness for an hour and measure disk growth.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Also write the figures to this file.")
    options = parser.parse_args()
    output, progress = Console(highlight=False), Console(stderr=True, highlight=False)
    if not output.is_terminal:
        output.width = 160
    machine = this_machine()
    if machine.load > 0.5:
        progress.print(f"[yellow]the machine is not idle (load {machine.load:.1f}): the figures will be worse[/]")
    taken: dict[str, tuple[Figure, ...]] = {}
    failed = False
    for name, measured in _benchmarks(options.quick, options.hour).items():
        if options.only and name not in options.only:
            continue
        progress.print(f"{name} …")
        try:
            taken[name] = measured()
        except BenchmarkError as error:  # shown in the table; the other benchmarks still run
            failed = True
            taken[name] = (Figure("not measured", None, "", detail=str(error).splitlines()[-1]),)
            progress.print(str(error), style="red", markup=False)
    output.print(str(machine), markup=False)
    output.print(table_of(taken, options.quick))
    if options.json:
        options.json.write_text(as_json(machine, options.quick, taken))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
