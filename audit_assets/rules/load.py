"""Loads and validates rule files, and generates their JSON Schema for completion in editors."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from audit_assets.config.validation import InvalidFileError, Problem, did_you_mean, dotted, parse_model
from audit_assets.config.yaml_files import Document, FieldPath, is_yaml_file, read_document
from audit_assets.rules.evaluate import ExampleError, example_rows, fires_on_row
from audit_assets.rules.expression import ExpressionError, compile_condition, compile_figure
from audit_assets.rules.facts import TABLES, WatchedTable
from audit_assets.rules.model import BrokenRule, FactValue, Figures, Form, Rule, RuleSet, is_rule_id
from audit_assets.rules.routing import Routing

# What a number or a condition may be in YAML; the model reads both as an expression.
_EXPRESSION: dict[str, Any] = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}

NO_RULE_FILES = "holds no rule files (*.yaml), so nothing is watched"


class RulesFolderError(Exception):
    """The folder of rules cannot be read. Treating it as empty would silently disable every alert."""


def rule_schema() -> str:
    """The JSON Schema of rule files as text."""
    schema = Rule.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "An alert rule"
    properties: dict[str, Any] = schema["properties"]
    properties["for"] = {
        "type": "string",
        "pattern": "^[1-9][0-9]? of [1-9][0-9]?$",
        "default": "1 of 1",
        "description": properties["for"]["description"],
    }
    properties["keep_firing"] = {
        "type": "string",
        "pattern": "^[0-9]+[smhd]$",
        "description": properties["keep_firing"]["description"],
    }
    for known in (properties, *(schema["$defs"][name]["properties"] for name in ("Form", "Figures"))):
        for name in ("fires_when", "value", "baseline", "threshold", "clears_when", "judgeable_when"):
            if name in known:
                known[name] = {**_EXPRESSION, "description": known[name]["description"]}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def rule_files(folder: Path) -> tuple[Path, ...]:
    """The rule files of `folder` by name: .yaml and .yml in any case, without hidden files such as those of editors.

    Raises RulesFolderError.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise RulesFolderError(f"{folder}: {error.strerror}; set AI_AUDIT_RULES to the folder of rules") from None
    return tuple(path for path in entries if is_yaml_file(path))


def load_rules(folder: Path) -> RuleSet:
    """Loads every rule file of `folder`; a file that does not load becomes a BrokenRule.

    Raises RulesFolderError if the folder itself cannot be read.
    """
    files = rule_files(folder)
    rules: list[Rule] = []
    broken: list[BrokenRule] = []
    first: dict[str, Path] = {}
    for path in files:
        existing = first.setdefault(path.stem, path)
        outcome = load_rule(path) if existing is path else _duplicate_id(existing, path)
        if isinstance(outcome, Rule):
            rules.append(outcome)
        else:
            taken = {other.stem for other in files if other is not path} | {other.id for other in broken}
            broken.append(replace(outcome, id=_free_id(outcome.id, taken)))
    broken += [_misplaced(folder, path, {*first, *(other.id for other in broken)}) for path in _below(folder)]
    known = {rule.id for rule in rules} | {other.id for other in broken}
    unknown_inhibitors = {rule.id: [name for name in rule.inhibited_by if name not in known] for rule in rules}
    for rule in rules:
        if unknown_inhibitors[rule.id]:
            name, path = unknown_inhibitors[rule.id][0], first[rule.id]
            line = read_document(path.read_bytes()).line(("inhibited_by",))
            message = f"{name}: no such rule{did_you_mean(name, known)}"
            broken.append(_broken(path, [Problem(path.name, line, "inhibited_by", message)]))
    return RuleSet(tuple(rule for rule in rules if not unknown_inhibitors[rule.id]), tuple(broken))


def _below(folder: Path) -> list[Path]:
    """YAML files in subfolders, where rules are not read. Hidden folders belong to tools and are ignored."""
    found = (path for path in folder.rglob("*") if path.parent != folder and is_yaml_file(path))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _misplaced(folder: Path, path: Path, taken: Collection[str]) -> BrokenRule:
    file = path.relative_to(folder).as_posix()
    problem = Problem(file, 1, "", f"is in a subfolder and is not read; move it into {folder.name} or remove it")
    return BrokenRule(_free_id(path.stem, taken), file, (problem,))


def _duplicate_id(existing: Path, path: Path) -> BrokenRule:
    message = f"{path.stem} is already the id of {existing.name}; rename or remove one of the two files"
    return _broken(path, [Problem(path.name, 1, "id", message)])


