"""The times of synthetic requests: weekly and daily shape, bursts, and optionally an anomaly at the end.

Pure: rows depend only on the seed, the day and the rows per day. A day's rows are the same whichever other days are
generated, so that traffic can be continued later with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from audit_assets.demo.content import EVERYDAY, Moments, OutcomeMix, Texts, make_texts, rows
from audit_assets.demo.population import CAPABILITIES, TENANTS_TIMEZONE, Population, make_population

SPIKING = "contract_check"
FAILING = "search_answer"
SPIKE_WITHIN = timedelta(hours=3)  # the rules ignore a burst within a single step
FAILING_FOR = timedelta(minutes=30)  # always contains the last complete quarter of an hour
# Three times a weekday's rows: above the busiest hours of any 14 days, including their variance, at any time of day.
SPIKE_WEEKDAY_MULTIPLE = 3.0
FAILING_SHARE_OF_DAY = 0.16
FAILING_AT_LEAST = 180
_FAILING_ODDS = (0.67, 0.12, 0.13, 0.05, 0.0, 0.01, 0.01, 0.0, 0.0, 0.01)

ROWS_PER_DAY = 8_000
DAYS = 60
MICROS_PER_HOUR = 3_600_000_000


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
    spike = _anomaly_moments(rng, spiking, math.ceil(SPIKE_WEEKDAY_MULTIPLE * weekday), end - SPIKE_WITHIN, end)
    ordinary = rows_per_day * population.day_shape[failing].sum(axis=1).mean()
    failing_from = end - FAILING_FOR
    size = max(FAILING_AT_LEAST, math.ceil(FAILING_SHARE_OF_DAY * ordinary))
    failures = _anomaly_moments(rng, failing, size, failing_from, end)
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


def _anomaly_moments(rng: np.random.Generator, capability: int, size: int, start: datetime, end: datetime) -> Moments:
    first, last = (int(moment.timestamp() * 1_000_000) for moment in (start, end))
    return Moments(np.full(size, capability), np.sort(rng.integers(first, last, size, endpoint=True)))


def first_instant(end: datetime, days: int) -> datetime:
    """Midnight UTC of the first of `days` UTC days, the last of which holds `end`."""
    if end.utcoffset() is None:
        raise ValueError(f"end = {end} has no time zone: add one, such as UTC")
    if days < 1:
        raise ValueError(f"days = {days}: must be at least 1")
    last = end.astimezone(UTC).date()
    return datetime(last.year, last.month, last.day, tzinfo=UTC) - timedelta(days=days - 1)


def traffic(
    seed: int, end: datetime, days: int = DAYS, rows_per_day: int = ROWS_PER_DAY, inject: bool = True
) -> Iterator[pl.DataFrame]:
    """Yields source rows up to `end`, one frame per UTC day, oldest first, ordered by created_at.

    `rows_per_day` is the mean over a week. With `inject`, a quiet capability spikes and a busy one fails just before
    `end`.
    """
    start = first_instant(end, days)
    population, texts = make_population(seed), make_texts(seed)
    anomaly = make_anomaly(population, texts, end.astimezone(UTC), rows_per_day) if inject else None
    for number in range(days):
        day = (start + timedelta(days=number)).date()
        yield _with_anomaly(day_rows(population, texts, day, rows_per_day), day, end, anomaly)


def day_rows(population: Population, texts: Texts, day: date, rows_per_day: int) -> pl.DataFrame:
    """The ordinary rows of a whole UTC day."""
    rng = np.random.default_rng([population.seed, 4, day.toordinal(), rows_per_day])
    return rows(rng, population, texts, _moments(rng, population, day, rows_per_day))


def _with_anomaly(frame: pl.DataFrame, day: date, end: datetime, anomaly: Anomaly | None) -> pl.DataFrame:
    frame = frame.filter(pl.col("created_at") <= end)
    if anomaly is None:
        return frame
    return pl.concat([anomaly.without_replaced(frame), anomaly.rows_of(day)]).sort("created_at", "id")


def _moments(rng: np.random.Generator, population: Population, day: date, rows_per_day: int) -> Moments:
    """Poisson counts whose mean varies (gamma) by day, hour and capability, because real traffic is bursty. Minutes
    within an hour are unequal too."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    zone = ZoneInfo(TENANTS_TIMEZONE)
    local = [(midnight + timedelta(hours=hour)).astimezone(zone) for hour in range(24)]
    expected = rows_per_day * np.stack(
        [population.day_shape[:, there.weekday(), there.hour] for there in local], axis=1
    )
    capabilities = len(expected)
    mean = (
        expected
        * rng.gamma(80.0, 1 / 80, (capabilities, 1))
        * rng.gamma(30.0, 1 / 30, (1, 24))
        * rng.gamma(8.0, 1 / 8, (capabilities, 24))
    )
    cells = np.repeat(np.arange(capabilities * 24), rng.poisson(mean).ravel())
    weights = rng.gamma(0.8, 1.0, (capabilities * 24, 60)) + 0.02
    edges = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    drawn = np.searchsorted((edges + np.arange(len(edges))[:, None]).ravel(), cells + rng.random(len(cells)))
    minute = np.minimum(drawn - cells * 60, 59)
    within = rng.integers(0, 60_000_000, len(cells))
    start = int(midnight.timestamp()) * 1_000_000
    micros = start + (cells % 24) * MICROS_PER_HOUR + minute * 60_000_000 + within
    order = np.argsort(micros, kind="stable")
    return Moments((cells // 24)[order], micros[order])
