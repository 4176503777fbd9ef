"""The anomaly with which made traffic ends: one capability runs away, another's provider fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from audit_assets.simulate.content import EVERYDAY, Moments, Mood, rows
from audit_assets.simulate.wording import Texts
from audit_assets.simulate.world import CAPABILITIES, World

SPIKING = "contract_check"
FAILING = "search_answer"
SPIKE_WITHIN = timedelta(hours=3)  # a spike lasts: one burst of a single step is none to the rules
FAILING_FOR = timedelta(minutes=30)  # so that the last complete quarter of an hour always lies within
# Three times a weekday's rows: above the busiest hours of any 14 days, with all of their chance, at any time of day.
SPIKE_TIMES_A_WEEKDAY = 3.0
FAILING_PART_OF_A_DAY = 0.16
FAILING_AT_LEAST = 180
_FAILING_ODDS = (0.67, 0.12, 0.13, 0.05, 0.0, 0.01, 0.01, 0.0, 0.0, 0.01)


@dataclass(frozen=True)
class Anomaly:
    """The injected rows, and from when they stand in for the failing capability's ordinary ones."""

    rows: pl.DataFrame
    failing_from: datetime

    def without_replaced(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` without the ordinary rows that the failing ones replace."""
        replaced = (pl.col("capability") == FAILING) & (pl.col("created_at") >= self.failing_from)
        return frame.filter(~replaced.fill_null(value=False))

    def rows_of(self, day: date) -> pl.DataFrame:
        return self.rows.filter(pl.col("created_at").dt.date() == day)


def make_anomaly(world: World, texts: Texts, end: datetime, rows_per_day: int) -> Anomaly:
    """The anomaly that ends at `end` (UTC). The spike may begin on the UTC day before."""
    rng = np.random.default_rng([world.seed, 5, int(end.timestamp() * 1_000_000), rows_per_day])
    spiking, failing = _number(SPIKING), _number(FAILING)
    weekday = rows_per_day * world.day_shape[spiking, :5].sum(axis=1).max()
    spike = _moments(rng, spiking, math.ceil(SPIKE_TIMES_A_WEEKDAY * weekday), end - SPIKE_WITHIN, end)
    ordinary = rows_per_day * world.day_shape[failing].sum(axis=1).mean()
    failing_from = end - FAILING_FOR
    size = max(FAILING_AT_LEAST, math.ceil(FAILING_PART_OF_A_DAY * ordinary))
    failures = _moments(rng, failing, size, failing_from, end)
    return Anomaly(
        pl.concat(
            [
                rows(rng, world, texts, spike, Mood(EVERYDAY, runaway=0.7)),
                rows(rng, world, texts, failures, Mood(_FAILING_ODDS)),
            ]
        ),
        failing_from,
    )


def _number(name: str) -> int:
    return next(number for number, capability in enumerate(CAPABILITIES) if capability.name == name)


def _moments(rng: np.random.Generator, capability: int, size: int, start: datetime, end: datetime) -> Moments:
    first, last = (int(moment.timestamp() * 1_000_000) for moment in (start, end))
    return Moments(np.full(size, capability), np.sort(rng.integers(first, last, size, endpoint=True)))