def load_rule(path: Path) -> Rule | BrokenRule:
    """The rule of one file, or a BrokenRule with every problem of it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return _broken(path, [Problem(path.name, 1, "", f"cannot be read: {error.strerror}")])
    return _parse_rule(path, content)


# A run loads the rules twice, with the definitions and to judge them; trying the examples of all takes 0.2 CPU s.
@lru_cache(maxsize=256)
def _parse_rule(path: Path, content: bytes) -> Rule | BrokenRule:
    try:
        rule, document = parse_model(path.name, content, Rule)
    except InvalidFileError as error:
        return _broken(path, error.problems)
    problems = [
        Problem(path.name, document.line(field_path), dotted(field_path), message)
        for field_path, message in _violations(rule, path)
    ]
    return _broken(path, problems) if problems else rule


def _violations(rule: Rule, path: Path) -> Iterator[tuple[FieldPath, str]]:
    """Fields that are valid on their own but do not match the file, the watched table or each other."""
    table = TABLES[rule.watch]
    if rule.id != path.stem:
        yield ("id",), f"is {rule.id}, but the file is named {path.name}; use the same name for both"
    if rule.per != table.dimensions:
        yield ("per",), f"{rule.watch} has a row per {', '.join(table.dimensions) or 'step'}; write {_list(table)}"
    if rule.window not in table.windows:
        yield ("window",), f"is not a window of {rule.watch}; write {' or '.join(table.windows)}"
    if rule.kind == "drop" and rule.window == "running_and_last_closed_day":
        yield ("window",), "a running day only grows, so every morning would be a drop; write last_closed_day"
    if rule.judge_by == "literal" and rule.literal is None:
        yield ("judge_by",), "is literal, but there is no literal form; add it under literal"
    if rule.id in rule.inhibited_by:
        yield ("inhibited_by",), "a rule cannot inhibit itself; remove its own id"
    conditions = {"judgeable_when": rule.judgeable_when, "clears_when": rule.clears_when}
    for name, text in conditions.items():
        if text is not None:
            yield from _compile_errors((name,), lambda text=text: compile_condition(text, rule.watch))
    for name, text in rule.gates.items():
        yield from _compile_errors(("gates", name), lambda text=text: compile_condition(text, rule.watch))
    yield from _form_violations(rule, rule, ())
    for name, figures in rule.any_of.items():
        yield from _figure_violations(figures, rule, ("any_of", name))
    if rule.literal is not None:
        yield from _form_violations(rule.literal, rule, ("literal",))


def _form_violations(form: Form, rule: Rule, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    yield from _figure_violations(form, rule, field_path)
    for kind, examples in (("fires", form.examples.fires), ("does_not_fire", form.examples.does_not_fire)):
        for number, example in enumerate(examples):
            try:
                example_rows(TABLES[rule.watch], example)
            except ExampleError as error:
                at = (*field_path, "examples", kind, number)
                yield (*at, error.column) if error.column else at, str(error)


def _figure_violations(figures: Figures, rule: Rule, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    if (figures.baseline is None) != (figures.baseline_is is None):
        yield (*field_path, "baseline"), "baseline and baseline_is belong together; add the missing one"
    yield from _compile_errors(
        (*field_path, "fires_when"), lambda: _reject_whole_day_comparison(figures.fires_when, rule)
    )
    for name, text in (("value", figures.value), ("baseline", figures.baseline), ("threshold", figures.threshold)):
        if text is not None:
            yield from _compile_errors(
                (*field_path, name), lambda name=name, text=text: _require_column(name, text, rule.watch)
            )


def _list(table: WatchedTable) -> str:
    return f"[{', '.join(table.dimensions)}]"


def _reject_whole_day_comparison(text: str, rule: Rule) -> None:
    """Rejects a drop that compares the calls so far with a whole day, which is true on nearly every morning."""
    columns = compile_condition(text, rule.watch).columns
    whole = [name for name in columns if name in TABLES[rule.watch].whole_day]
    if rule.kind == "drop" and whole and "day_is_over" not in columns:
        raise ExpressionError(
            f"compares a running day with {whole[0]}, so every morning would be a drop; add `day_is_over and …`"
        )


def _require_column(field: str, text: str, watch: str) -> None:
    if not compile_figure(text, watch).columns and field != "threshold":
        raise ExpressionError(f"is always {text}; name a column")


def _compile_errors(field_path: FieldPath, compile_it: Callable[[], object]) -> Iterator[tuple[FieldPath, str]]:
    try:
        compile_it()
    except ExpressionError as error:
        yield field_path, str(error)


def _broken(path: Path, problems: Iterable[Problem]) -> BrokenRule:
    return BrokenRule(path.stem, path.name, tuple(sorted(problems, key=lambda problem: (problem.line, problem.field))))


def _free_id(wanted: str, taken: Collection[str]) -> str:
    """A unique id that is valid as a check name: the file's name if possible."""
    plain = wanted if is_rule_id(wanted) else "broken_" + re.sub(r"[^a-z0-9_]", "_", wanted.lower())[:50]
    number, free = 2, plain
    while free in taken:
        free, number = f"{plain}_{number}", number + 1
    return free


@dataclass(frozen=True, slots=True)
class RulesReport:
    """How many files and examples were checked, and every problem found."""

    files: int
    examples: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """One rule file in the list; `problem` is empty if it loads."""

    id: str
    file: str
    title: str
    severity: str
    watch: str
    fires_when: str
    routes: str
    alerts_a_week: float | None
    problem: str


