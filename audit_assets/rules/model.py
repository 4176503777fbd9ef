"""The model of a rule file, and of a rule file that does not load."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from audit_assets.config.validation import Duration, FrozenModel, Problem
from audit_assets.rules.episode import ForClause
from audit_assets.rules.facts import WindowName

Severity = Literal["info", "warning", "error", "critical"]
Unit = Literal["count", "share", "minutes"]
Kind = Literal["spike", "drop", "errors", "unknown", "news", "stale", "failure"]
NoData = Literal["keep", "ok", "alert"]
Active = Literal["always", "business_hours"]
JudgeBy = Literal["fires_when", "literal"]
Watch = Literal[
    "ai_audit_capability_anomalies",
    "ai_audit_capability_grid",
    "ai_audit_total_grid",
    "ai_audit_capability_outcomes",
    "ai_audit_total_outcomes",
    "ai_audit_capabilities",
    "ai_audit_sync_state",
    "asset_checks",
    "pipeline_runs",
]

FactValue = StrictBool | StrictInt | StrictFloat | StrictStr | datetime | date | None

_ID = r"^[a-z][a-z0-9_]{0,62}$"
_STEPS = re.compile(r"([1-9]\d?) of ([1-9]\d?)")


def _number_as_text(value: Any) -> Any:
    """`threshold: 0.05` is a number in YAML and an expression in the model."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return repr(value)
    return value


def parse_steps(value: Any) -> tuple[int, int]:
    """`2 of 3` as (2, 3): 2 of the last 3 steps must fire. Raises ValueError on anything else."""
    if isinstance(value, tuple):
        return cast("tuple[int, int]", value)  # a default of the model
    found = _STEPS.fullmatch(str(value).strip())
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"{value!r} is not a number of steps; write how many of the last steps fire, such as 2 of 3")
    return int(found[1]), int(found[2])


