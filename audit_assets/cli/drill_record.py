"""`audit alerts drills`: the recorded outcomes of drills, on the terminal and in the documentation."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy import select

from audit_assets.alerting.ledger.tables import drills, open_ledger
from audit_assets.cli.output import AsJson, err, format_value, out, print_json
from audit_assets.ingest.windows import WindowError
from audit_assets.settings import PROJECT_ROOT, read_settings

PAGE = PROJECT_ROOT / "docs" / "ai-audit-observability.md"
_BEGIN, _END = "<!-- drills -->\n", "<!-- /drills -->"


def list_drills(
    write: Annotated[
        bool, typer.Option("--write", help=f"Write the latest outcome of each drill to docs/{PAGE.name}.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the outcomes of drills, newest first: how long until the check failed, and until it recovered."""
    with open_ledger(read_settings().ledger_url) as ledger, ledger.transaction() as connection:
        rows = connection.execute(select(drills).order_by(drills.c.began_at.desc(), drills.c.id)).all()
    if write:
        PAGE.write_text(page_with(PAGE.read_text(), rows))
        err.print(f"written to docs/{PAGE.name}")
    if as_json:
        print_json({"drills": [dict(row._mapping) for row in rows]})  # pyright: ignore[reportPrivateUsage]
        return
    if not rows:
        out.print("No drill has been recorded yet; run `audit simulate spike`.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("began", "drill", "rule", "detected", "recovered", "notified", "outcome"):
        table.add_column(heading)
    for row in rows:
        outcome = "[green]passed[/]" if row.passed else "[bold red]failed[/]"
        spans = (_seconds(row.detected_after_seconds), _seconds(row.recovered_after_seconds))
        table.add_row(format_value(row.began_at), row.drill, row.rule_id, *spans, str(row.told), outcome)
    out.print(table)


def page_with(page: str, rows: Any) -> str:
    """`page` with the latest outcome of each drill between its markers. Raises WindowError if a marker is missing."""
    if _BEGIN not in page or _END not in page:
        raise WindowError(f"docs/{PAGE.name}: lacks the markers `<!-- drills -->` and `<!-- /drills -->`")
    newest: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: row.began_at):
        newest[row.drill] = row
    lines = [
        "| drill | date (UTC) | rule | detected | recovered | notified | outcome | runbook |",
        "|---|---|---|---:|---:|---:|---|---|",
    ]
    for row in sorted(newest.values(), key=lambda row: row.drill):
        began: datetime = row.began_at
        link = f"[{row.rule_id}](INGESTION_WORKFLOW.md#{row.rule_id})"
        spans = f"{_seconds(row.detected_after_seconds)} | {_seconds(row.recovered_after_seconds)}"
        outcome = "passed" if row.passed else "failed"
        lines.append(
            f"| {row.drill} | {began:%Y-%m-%d %H:%M} | `{row.rule_id}` | {spans} | {row.told} | {outcome} | {link} |"
        )
    table = "\n".join(lines) + "\n" if newest else "No drill has been recorded yet.\n"
    head, rest = page.split(_BEGIN, 1)
    return f"{head}{_BEGIN}{table}{_END}{rest.split(_END, 1)[1]}"


def _seconds(took: float | None) -> str:
    return "no" if took is None else f"{took:.0f} s"
