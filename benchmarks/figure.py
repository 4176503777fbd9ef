"""The result of a benchmark: figures, their aims, and the arithmetic of medians and percentiles. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Literal

AimResult = Literal["reached", "missed", "no aim", "skipped"]


class BenchmarkError(Exception):
    """A benchmark that could not be measured. The message gives the reason and the fix."""


@dataclass(frozen=True)
class Aim:
    """A bound on a figure, in the figure's unit."""

    bound: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def reached_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One measured value. `value` is None if it could not be measured. `detail` explains why, or how it was
    measured."""

    name: str
    value: float | None
    unit: str
    aim: Aim | None = None
    detail: str = ""

    @property
    def result(self) -> AimResult:
        if self.value is None:
            return "skipped"
        if self.aim is None:
            return "no aim"
        return "reached" if self.aim.reached_by(self.value) else "missed"


def at_most(bound: float) -> Aim:
    return Aim(bound)


def at_least(bound: float) -> Aim:
    return Aim(bound, at_least=True)


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The ratio of medians. Runs alternate, so that a busy minute of the machine affects both."""
    return median(ours) / median(theirs)


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed. Raises ValueError without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values: a percentile needs one")
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]


def spread(values: Sequence[float], unit: str = "s") -> str:
    """`median 2.41 s of 3 (2.38 to 2.60)`."""
    return f"median {median(values):.2f} {unit} of {len(values)} ({min(values):.2f} to {max(values):.2f})"
