"""What `audit rules check` and `audit rules list` say of the rule files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from audit_assets.rules.document import read_document
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import verdict_on_row
from audit_assets.rules.load import load_rules, rule_files
from audit_assets.rules.model import FactValue, Problem, Rule
from audit_assets.rules.rows import example_rows


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
    problem: str


def check_rule_files(folder: Path, runbook: Path | None = None) -> RulesReport:
    """Loads every rule file, runs its examples and, where `runbook` is given, looks for its heading there.

    Raises RulesFolderError where the folder cannot be read, OSError where the runbook cannot.
    """
    rule_set = load_rules(folder)
    files = {path.stem: path for path in reversed(rule_files(folder))}
    problems = list(rule_set.problems)
    headings = runbook_anchors(runbook.read_text(encoding="utf-8")) if runbook else None
    if not files:
        problems.append(Problem(str(folder), 1, "", "holds no rule files (*.yaml), so nothing is watched"))
    for rule in rule_set.rules:
        document = read_document(files[rule.id].read_bytes())
        for kind, number, message in failed_examples(rule):
            place = ("examples", kind, number)
            problems.append(Problem(files[rule.id].name, document.line(place), f"examples.{kind}.{number}", message))
        if headings is not None and rule.runbook not in headings:
            message = f"{rule.runbook} is no heading of {runbook.name if runbook else ''}; write its section"
            problems.append(Problem(files[rule.id].name, document.line(("runbook",)), "runbook", message))
    examples = sum(len(rule.examples.fires) + len(rule.examples.does_not_fire) for rule in rule_set.rules)
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.field))
    return RulesReport(len(rule_set.ids), examples, tuple(ordered))


def failed_examples(rule: Rule) -> Iterator[tuple[str, int, str]]:
    """The examples the rule does not do as its file says: their list, their number in it, and what it did."""
    for number, example in enumerate(rule.examples.fires):
        verdict = _verdict(rule, example)
        if verdict is not True:
            did = "does not fire" if verdict is False else "cannot be judged (a column it needs is null)"
            yield "fires", number, f"{did}; mend the row, or fires_when"
    for number, example in enumerate(rule.examples.does_not_fire):
        if _verdict(rule, example) is True:
            yield "does_not_fire", number, "fires; mend the row, or fires_when"


def list_rules(folder: Path) -> tuple[RuleLine, ...]:
    """Every rule file by id, broken ones included. Raises RulesFolderError."""
    rule_set = load_rules(folder)
    files = {path.stem: path.name for path in reversed(rule_files(folder))}
    lines = [
        RuleLine(rule.id, files[rule.id], rule.title, rule.severity, rule.watch, rule.fires_when, "")
        for rule in rule_set.rules
    ]
    lines += [RuleLine(broken.id, broken.file, "", "", "", "", str(broken.problems[0])) for broken in rule_set.broken]
    return tuple(sorted(lines, key=lambda line: line.id))


def runbook_anchors(markdown: str) -> frozenset[str]:
    """The anchors of a Markdown text's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", markdown, flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings)


def _verdict(rule: Rule, example: Mapping[str, FactValue]) -> bool | None:
    return verdict_on_row(rule, example_rows(TABLES[rule.watch], example))