@dataclass(frozen=True, slots=True)
class ExampleRun:
    """The result of one example of a rule. `form` is empty or `literal`; `fired` is None if it cannot be judged."""

    rule_id: str
    form: str
    expected: bool
    number: int
    row: Mapping[str, FactValue]
    fired: bool | None

    @property
    def passed(self) -> bool:
        return (self.fired is True) is self.expected

    @property
    def field_path(self) -> FieldPath:
        kind = "fires" if self.expected else "does_not_fire"
        return (*([self.form] if self.form else []), "examples", kind, self.number)

    @property
    def failure_message(self) -> str:
        if not self.expected:
            return "fires; fix the row or the condition"
        result = "does not fire" if self.fired is False else "cannot be judged (a column it needs is null)"
        return f"{result}; fix the row or the condition"


def check_rule_files(folder: Path, routing: Routing, runbook: Path | None = None) -> RulesReport:
    """Loads every rule file, runs its examples and checks that its routes exist and, if `runbook` is given, that it has
    a heading there. A rule that pages needs a backtest.

    Raises RulesFolderError if the folder cannot be read, OSError if the runbook cannot.
    """
    rule_set = load_rules(folder)
    files = {path.stem: path for path in reversed(rule_files(folder))}
    problems = list(rule_set.problems)
    headings = runbook_anchors(runbook.read_text(encoding="utf-8")) if runbook else None
    examples = 0
    if not files:
        problems.append(Problem(str(folder), 1, "", NO_RULE_FILES))
    for rule in rule_set.rules:
        document = read_document(files[rule.id].read_bytes())
        runs = list(run_examples(rule))
        examples += len(runs)
        failures = [(run.field_path, run.failure_message) for run in runs if not run.passed]
        failures += _reference_violations(rule, routing, headings, runbook.name if runbook else "")
        problems += [_problem(files[rule.id].name, document, field_path, message) for field_path, message in failures]
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.field))
    return RulesReport(len(rule_set.ids), examples, tuple(ordered))


def _reference_violations(
    rule: Rule, routing: Routing, headings: frozenset[str] | None, runbook: str
) -> Iterator[tuple[FieldPath, str]]:
    for number, name in enumerate(rule.routes):
        if name not in routing.routes:
            yield ("routes", number), f"{name}: no such route in routing.yaml{did_you_mean(name, routing.routes)}"
    if rule.backtest is not None and rule.not_backtested is not None:
        yield ("not_backtested",), "is set although there is a backtest; remove one of the two"
    if routing.pages(rule) and rule.backtest is None and rule.not_backtested is None:
        yield (
            ("routes",),
            (
                f"pages, but has no backtest; run `audit rules backtest {rule.id}` and paste its output under "
                "backtest, or give the reason why it cannot be measured under not_backtested"
            ),
        )
    if headings is not None and rule.runbook not in headings:
        yield ("runbook",), f"{rule.runbook} is not a heading of {runbook}; add its section"


def _problem(file: str, document: Document, field_path: FieldPath, message: str) -> Problem:
    return Problem(file, document.line(field_path), ".".join(str(part) for part in field_path), message)


def run_examples(rule: Rule) -> Iterator[ExampleRun]:
    """Runs every example of the file, of both forms."""
    own_form = rule.model_copy(update={"judge_by": "fires_when"})
    yield from _runs(own_form, rule, "")
    if rule.literal is not None:
        yield from _runs(rule.model_copy(update={"judge_by": "literal"}), rule.literal, "literal")


def _runs(rule: Rule, form: Form, name: str) -> Iterator[ExampleRun]:
    for expected, examples in ((True, form.examples.fires), (False, form.examples.does_not_fire)):
        for number, example in enumerate(examples):
            fired = fires_on_row(rule, example_rows(TABLES[rule.watch], example))
            yield ExampleRun(rule.id, name, expected, number, example, fired)


def list_rules(folder: Path) -> tuple[RuleSummary, ...]:
    """Every rule file by id, broken ones included. Raises RulesFolderError."""
    rule_set = load_rules(folder)
    files = {path.stem: path.name for path in reversed(rule_files(folder))}
    lines = [
        RuleSummary(
            id=rule.id,
            file=files[rule.id],
            title=rule.title,
            severity=rule.severity,
            watch=rule.watch,
            fires_when=rule.form.fires_when,
            routes=", ".join(rule.routes),
            alerts_a_week=rule.backtest.alerts_a_week if rule.backtest else None,
            problem="",
        )
        for rule in rule_set.rules
    ]
    lines += [
        RuleSummary(broken.id, broken.file, "", "", "", "", "", None, str(broken.problems[0]))
        for broken in rule_set.broken
    ]
    return tuple(sorted(lines, key=lambda line: line.id))


def runbook_anchors(markdown: str) -> frozenset[str]:
    """The anchors of the headings of a Markdown text, as GitHub generates them."""
    headings = re.findall(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", markdown, flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings)