Name = Annotated[str, StringConstraints(pattern=_ID)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Prose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
SqlExpression = Annotated[str, BeforeValidator(_number_as_text), StringConstraints(strip_whitespace=True, min_length=1)]
Steps = Annotated[tuple[int, int], BeforeValidator(parse_steps)]


class Examples(FrozenModel):
    """Rows on which the rule must fire and rows on which it must not; omitted columns are null. They run as tests."""

    fires: tuple[Mapping[str, FactValue], ...] = Field(min_length=1, description="rows on which the rule fires")
    does_not_fire: tuple[Mapping[str, FactValue], ...] = Field(
        min_length=1, description="rows on which the rule does not fire"
    )


class Figures(FrozenModel):
    """A condition, and the figures a notification shows when it holds."""

    fires_when: SqlExpression = Field(description="true on a row that violates the rule, null if it cannot be judged")
    value: SqlExpression = Field(description="the figure that a notification shows")
    value_is: Line | None = Field(default=None, description="the figure in words, such as calls in 2 hours")
    baseline: SqlExpression | None = Field(default=None, description="the usual value of that figure")
    baseline_is: Line | None = Field(default=None, description="the baseline in words")
    threshold: SqlExpression = Field(description="the figure at which the rule fires")


class Form(Figures):
    """A form of the rule: when it fires, and the figures a notification then shows."""

    unit: Unit = Field(description="the format of figures: count (1,234), share (5.00 %) or minutes")
    examples: Examples = Field(description="rows on which the rule fires and rows on which it does not")


class Backtest(FrozenModel):
    """How often the rule would have fired. Required for a rule that pages. Paste it from the output of
    `audit rules backtest`."""

    measured: date = Field(description="the date of the measurement")
    data: Line = Field(description="the data set, such as BurstGPT, 61 days, by capability")
    series: int = Field(ge=1, description="the number of instances")
    days: float = Field(gt=0, description="the number of days evaluated per instance")
    alerts_a_week: float = Field(ge=0, description="alerts per week and instance")
    literal_alerts_a_week: float | None = Field(
        default=None, ge=0, description="the same for the playbook's literal form, if there is one"
    )


class Rule(Form):
    """An alert rule. Its expressions are SQL over the columns of one row of the table it watches."""

    former_names: ClassVar[Mapping[str, str]] = {"also": "any_of"}  # for the message on a file of an earlier version

    id: Name = Field(description="the file's name without its extension")
    title: Line = Field(description="the heading of notifications, such as AI Copilot Audit Spike")
    description: Prose = Field(description="what the rule detects and why that matters, in a sentence or two")
    kind: Kind = Field(description="spike, drop, errors, unknown, news, stale or failure")
    watch: Watch = Field(description="the table whose rows are evaluated")
    per: tuple[StrictStr, ...] = Field(description="the columns that identify its instances: [capability], or []")
    window: WindowName = Field(description="which rows are evaluated")
    any_of: Mapping[Name, Figures] = Field(
        default_factory=dict[str, Figures],
        description="further conditions on which the rule fires, each under a name and with its own figures",
    )
    gates: Mapping[Name, SqlExpression] = Field(
        default_factory=dict[str, str], description="conditions that must also hold, each under its own name"
    )
    clears_when: SqlExpression | None = Field(
        default=None, description="the condition that ends an alert; without it, not firing is enough"
    )
    judgeable_when: SqlExpression | None = Field(
        default=None, description="rows on which this is not true count as not judgeable"
    )
    steps: Steps = Field(default=(1, 1), alias="for", description="how many of the last steps must fire: 2 of 3")
    keep_firing: Duration | None = Field(
        default=None, description="how long an alert stays open after its last firing step, such as 30m"
    )
    no_data: NoData = Field(default="keep", description="how a row that cannot be judged counts: keep, ok or alert")
    active: Active = Field(default="always", description="always, or business_hours of calendar.yaml")
    inhibited_by: tuple[Name, ...] = Field(
        default=(), description="rules that inhibit this one while they fire: [freshness_slo]"
    )
    severity: Severity = Field(description="info, warning, error or critical")
    routes: tuple[Name, ...] = Field(min_length=1, description="names of routes in routing.yaml: [on_call]")
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")] = Field(
        description='the color of the bar beside its notifications, in quotes: "#7C3AED"'
    )
    runbook: Name = Field(description="the heading of its section in docs/INGESTION_WORKFLOW.md")
    literal: Form | None = Field(default=None, description="the playbook's rule, taken literally")
    judge_by: JudgeBy = Field(default="fires_when", description="fires_when, or literal: only the playbook's form")
    backtest: Backtest | None = Field(
        default=None, description="how often the rule would have fired; required if it pages"
    )
    not_backtested: Line | None = Field(
        default=None, description="instead of backtest: why it cannot be measured how often the rule would have fired"
    )

    @property
    def form(self) -> Form:
        """The form that is evaluated: the rule's own or, with `judge_by: literal`, the playbook's."""
        return self.literal if self.judge_by == "literal" and self.literal is not None else self

    @property
    def conditions(self) -> Mapping[str, Figures]:
        """The conditions on which the rule fires, by name. Its own condition has the empty name. A finding has the
        figures of the first condition that holds."""
        return {"": self.form} if self.is_literal else {"": self, **self.any_of}

    @property
    def is_literal(self) -> bool:
        """Whether the playbook's form is evaluated, which has no gates and no `for` clause."""
        return self.form is not self

    @property
    def for_clause(self) -> ForClause:
        if self.is_literal:
            return ForClause()
        return ForClause(*self.steps, **({"keep_firing": self.keep_firing} if self.keep_firing else {}))


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule file that does not load. It counts as an error, not as removed."""

    id: str
    file: str
    problems: tuple[Problem, ...]

    @property
    def message(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rule files of a folder, each once, ordered by id."""

    rules: tuple[Rule, ...]
    broken: tuple[BrokenRule, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """One id per file, broken ones included. Ids are unique and valid as check names."""
        return tuple(sorted([rule.id for rule in self.rules] + [broken.id for broken in self.broken]))

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for broken in self.broken for problem in broken.problems)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with that id, or None if there is none or its file does not load."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)


def is_rule_id(text: str) -> bool:
    return re.match(_ID, text) is not None
