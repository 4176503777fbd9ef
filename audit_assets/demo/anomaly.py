"""The anomaly at the end of synthetic traffic: one capability runs away, and another capability's provider fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from audit_assets.demo.content import EVERYDAY, Moments, OutcomeMix, rows
from audit_assets.demo.population import CAPABILITIES, Population
from audit_assets.demo.text_pool import Texts

SPIKING = "contract_check"
FAILING = "search_answer"
SPIKE_WITHIN = timedelta(hours=3)  # the rules ignore a burst within a single step
FAILING_FOR = timedelta(minutes=30)  # always contains the last complete quarter of an hour
# Three times a weekday's rows: above the busiest hours of any 14 days, including their variance, at any time of day.
SPIKE_WEEKDAY_MULTIPLE = 3.0
FAILING_SHARE_OF_DAY = 0.16
FAILING_AT_LEAST = 180
_FAILING_ODDS = (0.67, 0.12, 0.13, 0.05, 0.0, 0.01, 0.01, 0.0, 0.0, 0.01)


@dataclass(frozen=True)
class Anomaly:
    """The injected rows, and the time (UTC) from which they replace the failing capability's ordinary rows."""

    rows: pl.DataFrame
    failing_from: datetime

    def without_replaced(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` without the ordinary rows that the failing ones replace."""
        replaced = (pl.col("capability") == FAILING) & (pl.col("created_at") >= self.failing_from)
        return frame.filter(~replaced.fill_null(value=False))

    def rows_of(self, day: date) -> pl.DataFrame:
        return self.rows.filter(pl.col("created_at").dt.date() == day)


def make_anomaly(population: Population, texts: Texts, end: datetime, rows_per_day: int) -> Anomaly:
    """The anomaly that ends at `end` (UTC). The spike may begin on the previous UTC day."""
    rng = np.random.default_rng([population.seed, 5, int(end.timestamp() * 1_000_000), rows_per_day])
    spiking, failing = _index(SPIKING), _index(FAILING)
    weekday = rows_per_day * population.day_shape[spiking, :5].sum(axis=1).max()
    spike = _moments(rng, spiking, math.ceil(SPIKE_WEEKDAY_MULTIPLE * weekday), end - SPIKE_WITHIN, end)
    ordinary = rows_per_day * population.day_shape[failing].sum(axis=1).mean()
    failing_from = end - FAILING_FOR
    size = max(FAILING_AT_LEAST, math.ceil(FAILING_SHARE_OF_DAY * ordinary))
    failures = _moments(rng, failing, size, failing_from, end)
    return Anomaly(
        pl.concat(
            [
                rows(rng, population, texts, spike, OutcomeMix(EVERYDAY, runaway=0.7)),
                rows(rng, population, texts, failures, OutcomeMix(_FAILING_ODDS)),
            ]
        ),
        failing_from,
    )


def _index(name: str) -> int:
    return next(index for index, capability in enumerate(CAPABILITIES) if capability.name == name)


def _moments(rng: np.random.Generator, capability: int, size: int, start: datetime, end: datetime) -> Moments:
    first, last = (int(moment.timestamp() * 1_000_000) for moment in (start, end))
    return Moments(np.full(size, capability), np.sort(rng.integers(first, last, size, endpoint=True)))
