"""A rule as a value: what its YAML file may hold, and what is known of a file that does not load."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from audit_assets.rules.durations import Duration
from audit_assets.rules.episode import Terms
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
]

FactValue = StrictBool | StrictInt | StrictFloat | StrictStr | datetime | date | None

_ID = r"^[a-z][a-z0-9_]{0,62}$"
_STEPS = re.compile(r"([1-9]\d?) of ([1-9]\d?)")


def _number_as_text(value: Any) -> Any:
    """`threshold: 0.05` is a number in YAML and an expression to us."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return repr(value)
    return value


def parse_steps(value: Any) -> tuple[int, int]:
    """`2 of 3` as (2, 3): so many of the last steps must fire. Raises ValueError on anything else."""
    if isinstance(value, tuple):
        return value
    found = _STEPS.fullmatch(str(value).strip())
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"{value!r} says no number of steps; write how many of the last ones fire, such as 2 of 3")
    return int(found[1]), int(found[2])


Name = Annotated[str, StringConstraints(pattern=_ID)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Prose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
SqlExpression = Annotated[str, BeforeValidator(_number_as_text), StringConstraints(strip_whitespace=True, min_length=1)]
Steps = Annotated[tuple[int, int], BeforeValidator(parse_steps)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Examples(_Frozen):
    """Rows the rule must fire on and rows it must not; columns left out are null. They run as tests."""

    fires: tuple[Mapping[str, FactValue], ...] = Field(min_length=1, description="rows on which it fires")
    does_not_fire: tuple[Mapping[str, FactValue], ...] = Field(
        min_length=1, description="rows on which it stays silent"
    )


class Figures(_Frozen):
    """One condition, and what a message tells where it holds."""

    fires_when: SqlExpression = Field(description="true on a row that is trouble, null where none can say")
    value: SqlExpression = Field(description="the figure a message tells")
    value_is: Line | None = Field(default=None, description="the figure in words, such as calls in 2 hours")
    baseline: SqlExpression | None = Field(default=None, description="what that figure usually is")
    baseline_is: Line | None = Field(default=None, description="the baseline in words")
    threshold: SqlExpression = Field(description="the figure at which it fires")


class Form(Figures):
    """One way to judge a row: when it fires, and the figures a message then tells."""

    unit: Unit = Field(description="how figures are written: count (1,234), share (5.0 %) or minutes")
    examples: Examples = Field(description="rows that fire and rows that do not")


class Backtest(_Frozen):
    """How often the rule would have fired: nobody enables a rule that pages without knowing. Written by hand from what
    `audit rules backtest` prints."""

    measured: date = Field(description="the day of the measurement")
    data: Line = Field(description="over what, such as BurstGPT, 61 days, by capability")
    series: int = Field(ge=1, description="how many instances there were")
    days: float = Field(gt=0, description="how many days of each were judged")
    alerts_a_week: float = Field(ge=0, description="alerts a week and instance")
    literal_alerts_a_week: float | None = Field(
        default=None, ge=0, description="the same for the playbook's literal form, where there is one"
    )


class Rule(Form):
    """One alert rule. Its expressions are SQL over the columns of one row of the table it watches."""

    id: Name = Field(description="the file's name without its ending")
    title: Line = Field(description="what a message is headed with, such as AI Copilot Audit Spike")
    description: Prose = Field(description="what it finds and why that matters, in a sentence or two")
    kind: Kind = Field(description="spike, drop, errors, unknown, news, stale or failure")
    watch: Watch = Field(description="the table whose rows are judged")
    per: tuple[StrictStr, ...] = Field(description="the columns that tell its instances apart: [capability], or []")
    window: WindowName = Field(description="which rows are judged")
    also: Mapping[Name, Figures] = Field(
        default_factory=dict[str, Figures],
        description="further conditions on which it fires, each under a name and with its own figures",
    )
    gates: Mapping[Name, SqlExpression] = Field(
        default_factory=dict[str, str], description="conditions that must hold as well, each under a name of its own"
    )
    clears_when: SqlExpression | None = Field(
        default=None, description="what a firing row must satisfy to be over; without it, not firing is enough"
    )
    judgeable_when: SqlExpression | None = Field(
        default=None, description="rows on which this is not true are counted as not judgeable"
    )
    steps: Steps = Field(default=(1, 1), alias="for", description="how many of the last steps must fire: 2 of 3")
    keep_firing: Duration | None = Field(
        default=None, description="how long after its last firing step it stays open, such as 30m"
    )
    no_data: NoData = Field(default="keep", description="what a row that cannot be judged does: keep, ok or alert")
    active: Active = Field(default="always", description="always, or business_hours of calendar.yaml")
    inhibited_by: tuple[Name, ...] = Field(
        default=(), description="rules that, while they fire, make this one not ready: [freshness_slo]"
    )
    severity: Severity = Field(description="info, warning, error or critical")
    routes: tuple[Name, ...] = Field(min_length=1, description="names in routing.yaml: [on_call]")
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")] = Field(
        description='the bar beside its messages, in quotes: "#7C3AED"'
    )
    runbook: Name = Field(description="the heading of its section in docs/INGESTION_WORKFLOW.md")
    literal: Form | None = Field(default=None, description="the playbook's text taken literally")
    judge_by: JudgeBy = Field(default="fires_when", description="fires_when, or literal: the playbook's form alone")
    backtest: Backtest | None = Field(default=None, description="how often it would have fired; needed if it pages")

    @property
    def form(self) -> Form:
        """What is judged: the rule's own form or, where the file says so, the playbook's."""
        return self.literal if self.judge_by == "literal" and self.literal is not None else self

    @property
    def ways(self) -> Mapping[str, Figures]:
        """The conditions on which it fires, by name, the first that holds being told; the rule's own has no name."""
        return {"": self.form} if self.is_literal else {"": self, **self.also}

    @property
    def is_literal(self) -> bool:
        """Whether the playbook's form is judged: no gates then, and every step counts alone."""
        return self.form is not self

    @property
    def terms(self) -> Terms:
        if self.is_literal:
            return Terms()
        return Terms(*self.steps, **({"keep_firing": self.keep_firing} if self.keep_firing else {}))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a rule file, where, and the mend."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {field}{self.message}"


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule file that does not load. It counts as errored: never as removed."""

    id: str
    file: str
    problems: tuple[Problem, ...]

    @property
    def message(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rule files of a folder, each once, by id."""

    rules: tuple[Rule, ...]
    broken: tuple[BrokenRule, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """One id a file, broken ones included; every one is unique and may name a check."""
        return tuple(sorted([rule.id for rule in self.rules] + [broken.id for broken in self.broken]))

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for broken in self.broken for problem in broken.problems)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, or None where there is none or its file does not load."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)


def is_rule_id(text: str) -> bool:
    return re.match(_ID, text) is not None
