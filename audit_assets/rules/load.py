"""Rule files to values: every error names the file, the line, the field and the mend."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from audit_assets.rules.complaints import complaints, dotted
from audit_assets.rules.document import DocumentError, Place, read_document
from audit_assets.rules.expression import ExpressionError, condition, figure
from audit_assets.rules.facts import TABLES, WatchedTable
from audit_assets.rules.model import BrokenRule, Figures, Form, Problem, Rule, RuleSet, is_rule_id
from audit_assets.rules.rows import ExampleError, example_rows
from audit_assets.rules.spelling import did_you_mean

ENDINGS = (".yaml", ".yml")


class RulesFolderError(Exception):
    """The folder of rules cannot be read. An empty set in its place would switch every alert off unseen."""


def rule_files(folder: Path) -> tuple[Path, ...]:
    """The rule files of `folder` by name; hidden files (an editor's) and other endings are no rules.

    Raises RulesFolderError.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise RulesFolderError(f"{folder}: {error.strerror}; name the folder of rules in AI_AUDIT_RULES") from None
    return tuple(path for path in entries if path.suffix in ENDINGS and not path.name.startswith("."))


def load_rules(folder: Path) -> RuleSet:
    """Every rule file of `folder`; one that does not load is kept as a BrokenRule, never unseen.

    Raises RulesFolderError where the folder itself cannot be read.
    """
    files = rule_files(folder)
    rules: list[Rule] = []
    broken: list[BrokenRule] = []
    first: dict[str, Path] = {}
    for path in files:
        twin = first.setdefault(path.stem, path)
        outcome = load_rule(path) if twin is path else _twin_of(twin, path)
        if isinstance(outcome, Rule):
            rules.append(outcome)
        else:
            taken = {other.stem for other in files if other is not path} | {other.id for other in broken}
            broken.append(replace(outcome, id=_free_id(outcome.id, taken)))
    known = {rule.id for rule in rules} | {other.id for other in broken}
    lost = {rule.id: [name for name in rule.inhibited_by if name not in known] for rule in rules}
    for rule in rules:
        if lost[rule.id]:
            name, path = lost[rule.id][0], first[rule.id]
            line = read_document(path.read_bytes()).line(("inhibited_by",))
            message = f"{name}: no such rule{did_you_mean(name, known)}"
            broken.append(_broken(path, [Problem(path.name, line, "inhibited_by", message)]))
    return RuleSet(tuple(rule for rule in rules if not lost[rule.id]), tuple(broken))


def _twin_of(twin: Path, path: Path) -> BrokenRule:
    message = f"{path.stem} is {twin.name} already; rename or remove one of the two files"
    return _broken(path, [Problem(path.name, 1, "id", message)])


def load_rule(path: Path) -> Rule | BrokenRule:
    """The rule of one file, or all that is wrong with it."""
    try:
        document = read_document(path.read_bytes())
    except OSError as error:
        return _broken(path, [Problem(path.name, 1, "", f"cannot be read: {error.strerror}")])
    except DocumentError as error:
        return _broken(path, [Problem(path.name, error.line, error.field, error.message)])
    try:
        rule = Rule.model_validate(document.values)
    except ValidationError as error:
        return _broken(path, complaints(path.name, document, Rule, error))
    problems = [
        Problem(path.name, document.line(place), dotted(place), message) for place, message in _misfits(rule, path)
    ]
    return _broken(path, problems) if problems else rule


def _misfits(rule: Rule, path: Path) -> Iterator[tuple[Place, str]]:
    """Fields that are well-formed each but do not fit the file, the watched table or one another."""
    table = TABLES[rule.watch]
    if rule.id != path.stem:
        yield ("id",), f"is {rule.id}, but the file is named {path.name}; give both one name"
    if rule.per != table.dimensions:
        yield ("per",), f"{rule.watch} has a row per {', '.join(table.dimensions) or 'step'}; write {_list(table)}"
    if rule.window not in table.windows:
        yield ("window",), f"{rule.watch} is judged by {' or '.join(table.windows)}"
    if rule.kind == "drop" and rule.window == "running_and_last_closed_day":
        yield ("window",), "a running day only grows, so every morning would be a drop; write last_closed_day"
    if rule.judge_by == "literal" and rule.literal is None:
        yield ("judge_by",), "names the literal form, and there is none; write it under literal"
    if rule.id in rule.inhibited_by:
        yield ("inhibited_by",), "a rule cannot keep itself from being believed"
    conditions = {"judgeable_when": rule.judgeable_when, "clears_when": rule.clears_when}
    for name, text in conditions.items():
        if text is not None:
            yield from _refusals((name,), lambda text=text: condition(text, rule.watch))
    for name, text in rule.gates.items():
        yield from _refusals(("gates", name), lambda text=text: condition(text, rule.watch))
    yield from _misfits_of_form(rule, rule, ())
    for name, figures in rule.also.items():
        yield from _misfits_of_figures(figures, rule, ("also", name))
    if rule.literal is not None:
        yield from _misfits_of_form(rule.literal, rule, ("literal",))


def _misfits_of_form(form: Form, rule: Rule, place: Place) -> Iterator[tuple[Place, str]]:
    yield from _misfits_of_figures(form, rule, place)
    for kind, examples in (("fires", form.examples.fires), ("does_not_fire", form.examples.does_not_fire)):
        for number, example in enumerate(examples):
            try:
                example_rows(TABLES[rule.watch], example)
            except ExampleError as error:
                at = (*place, "examples", kind, number)
                yield (*at, error.column) if error.column else at, str(error)


def _misfits_of_figures(figures: Figures, rule: Rule, place: Place) -> Iterator[tuple[Place, str]]:
    if (figures.baseline is None) != (figures.baseline_is is None):
        yield (*place, "baseline"), "a baseline and its words (baseline_is) come together"
    yield from _refusals((*place, "fires_when"), lambda: _unhurried(figures.fires_when, rule))
    for name, text in (("value", figures.value), ("baseline", figures.baseline), ("threshold", figures.threshold)):
        if text is not None:
            yield from _refusals((*place, name), lambda name=name, text=text: _figure(name, text, rule.watch))


def _list(table: WatchedTable) -> str:
    return f"[{', '.join(table.dimensions)}]"


def _unhurried(text: str, rule: Rule) -> None:
    """Refuses a drop that compares the calls so far with a whole day: true on nearly every morning."""
    columns = condition(text, rule.watch).columns
    whole = [name for name in columns if name in TABLES[rule.watch].whole_day]
    if rule.kind == "drop" and whole and "day_is_over" not in columns:
        raise ExpressionError(
            f"compares a running day with {whole[0]}, so every morning would be a drop; add `day_is_over and …`"
        )


def _figure(field: str, text: str, watch: str) -> None:
    if not figure(text, watch).columns and field != "threshold":
        raise ExpressionError(f"is {text} whatever happens; name a column")


def _refusals(place: Place, compile_it: Callable[[], object]) -> Iterator[tuple[Place, str]]:
    try:
        compile_it()
    except ExpressionError as error:
        yield place, str(error)


def _broken(path: Path, problems: list[Problem]) -> BrokenRule:
    return BrokenRule(path.stem, path.name, tuple(sorted(problems, key=lambda problem: (problem.line, problem.field))))


def _free_id(wanted: str, taken: Collection[str]) -> str:
    """An id no other file has, fit to name a check: the file's name where it can be."""
    plain = wanted if is_rule_id(wanted) else "broken_" + re.sub(r"[^a-z0-9_]", "_", wanted.lower())[:50]
    number, free = 2, plain
    while free in taken:
        free, number = f"{plain}_{number}", number + 1
    return free
