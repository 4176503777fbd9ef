"""`audit --now`: the time a command takes as now."""

from datetime import datetime
from typing import Annotated

import click
import typer

from audit_assets.clock import Clock, fixed_clock


def use_clock(
    context: typer.Context,
    at: Annotated[
        str | None,
        typer.Option(
            "--now",
            metavar="INSTANT",
            help="Time the command takes as now, as 2026-11-25T08:06:00Z, for reproducible demos and tests. Processes "
            "that the command serves use the real clock.",
        ),
    ] = None,
) -> None:
    """See what an AI copilot does, from its audit log. Times are UTC unless noted otherwise."""
    try:
        context.obj = fixed_clock(at)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write it as 2026-11-25T08:06:00Z", param_hint="--now") from None


def clock() -> Clock:
    """The clock of the running command. Outside a command, the system clock."""
    context = click.get_current_context(silent=True)
    return context.find_object(Clock) or Clock() if context else Clock()


def now_utc() -> datetime:
    """The current time (UTC) of that clock."""
    return clock()()
