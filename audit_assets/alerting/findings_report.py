"""Findings rendered for a terminal: what fires, by how much, since when, and what to do next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.links import Links
from audit_assets.alerting.notify import formatting
from audit_assets.rules.episode import Finding
from audit_assets.rules.judge import Failure, RuleOutcome, RuleResult
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.text.sanitize import escape

LISTED = 10  # findings listed per message, worst first; the rest is counted

_ERROR_COLOR = "#DC2626"


@dataclass(frozen=True, slots=True)
class BarRow:
    """Lines with a colored bar on the left. Links are not wrapped, so that they can be clicked and copied."""

    parts: tuple[RenderableType, ...]
    color: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bar = Segment("| " if options.ascii_only else "▌ ", Style(color=self.color))
        inner = options.update(width=max(options.max_width - 2, 20))
        for part in self.parts:
            if isinstance(part, Text) and part.no_wrap:
                lines = [list(part.render(console))]
            else:
                lines = console.render_lines(part, inner, pad=False)
            for line in lines:
                yield bar
                yield from line
                yield Segment.line()


def print_findings(
    console: Console, results: Sequence[RuleOutcome], rule_set: RuleSet, links: Links, now: datetime
) -> None:
    """Writes the findings, the rules whose evaluation failed, and a summary line.

    A character that the output's encoding does not have (an ASCII log) is written as an escape: no message is lost.
    """
    print_uncropped(console, render_results(results, rule_set, links, now))


def print_uncropped(console: Console, message: RenderableType) -> None:
    """Writes `message` without cutting lines longer than the console. A character that the output's encoding does not
    have is written as an escape."""
    encoding = console.encoding
    if encoding.startswith("utf"):
        console.print(message, crop=False)
        return
    with console.capture() as captured:
        console.print(message, crop=False)
    console.file.write(captured.get().encode(encoding, "backslashreplace").decode(encoding))
    console.file.flush()


def render_results(results: Sequence[RuleOutcome], rule_set: RuleSet, links: Links, now: datetime) -> RenderableType:
    """One message per rule and firing window, one per failed rule, and a summary line."""
    parts: list[RenderableType] = []
    for result in results:
        if isinstance(result, Failure):
            parts += [_failure(result), ""]
            continue
        rule = rule_set.rule(result.rule_id)
        if rule is None:
            raise ValueError(f"{result.rule_id} was evaluated, but is not among the rules")
        if result.not_ready:
            continue
        for _, together in groupby(_by_window(result.findings), key=lambda finding: finding.window_start):
            parts += [render_findings(rule, tuple(together), links, now), ""]
    return Group(*parts, _summary(results, now))


def render_findings(rule: Rule, findings: tuple[Finding, ...], links: Links, now: datetime) -> RenderableType:
    """The findings of one rule in one window, worst first, as one message."""
    worst = findings[0]
    title = Text.assemble((rule.title, "bold"), "  ", (rule.severity.upper(), Style(color=rule.colour)))
    parts: list[RenderableType] = [title, Text.assemble((_name(rule, worst), "bold"), ": ", _how_much(rule, worst))]
    if len(findings) > 1:
        parts.append(_others(rule, findings[1:]))
    facts = _labelled(
        [
            ("Window", Text(formatting.window(worst.window_start, worst.window_end, now))),
            ("Limit", Text(_limit(rule, worst))),
        ]
    )
    steps = [
        ("Dashboard", links.dashboard(worst.dimension("capability"))),
        ("Runbook", links.runbook(rule.runbook)),
    ]
    return BarRow((*parts, *facts, *_labelled([(label, Text(link)) for label, link in steps if link])), rule.colour)


def _by_window(findings: Iterable[Finding]) -> list[Finding]:
    """The newest window first; within a window in the given order, worst first."""
    return sorted(findings, key=lambda finding: finding.window_start, reverse=True)


def _name(rule: Rule, finding: Finding) -> str:
    names = formatting.subject(rule, finding)
    aside = finding.environment not in (None, "live")
    return f"{formatting.DRILL}{names}" if aside else names


def _how_much(rule: Rule, finding: Finding) -> Text:
    delta = formatting.delta(finding)
    return Text.assemble(formatting.how_much(rule, finding), *(["  ", (delta, "bold")] if delta else []))


def _others(rule: Rule, findings: tuple[Finding, ...]) -> RenderableType:
    """The findings after the worst one, as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    table.add_column("also", overflow="fold")
    columns = ("value", "usual", "delta") if rule.form.baseline is not None else ("value",)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for finding in findings[: LISTED - 1]:
        unit = rule.form.unit
        figures = (formatting.figure(finding.value, unit), formatting.figure(finding.baseline, unit))
        cells = (*figures, formatting.delta(finding))
        table.add_row(Text(_name(rule, finding)), *cells[: len(columns)])
    if len(findings) > LISTED - 1:
        table.add_row(f"and {len(findings) - LISTED + 1} more")
    return table


def _limit(rule: Rule, finding: Finding) -> str:
    return (
        f"{formatting.figure(finding.threshold, rule.form.unit)}  ({formatting.condition_of(rule, finding).fires_when})"
    )


def _labelled(pairs: list[tuple[str, Text]]) -> Iterator[Text]:
    for label, text in pairs:
        line = Text.assemble((f"{label:<10}", "dim"), text)
        line.no_wrap = True
        yield line


def _failure(failure: Failure) -> RenderableType:
    title = Text.assemble((f"{escape(failure.rule_id)} cannot be evaluated", "bold"), "  ", ("ERROR", _ERROR_COLOR))
    lines = [Text(escape(line, longest=400)) for line in failure.message.splitlines()]
    return BarRow((title, *lines), _ERROR_COLOR)


def _summary(results: Sequence[RuleOutcome], now: datetime) -> Text:
    """The summary line; the only output if nothing fires and nothing failed."""
    evaluated = [result for result in results if isinstance(result, RuleResult)]
    ready = [result for result in evaluated if not result.not_ready]
    findings = sum(len(result.findings) for result in ready)
    failed = len(results) - len(evaluated)
    without_data = sum(result.unjudgeable for result in evaluated)
    suppressed = sum(result.suppressed for result in evaluated)
    rows = sum(result.judged for result in evaluated)
    text = formatting.counted(findings, "finding") if findings else "Nothing fires"
    text += f": {formatting.counted(len(evaluated), 'rule')} over {formatting.counted(rows, 'row')}"
    text += f", {without_data:,} without enough data" if without_data else ""
    without_rows = sum(not result.has_facts for result in evaluated)
    text += f", {formatting.counted(without_rows, 'rule')} without rows" if without_rows else ""
    text += f", {suppressed:,} suppressed by a gate" if suppressed else ""
    text += (
        f", {formatting.counted(len(evaluated) - len(ready), 'rule')} not ready" if len(ready) < len(evaluated) else ""
    )
    text += f", {formatting.counted(failed, 'rule')} failed" if failed else ""
    text += f"; {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return Text(text, style="" if findings or failed else "dim", no_wrap=True, overflow="ignore")
