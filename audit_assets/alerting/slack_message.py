"""What Slack is told: one message a rule and window that is edited as it grows, a reply where an episode closes; pure.

The payloads hold neither channel nor token nor metadata; whoever sends them adds these.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from audit_assets.alerting import wording
from audit_assets.alerting.links import is_web_address
from audit_assets.alerting.pagerduty_event import draft
from audit_assets.alerting.slack_text import (
    BUTTON_LONGEST,
    FIELD_LONGEST,
    HEADER_LONGEST,
    SECTION_LONGEST,
    URL_LONGEST,
    Block,
    code,
    entities,
    markdown,
    plain,
    quoted,
    section,
    table,
    units,
)
from audit_assets.alerting.story import Contributor, Story, Told

OVER_COLOUR = "#16A34A"
LISTED = 9  # besides the worst; the rest is counted
CONTRIBUTORS = 5
KEY_LONGEST = 255
TAKERS, NAMED = 4, 3  # people who acknowledged, and episodes named of each
ACKNOWLEDGED = "Acknowledged by "


def message(story: Story) -> dict[str, Any]:
    """The message as it stands at `story.now`: `text`, which a notification shows, and one attachment of blocks."""
    attachment = {"color": OVER_COLOUR if story.is_over else story.rule.colour, "blocks": _blocks(story)}
    return with_takers({"text": _text(story), "attachments": [attachment]}, story.told, story.now)


def minimal(story: Story) -> dict[str, Any]:
    """The same without any block: what is tried once where Slack refuses the blocks."""
    worst = _worst(story)
    lines = [_text(story), _headline(story, worst), _window(story, worst)]
    for words, link in _steps(story, worst):
        line = f"{words}: {entities(link)}"
        if _leads(link) and len("\n".join([*lines, line])) <= SECTION_LONGEST:
            lines.append(line)
    return with_takers({"text": "\n".join(lines)}, story.told, story.now)


def with_takers(payload: Mapping[str, Any], told: Sequence[Told], now: datetime) -> dict[str, Any]:
    """A message, or its minimal form, that says who acknowledged which of its episodes `told`; what it said of that
    before is replaced."""
    takers = _takers(told, now)
    if "attachments" not in payload:
        lines = [line for line in payload["text"].split("\n") if not line.startswith(ACKNOWLEDGED)]
        for line in takers:
            if units("\n".join([*lines, line])) < SECTION_LONGEST:
                lines.append(line)
        return {**payload, "text": "\n".join(lines)}
    (attachment,) = payload["attachments"]
    *blocks, small_print = attachment["blocks"]
    blocks = [block for block in blocks if block["type"] != "context"]
    added = [{"type": "context", "elements": [markdown(line) for line in takers]}] if takers else []
    return {**payload, "attachments": [{**attachment, "blocks": [*blocks, *added, small_print]}]}


def reply(story: Story, told: Told) -> dict[str, Any]:
    """What the thread is told when `told` closes."""
    return {"text": f"{_drill(story, told)}{_over(story, told)}"}


def reminder(told: Sequence[Told], now: datetime) -> dict[str, Any]:
    """What the thread is told while `told`, the worst first, stay open."""
    return {"text": f"Still open, for {wording.length(now - min(each.since for each in told))}: {_names(told)}"}


def _blocks(story: Story) -> list[Block]:
    worst = _worst(story)
    blocks: list[Block] = [
        {"type": "header", "text": plain(_title(story), HEADER_LONGEST)},
        section(_headline(story, worst)),
        {"type": "section", "fields": [markdown(text, FIELD_LONGEST) for text in _fields(story, worst)]},
    ]
    others = [told for told in story.told if told is not worst]
    if others:
        blocks.append(section(_table(story, others)))
    if story.contributors:
        blocks.append(section(_contributors(story)))
    buttons = [
        _button(words, link, number) for number, (words, link) in enumerate(_steps(story, worst)) if _leads(link)
    ]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    blocks.append({"type": "context", "elements": [markdown(text) for text in _context(story, worst)]})
    return blocks


def _worst(story: Story) -> Told:
    """The worst that is still open; where all are over, the worst there was."""
    return next((told for told in story.told if told.state != "resolved"), story.told[0])


def _title(story: Story) -> str:
    return f"{wording.DRILL if story.is_drill else ''}{'Resolved: ' if story.is_over else ''}{story.rule.title}"


def _drill(story: Story, told: Told) -> str:
    """The mark of a drill among episodes that are none; where all are, the title has it."""
    return wording.DRILL if told.is_drill else ""


def _text(story: Story) -> str:
    """What a notification shows, and the line above the attachment: short, and enough to decide whether to get up."""
    worst = _worst(story)
    mark = "" if story.is_drill else _drill(story, worst)
    much = "" if story.is_over else wording.delta(worst) or quoted(wording.amount(story.rule, worst, worst.value))
    more = f" and {len(story.told) - 1:,} more" if len(story.told) > 1 else ""
    return f"{quoted(_title(story))}: {mark}{_subject(story, worst)}{f', {much}' if much else ''}{more}"


def _subject(story: Story, told: Told) -> str:
    name = wording.subject(story.rule, told)
    return code(name) if told.dimensions else name


def _headline(story: Story, worst: Told) -> str:
    mark = "" if story.is_drill else _drill(story, worst)
    if story.is_over:
        return f"{mark}{_over(story, worst)}"
    amount, usual = wording.amount(story.rule, worst, worst.value), wording.usual(story.rule, worst)
    delta = wording.delta(worst)
    told = f"{mark}{_subject(story, worst)}: *{quoted(amount)}*"
    told += f", {quoted(usual)}" if usual else ""
    told += f"  *{delta}*" if delta else ""
    bars = wording.sparkline(worst.history)
    return f"{told}\n`{bars}`  {wording.span_of_history(story.rule, worst.history)}" if bars else told


def _fields(story: Story, worst: Told) -> list[str]:
    pairs = [
        ("Capability", _subject(story, worst) if worst.dimension("capability") or not worst.dimensions else ""),
        ("Delta", "" if story.is_over else wording.delta(worst)),
        ("Last window that fired" if story.is_over else "Window", _span(story, worst)),
        ("Since", _since(story, worst)),
        ("Worst so far", _worst_so_far(story, worst)),
        ("Limit", quoted(wording.limit(story.rule, worst))),
    ]
    return [f"*{label}*\n{text}" for label, text in pairs if text]


def _worst_so_far(story: Story, worst: Told) -> str:
    """The peak, where it was worse than now; a message that is over tells it in its headline."""
    told = worst.peak is not None and worst.peak != worst.value and not story.is_over
    return wording.figure(worst.peak, story.rule.form.unit) if told else ""


def _span(story: Story, worst: Told) -> str:
    return wording.window(worst.window_start, worst.window_end, story.now)


def _window(story: Story, worst: Told) -> str:
    return f"Window {_span(story, worst)}; {wording.known_up_to(story.data_until, story.now)}"


def _since(story: Story, told: Told) -> str:
    start = wording.moment(told.since, story.now)
    if told.resolved_at is None:
        return f"{start}, for {wording.length(story.now - told.since)}"
    return f"{start} to {wording.moment(told.resolved_at, story.now)}"


def _table(story: Story, others: list[Told]) -> str:
    """The episodes besides the worst: an open one with its bars, one that is over with the time it ended."""
    unit, knows_usual = story.rule.form.unit, wording.way_of(story.rule, others[0]).baseline_is is not None
    shown_bars = any(wording.sparkline(told.history) for told in others[:LISTED])
    header = ["also", "value", *(["usual", "delta"] if knows_usual else []), "last windows" if shown_bars else ""]
    rows: list[list[str]] = []
    for told in others[:LISTED]:
        figures = [wording.figure(told.value, unit)]
        figures += [wording.figure(told.baseline, unit), wording.delta(told)] if knows_usual else []
        over = f"over {wording.moment(told.resolved_at, story.now)}" if told.resolved_at is not None else ""
        mark = "" if story.is_drill else _drill(story, told)
        rows.append([f"{mark}{wording.subject(story.rule, told)}", *figures, over or wording.sparkline(told.history)])
    return table(header, rows, len(others))


def _contributors(story: Story) -> str:
    unit = story.rule.form.unit
    rows = [
        [part.name, wording.figure(part.value, unit), wording.figure(part.usual, unit), _deviation(part)]
        for part in story.contributors[:CONTRIBUTORS]
    ]
    return "*Contributing most*\n" + table(["capability", "value", "usual", "delta"], rows, len(rows))


def _deviation(part: Contributor) -> str:
    return wording.percentage((part.value / part.usual - 1) * 100) if part.usual else "new"


def _steps(story: Story, worst: Told) -> list[tuple[str, str]]:
    return [
        ("Open Dashboard", story.links.dashboard(worst.dimension("capability"))),
        ("Runbook", story.links.runbook(story.rule.runbook)),
        ("Raw logs", wording.raw_logs(story.links, worst)),
        ("Draft incident", draft(story)),
    ]


def _leads(link: str) -> bool:
    return is_web_address(link) and len(link) <= URL_LONGEST


def _button(words: str, link: str, number: int) -> Block:
    style = {"style": "primary"} if number == 0 else {}
    return {"type": "button", "text": plain(words, BUTTON_LONGEST), "url": link, "action_id": f"link_{number}", **style}


def _context(story: Story, worst: Told) -> list[str]:
    data = wording.known_up_to(story.data_until, story.now)
    said = [story.rule.severity, f"to {', '.join(story.rule.routes)}", worst.environment]
    meaning = [] if story.is_over else [quoted(" ".join(story.rule.description.split()), 2000)]
    return [*meaning, data[0].upper() + data[1:], " · ".join([*map(quoted, said), code(worst.key, KEY_LONGEST)])]


def _takers(told: Sequence[Told], now: datetime) -> list[str]:
    """A line a person, with the time of their first acknowledgement; of which episodes, where these are not all."""
    taken: dict[str, list[Told]] = {}
    for each in told:
        if each.acknowledged_at is not None:
            taken.setdefault(each.acknowledged_by or "", []).append(each)
    open_ones = [each for each in told if each.state != "resolved"] or told
    is_all = len(taken) == 1 and all(each.acknowledged_at is not None for each in open_ones)
    lines: list[str] = []
    for name, theirs in list(taken.items())[:TAKERS]:
        first = min(each.acknowledged_at for each in theirs if each.acknowledged_at is not None)
        of = "" if is_all else f": {_names(theirs)}"
        lines.append(f"{ACKNOWLEDGED}{code(name)} at {wording.moment(first, now)}{of}")
    more = len(taken) - len(lines)
    return [*lines, *([f"{ACKNOWLEDGED}{more:,} more"] if more > 0 else [])]


def _names(told: Sequence[Told]) -> str:
    names = [code(wording.named(each) or wording.EVERYTHING) for each in told]
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _over(story: Story, told: Told) -> str:
    """search_answer is back to normal: 12 calls in 2 hours, usually 10; at worst 90; lasted 1 h 20 min."""
    ended = told.resolved_at or story.now
    parts = [
        f"{_subject(story, told)} {_ending(story, told)}{_now(story, told)}",
        f"at worst {quoted(wording.figure(told.peak, story.rule.form.unit))}" if told.peak is not None else "",
        f"lasted {wording.length(ended - told.since)}",
    ]
    return "; ".join(filter(None, parts))


def _ending(story: Story, told: Told) -> str:
    is_one = bool(told.dimensions) or wording.subject(story.rule, told) != wording.EVERYTHING
    verb = "is" if is_one else "are"
    if told.resolve_reason in (None, "cleared"):
        return f"{verb} {'no longer new' if story.rule.kind == 'news' else 'back to normal'}"
    reason = {"rule_removed": "the rule was removed"}.get(told.resolve_reason, told.resolve_reason.replace("_", " "))
    return f"{verb} no longer watched for this: {quoted(reason)}"


def _now(story: Story, told: Told) -> str:
    """The value of the newest window, where it is on record: `value` is that of the last one that fired."""
    newest = next(chain(reversed(told.history), [None]))
    if newest is None or told.resolve_reason not in (None, "cleared"):
        return ""
    usual = wording.way_of(story.rule, told).baseline_is is not None and told.baseline is not None
    known = f", usually {wording.figure(told.baseline, story.rule.form.unit)}" if usual else ""
    return f": {quoted(wording.amount(story.rule, told, newest))}{known}"
