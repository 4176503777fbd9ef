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

from audit_assets.rules.facts import WindowName

Severity = Literal["info", "warning", "error", "critical"]
Unit = Literal["count", "share"]
Watch = Literal["ai_audit_capability_anomalies", "ai_audit_capability_grid"]

FactValue = StrictBool | StrictInt | StrictFloat | StrictStr | datetime | date | None

_ID = r"^[a-z][a-z0-9_]{0,62}$"


def _number_as_text(value: Any) -> Any:
    """`threshold: 0.05` is a number in YAML and an expression to us."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return repr(value)
    return value


Name = Annotated[str, StringConstraints(pattern=_ID)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Prose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
SqlExpression = Annotated[str, BeforeValidator(_number_as_text), StringConstraints(strip_whitespace=True, min_length=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Examples(_Frozen):
    """Rows the rule must fire on and rows it must not; columns left out are null. They run as tests."""

    fires: tuple[Mapping[str, FactValue], ...] = Field(min_length=1, description="rows on which it fires")
    does_not_fire: tuple[Mapping[str, FactValue], ...] = Field(
        min_length=1, description="rows on which it stays silent"
    )


class Rule(_Frozen):
    """One alert rule. Its expressions are SQL over the columns of one row of the table it watches."""

    id: Name = Field(description="the file's name without its ending")
    title: Line = Field(description="what a message is headed with, such as AI Copilot Audit Spike")
    description: Prose = Field(description="what it finds and why that matters, in a sentence or two")
    watch: Watch = Field(description="the table whose rows are judged")
    per: tuple[StrictStr, ...] = Field(description="the columns that tell its instances apart: [capability]")
    window: WindowName = Field(description="which rows are judged")
    fires_when: SqlExpression = Field(description="true on a row that is trouble, null where none can say")
    judgeable_when: SqlExpression | None = Field(
        default=None, description="rows on which this is not true are counted as not judgeable"
    )
    value: SqlExpression = Field(description="the figure a message tells")
    baseline: SqlExpression | None = Field(default=None, description="what that figure usually is")
    baseline_is: Line | None = Field(default=None, description="the baseline in words")
    threshold: SqlExpression = Field(description="the figure at which it fires")
    unit: Unit = Field(description="how figures are written: count (1,234) or share (5.0 %)")
    severity: Severity = Field(description="info, warning, error or critical")
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")] = Field(
        description='the bar beside its messages, in quotes: "#7C3AED"'
    )
    runbook: Name = Field(description="the heading of its section in docs/INGESTION_WORKFLOW.md")
    examples: Examples = Field(description="rows that fire and rows that do not")


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
