"""Rule files to values: every error names the file, the line, the field and the mend."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from audit_assets.rules.document import Document, DocumentError, Place, read_document
from audit_assets.rules.expression import ExpressionError, condition, figure
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import BrokenRule, Examples, Problem, Rule, RuleSet, is_rule_id
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
    return RuleSet(tuple(rules), tuple(broken))


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
        return _broken(path, _problems(path, document, error))
    problems = [
        Problem(path.name, document.line(place), _dotted(place), message) for place, message in _misfits(rule, path)
    ]
    return _broken(path, problems) if problems else rule


def _misfits(rule: Rule, path: Path) -> Iterator[tuple[Place, str]]:
    """Fields that are well-formed each but do not fit the file, the watched table or one another."""
    table = TABLES[rule.watch]
    if rule.id != path.stem:
        yield ("id",), f"is {rule.id}, but the file is named {path.name}; give both one name"
    if rule.per != table.dimensions:
        yield ("per",), f"{rule.watch} has a row per {', '.join(table.dimensions)}; write [{table.dimensions[0]}]"
    if rule.window not in table.windows:
        yield ("window",), f"{rule.watch} is judged by {' or '.join(table.windows)}"
    if (rule.baseline is None) != (rule.baseline_is is None):
        yield ("baseline",), "a baseline and its words (baseline_is) come together"
    for name, text in (("fires_when", rule.fires_when), ("judgeable_when", rule.judgeable_when)):
        if text is not None:
            yield from _refusals(name, lambda text=text: condition(text, rule.watch))
    for name, text in (("value", rule.value), ("baseline", rule.baseline), ("threshold", rule.threshold)):
        if text is not None:
            yield from _refusals(name, lambda name=name, text=text: _figure(name, text, rule.watch))
    for kind, examples in (("fires", rule.examples.fires), ("does_not_fire", rule.examples.does_not_fire)):
        for number, example in enumerate(examples):
            try:
                example_rows(table, example)
            except ExampleError as error:
                place = ("examples", kind, number)
                yield (*place, error.column) if error.column else place, str(error)


def _figure(field: str, text: str, watch: str) -> None:
    if not figure(text, watch).columns and field != "threshold":
        raise ExpressionError(f"is {text} whatever happens; name a column")


def _refusals(name: str, compile_it: Callable[[], object]) -> Iterator[tuple[Place, str]]:
    try:
        compile_it()
    except ExpressionError as error:
        yield (name,), str(error)


def _problems(path: Path, document: Document, error: ValidationError) -> list[Problem]:
    """Pydantic's complaints in our words; a field is not missing where a misspelt one stands in its place."""
    told: list[Problem] = []
    for detail in sorted(error.errors(), key=lambda detail: detail["type"] == "missing"):
        place: Place = tuple(detail["loc"])
        meant = any(problem.message.endswith(f"did you mean {place[-1]}?") for problem in told)
        if not (detail["type"] == "missing" and meant):
            told.append(Problem(path.name, document.line(place), _dotted(place), _in_words(place, detail)))
    return told


def _in_words(place: Place, detail: Mapping[str, Any]) -> str:
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown field{did_you_mean(str(place[-1]), _fields_beside(place))}"
        case "missing":
            return f"is missing: {_fields_beside(place)[str(place[-1])]}"
        case "literal_error":
            known = detail["ctx"]["expected"].replace("'", "")
            hint = did_you_mean(str(given), re.split(r", | or ", known))
            return f"{given!r} is not {known}{hint}"
        case _:
            wanted = _fields_beside(place[:1]).get(str(place[0]), "") if place else ""
            return f"{_shortened(given)} is not usable ({detail['msg']}): {wanted}"


def _shortened(given: Any) -> str:
    shown = repr(given)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


def _fields_beside(place: Place) -> dict[str, str]:
    """The fields known where `place` is, with what each holds."""
    model: type[BaseModel] = Examples if len(place) > 1 and place[0] == "examples" else Rule
    return {name: field.description or "" for name, field in model.model_fields.items()}


def _broken(path: Path, problems: list[Problem]) -> BrokenRule:
    return BrokenRule(path.stem, path.name, tuple(sorted(problems, key=lambda problem: (problem.line, problem.field))))


def _free_id(wanted: str, taken: Collection[str]) -> str:
    """An id no other file has, fit to name a check: the file's name where it can be."""
    plain = wanted if is_rule_id(wanted) else "broken_" + re.sub(r"[^a-z0-9_]", "_", wanted.lower())[:50]
    number, free = 2, plain
    while free in taken:
        free, number = f"{plain}_{number}", number + 1
    return free


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)
