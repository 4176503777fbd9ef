"""Formats figures as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from benchmarks.figure import Figure
from benchmarks.machine import Machine

_STYLES = {"reached": "green", "missed": "bold red", "skipped": "yellow", "no aim": "dim"}


def table_of(figures: Mapping[str, Sequence[Figure]], quick: bool) -> Table:
    """One row per figure, one section per benchmark."""
    table = Table(title="Small sizes: the figures only show that it runs" if quick else None, title_style="yellow")
    table.add_column("figure")
    table.add_column("aim", justify="right")
    table.add_column("value", justify="right")
    table.add_column("result")
    table.add_column("how", overflow="fold", style="dim")
    for name, taken in figures.items():
        table.add_row(Text(name, style="bold"))
        for figure in taken:
            table.add_row(
                f"  {figure.name}",
                f"{figure.aim} {figure.unit}" if figure.aim else "",
                "" if figure.value is None else f"{_format_value(figure.value)} {figure.unit}",
                Text(figure.result, style=_STYLES[figure.result]),
                Text(figure.detail),
            )
        table.add_section()
    return table


def as_json(machine: Machine, quick: bool, figures: Mapping[str, Sequence[Figure]]) -> str:
    """The figures as JSON. Times are ISO 8601 in UTC."""
    document = {
        "machine": asdict(machine) | {"measured_at": machine.measured_at.isoformat(timespec="seconds")},
        "quick": quick,
        "benchmarks": {
            name: [asdict(figure) | {"verdict": figure.result} for figure in taken] for name, taken in figures.items()
        },
    }
    return json.dumps(document, indent=2) + "\n"


def _format_value(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2f}"
