"""What `audit rules check` and `audit rules list` say of the rule files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from audit_assets.rules.answers import fires_on_row
from audit_assets.rules.document import Document, Place, read_document
from audit_assets.rules.facts import TABLES
from audit_assets.rules.load import load_rules, rule_files
from audit_assets.rules.model import FactValue, Form, Problem, Rule
from audit_assets.rules.routing import Routing
from audit_assets.rules.rows import example_rows
from audit_assets.rules.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class RulesReport:
    """How many files and examples were looked at, and all that is wrong with them."""

    files: int
    examples: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule file as a list shows it; `problem` is empty for one that loads."""

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
    """What a rule did on one example of its file. `form` is empty or `literal`; `fired` None: not judgeable."""

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
    def place(self) -> Place:
        kind = "fires" if self.expected else "does_not_fire"
        return (*([self.form] if self.form else []), "examples", kind, self.number)

    @property
    def complaint(self) -> str:
        if not self.expected:
            return "fires; mend the row, or the condition"
        did = "does not fire" if self.fired is False else "cannot be judged (a column it needs is null)"
        return f"{did}; mend the row, or the condition"


def check_rule_files(folder: Path, routing: Routing, runbook: Path | None = None) -> RulesReport:
    """Loads every rule file, runs its examples, looks for its routes and, where `runbook` is given, for its heading
    there; a rule that pages must say how often it would have.

    Raises RulesFolderError where the folder cannot be read, OSError where the runbook cannot.
    """
    rule_set = load_rules(folder)
    files = {path.stem: path for path in reversed(rule_files(folder))}
    problems = list(rule_set.problems)
    headings = runbook_anchors(runbook.read_text(encoding="utf-8")) if runbook else None
    examples = 0
    if not files:
        problems.append(Problem(str(folder), 1, "", "holds no rule files (*.yaml), so nothing is watched"))
    for rule in rule_set.rules:
        document = read_document(files[rule.id].read_bytes())
        runs = list(run_examples(rule))
        examples += len(runs)
        told = [(run.place, run.complaint) for run in runs if not run.passed]
        told += _misfits(rule, routing, headings, runbook.name if runbook else "")
        problems += [_problem(files[rule.id].name, document, place, message) for place, message in told]
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.field))
    return RulesReport(len(rule_set.ids), examples, tuple(ordered))


def _misfits(
    rule: Rule, routing: Routing, headings: frozenset[str] | None, runbook: str
) -> Iterator[tuple[Place, str]]:
    for number, name in enumerate(rule.routes):
        if name not in routing.routes:
            yield ("routes", number), f"{name}: no such route in routing.yaml{did_you_mean(name, routing.routes)}"
    if routing.pages(rule) and rule.backtest is None:
        yield (
            ("routes",),
            (
                f"wakes someone, and nobody knows how often; run `audit rules backtest {rule.id}` and write what it "
                "prints under backtest"
            ),
        )
    if headings is not None and rule.runbook not in headings:
        yield ("runbook",), f"{rule.runbook} is no heading of {runbook}; write its section"


def _problem(file: str, document: Document, place: Place, message: str) -> Problem:
    return Problem(file, document.line(place), ".".join(str(part) for part in place), message)


def run_examples(rule: Rule) -> Iterator[ExampleRun]:
    """Every example of the file, of both forms, and what the rule did."""
    ours = rule.model_copy(update={"judge_by": "fires_when"})
    yield from _runs(ours, rule, "")
    if rule.literal is not None:
        yield from _runs(rule.model_copy(update={"judge_by": "literal"}), rule.literal, "literal")


def _runs(rule: Rule, form: Form, name: str) -> Iterator[ExampleRun]:
    for expected, examples in ((True, form.examples.fires), (False, form.examples.does_not_fire)):
        for number, example in enumerate(examples):
            fired = fires_on_row(rule, example_rows(TABLES[rule.watch], example))
            yield ExampleRun(rule.id, name, expected, number, example, fired)


def list_rules(folder: Path) -> tuple[RuleLine, ...]:
    """Every rule file by id, broken ones included. Raises RulesFolderError."""
    rule_set = load_rules(folder)
    files = {path.stem: path.name for path in reversed(rule_files(folder))}
    lines = [
        RuleLine(
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
        RuleLine(broken.id, broken.file, "", "", "", "", "", None, str(broken.problems[0]))
        for broken in rule_set.broken
    ]
    return tuple(sorted(lines, key=lambda line: line.id))


def runbook_anchors(markdown: str) -> frozenset[str]:
    """The anchors of a Markdown text's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", markdown, flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings)
