"""Output of commands: results on stdout, progress and errors on stderr, one line and an exit code for a failure."""

import json
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

FAILED, WRONG_USAGE = 1, 2

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def print_json(figures: Mapping[str, Any]) -> None:
    """Prints one JSON object on stdout. Times are ISO 8601 in UTC."""
    sys.stdout.write(json.dumps(figures, default=_as_text) + "\n")


def _as_text(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def figures_table(figures: Mapping[str, Any]) -> Table:
    """A table with one row per figure: its name and its formatted value."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in figures.items():
        table.add_row(name, Text(format_value(value)))  # no markup: an external value may contain rich tags
    return table


def format_value(value: object) -> str:
    """`value` as text for people: "not known" for None, times with "UTC", thousands separated."""
    if value is None:
        return "not known"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


@contextmanager
def counting(what: str, total: int | None = None) -> Generator[Callable[[int], None]]:
    """Shows a progress bar on a terminal, nothing elsewhere. Yields a function that advances it by a number."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)
