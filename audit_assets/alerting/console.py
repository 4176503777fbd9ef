"""Findings as a person reads them on a terminal at night: what, how much, since when, what next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from audit_assets.alerting import wording
from audit_assets.alerting.links import Links
from audit_assets.alerting.outside_text import shown
from audit_assets.rules.episode import Finding
from audit_assets.rules.judge import Failure, Judgement, Verdict
from audit_assets.rules.model import Rule, RuleSet

LISTED = 10  # the worst so many of a message; the rest is counted

_TROUBLE = "#DC2626"


@dataclass(frozen=True, slots=True)
class Barred:
    """Lines with a bar of one colour to their left. Links stay whole, to be clicked and copied."""

    parts: tuple[RenderableType, ...]
    colour: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bar = Segment("| " if options.ascii_only else "▌ ", Style(color=self.colour))
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
    console: Console, verdicts: Sequence[Verdict], rule_set: RuleSet, links: Links, now: datetime
) -> None:
    """Writes what fires, what could not judge, and one quiet line where all is well.

    Where the output cannot hold a character (an ASCII log), it is written as an escape: no message is lost.
    """
    print_whole(console, render_verdicts(verdicts, rule_set, links, now))


def print_whole(console: Console, message: RenderableType) -> None:
    """Writes `message` as it is, lines longer than the console included; what the output cannot hold as an escape."""
    encoding = console.encoding
    if encoding.startswith("utf"):
        console.print(message, crop=False)
        return
    with console.capture() as captured:
        console.print(message, crop=False)
    console.file.write(captured.get().encode(encoding, "backslashreplace").decode(encoding))
    console.file.flush()


def render_verdicts(verdicts: Sequence[Verdict], rule_set: RuleSet, links: Links, now: datetime) -> RenderableType:
    """One message a rule and window that fires, one a rule that failed, and a line that sums up."""
    parts: list[RenderableType] = []
    for verdict in verdicts:
        if isinstance(verdict, Failure):
            parts += [_failure(verdict), ""]
            continue
        rule = rule_set.rule(verdict.rule_id)
        if rule is None:
            raise ValueError(f"{verdict.rule_id} was judged, but is not among the rules")
        if verdict.not_ready:
            continue
        for _, together in groupby(_by_window(verdict.findings), key=lambda finding: finding.window_start):
            parts += [render_findings(rule, tuple(together), links, now), ""]
    return Group(*parts, _summary(verdicts, now))


def render_findings(rule: Rule, findings: tuple[Finding, ...], links: Links, now: datetime) -> RenderableType:
    """The findings of one rule in one window, worst first, as one message."""
    worst = findings[0]
    title = Text.assemble((rule.title, "bold"), "  ", (rule.severity.upper(), Style(color=rule.colour)))
    parts: list[RenderableType] = [title, Text.assemble((_name(rule, worst), "bold"), ": ", _how_much(rule, worst))]
    if len(findings) > 1:
        parts.append(_others(rule, findings[1:]))
    facts = _labelled(
        [
            ("Window", Text(wording.window(worst.window_start, worst.window_end, now))),
            ("Limit", Text(_limit(rule, worst))),
        ]
    )
    steps = [
        ("Dashboard", links.dashboard(worst.dimension("capability"))),
        ("Runbook", links.runbook(rule.runbook)),
    ]
    return Barred((*parts, *facts, *_labelled([(label, Text(link)) for label, link in steps if link])), rule.colour)


def _by_window(findings: Iterable[Finding]) -> list[Finding]:
    """The newest window first; within it as they came, worst first."""
    return sorted(findings, key=lambda finding: finding.window_start, reverse=True)


def _name(rule: Rule, finding: Finding) -> str:
    names = wording.subject(rule, finding)
    aside = finding.environment not in (None, "live")
    return f"{wording.DRILL}{names}" if aside else names


def _how_much(rule: Rule, finding: Finding) -> Text:
    delta = wording.delta(finding)
    return Text.assemble(wording.how_much(rule, finding), *(["  ", (delta, "bold")] if delta else []))


def _others(rule: Rule, findings: tuple[Finding, ...]) -> RenderableType:
    """The rest of a message as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    table.add_column("also", overflow="fold")
    columns = ("value", "usual", "delta") if rule.form.baseline is not None else ("value",)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for finding in findings[: LISTED - 1]:
        unit = rule.form.unit
        figures = (wording.figure(finding.value, unit), wording.figure(finding.baseline, unit))
        cells = (*figures, wording.delta(finding))
        table.add_row(Text(_name(rule, finding)), *cells[: len(columns)])
    if len(findings) > LISTED - 1:
        table.add_row(f"and {len(findings) - LISTED + 1} more")
    return table


def _limit(rule: Rule, finding: Finding) -> str:
    return f"{wording.figure(finding.threshold, rule.form.unit)}  ({wording.way_of(rule, finding).fires_when})"


def _labelled(pairs: list[tuple[str, Text]]) -> Iterator[Text]:
    for label, text in pairs:
        line = Text.assemble((f"{label:<10}", "dim"), text)
        line.no_wrap = True
        yield line


def _failure(failure: Failure) -> RenderableType:
    title = Text.assemble((f"{shown(failure.rule_id)} is not judging", "bold"), "  ", ("ERROR", _TROUBLE))
    lines = [Text(shown(line, longest=400)) for line in failure.message.splitlines()]
    return Barred((title, *lines), _TROUBLE)


def _summary(verdicts: Sequence[Verdict], now: datetime) -> Text:
    """The one line that is left when all is well."""
    judgements = [verdict for verdict in verdicts if isinstance(verdict, Judgement)]
    ready = [judgement for judgement in judgements if not judgement.not_ready]
    findings = sum(len(judgement.findings) for judgement in ready)
    failed = len(verdicts) - len(judgements)
    unjudged = sum(judgement.unjudgeable for judgement in judgements)
    held_back = sum(judgement.held_back for judgement in judgements)
    said = wording.counted(findings, "finding") if findings else "Nothing fires"
    said += f": {wording.counted(len(judgements), 'rule')} over {wording.counted(_judged(judgements), 'row')}"
    said += f", {unjudged:,} without enough data" if unjudged else ""
    said += f", {held_back:,} held back by a gate" if held_back else ""
    said += (
        f", {wording.counted(len(judgements) - len(ready), 'rule')} not ready" if len(ready) < len(judgements) else ""
    )
    said += f", {wording.counted(failed, 'rule')} not judging" if failed else ""
    said += f"; {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return Text(said, style="" if findings or failed else "dim", no_wrap=True, overflow="ignore")


def _judged(judgements: Sequence[Judgement]) -> int:
    return sum(judgement.judged for judgement in judgements)
