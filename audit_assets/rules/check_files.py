"""The checks and the listing of rule files behind `audit rules check` and `audit rules list`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from audit_assets.config.validation import Problem, did_you_mean
from audit_assets.config.yaml_files import Document, FieldPath, read_document
from audit_assets.rules.evaluate import example_rows, fires_on_row
from audit_assets.rules.facts import TABLES
from audit_assets.rules.load import load_rules, rule_files
from audit_assets.rules.model import FactValue, Form, Rule
from audit_assets.rules.routing import Routing

NO_RULE_FILES = "holds no rule files (*.yaml), so nothing is watched"


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
        failures += _violations(rule, routing, headings, runbook.name if runbook else "")
        problems += [_problem(files[rule.id].name, document, field_path, message) for field_path, message in failures]
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.field))
    return RulesReport(len(rule_set.ids), examples, tuple(ordered))


def _violations(
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
