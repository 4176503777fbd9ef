"""The population of synthetic traffic: capabilities, providers and workspaces, and how busy each is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

TENANTS_TIMEZONE = "America/Los_Angeles"

# Share of a capability's traffic on Monday … Sunday, before scaling to a mean of 1.
BUSINESS_WEEK = (1.05, 1.12, 1.14, 1.10, 0.95, 0.24, 0.20)
WEEKDAYS_ONLY = (1.0, 1.1, 1.1, 1.0, 0.8, 0.0, 0.0)
EVERY_DAY = (1.0, 1.02, 1.02, 1.0, 1.0, 0.88, 0.86)

# Share of a day's traffic at local hours 0 … 23, before scaling to a sum of 1.
OFFICE_HOURS = (1, 0.7, 0.5, 0.5, 0.6, 1.2, 3, 7, 14, 22, 26, 25, 20, 22, 25, 24, 21, 16, 10, 7, 5, 4, 3, 2)
BATCH_HOURS = (9, 9, 8, 7, 6, 5, 4, 4, 5, 5, 5, 5, 4, 4, 4, 5, 5, 5, 5, 5, 6, 7, 8, 9)
# (hours earlier, share): most tenants are in Los Angeles; the day in New York and London starts 3 and 8 hours earlier.
TENANT_OFFSETS = ((0, 0.80), (3, 0.12), (8, 0.08))


@dataclass(frozen=True)
class Capability:
    """A kind of request. `share` is its share of all rows; latency is log-normal around `median_ms`."""

    name: str
    share: float
    week: tuple[float, ...]
    hours: tuple[float, ...]
    median_ms: float
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Provider:
    """A model provider. `pace` multiplies the latency, `error_factor` the share of errors."""

    name: str
    share: float
    models: tuple[str, str]
    pace: float
    error_factor: float


CAPABILITIES = (
    Capability("chat_assist", 0.300, BUSINESS_WEEK, OFFICE_HOURS, 1400, 320, 180),
    Capability("document_summary", 0.170, BUSINESS_WEEK, OFFICE_HOURS, 4200, 2600, 350),
    Capability("search_answer", 0.150, BUSINESS_WEEK, OFFICE_HOURS, 900, 900, 120),
    Capability("code_review", 0.100, BUSINESS_WEEK, OFFICE_HOURS, 5200, 3100, 420),
    Capability("data_extraction", 0.095, EVERY_DAY, BATCH_HOURS, 2300, 1800, 260),
    Capability("email_draft", 0.070, BUSINESS_WEEK, OFFICE_HOURS, 1900, 280, 240),
    Capability("translation", 0.050, EVERY_DAY, OFFICE_HOURS, 1600, 700, 700),
    Capability("report_builder", 0.030, BUSINESS_WEEK, OFFICE_HOURS, 9000, 4200, 1100),
    Capability("sentiment_tagging", 0.018, EVERY_DAY, BATCH_HOURS, 350, 160, 8),
    Capability("contract_check", 0.0145, BUSINESS_WEEK, OFFICE_HOURS, 6500, 5200, 480),
    Capability("policy_review", 0.0018, WEEKDAYS_ONLY, OFFICE_HOURS, 7200, 4800, 520),
    Capability("board_pack", 0.0007, WEEKDAYS_ONLY, OFFICE_HOURS, 14000, 7600, 1500),
)
PROVIDERS = (
    Provider("openai", 0.46, ("gpt-4o", "gpt-4o-mini"), 1.0, 1.0),
    Provider("anthropic", 0.31, ("claude-sonnet-4", "claude-haiku-3-5"), 1.1, 0.8),
    Provider("google", 0.14, ("gemini-2.0-pro", "gemini-2.0-flash"), 0.8, 1.2),
    Provider("mistral", 0.07, ("mistral-large", "mistral-small"), 0.7, 1.5),
    Provider("stub", 0.02, ("stub-echo", "stub-fixed"), 0.05, 0.3),
)
TEAMS = (
    *("Underwriting", "Claims", "Legal", "Procurement", "Finance", "People"),
    *("Support", "Sales", "Marketing", "Research", "Data Platform", "Security"),
)
WORKSPACES = 500
SILENT = 35  # workspaces that are visited without using the copilot
DORMANT = 20  # workspaces without a visit for months
SNAPSHOTS_PER_WORKSPACE = 6


@dataclass(frozen=True)
class Population:
    """A population, determined by its seed. Probabilities are cumulative."""

    seed: int
    workspace_ids: tuple[str, ...]
    silent: tuple[int, ...]  # indexes in workspace_ids
    dormant: tuple[int, ...]
    workspace_odds: np.ndarray  # capability × workspace
    provider_odds: np.ndarray  # capability × provider
    day_shape: np.ndarray  # capability × weekday × local hour; expected share of an average day's rows


def make_population(seed: int) -> Population:
    """The population of a seed."""
    rng = np.random.default_rng([seed, 1])
    # Zipf over workspaces, with different weights for each capability.
    zipf = 1.0 / np.arange(3, WORKSPACES + 3) ** 1.05
    silent, dormant = _without_records(seed)
    zipf[[*silent, *dormant]] = 0.0
    workspace_weights = rng.lognormal(0.0, 0.8, size=(len(CAPABILITIES), WORKSPACES))
    providers = np.array([provider.share for provider in PROVIDERS])
    provider_weights = rng.lognormal(0.0, 0.35, size=(len(CAPABILITIES), len(PROVIDERS)))
    return Population(
        seed,
        tuple(f"ws-{number:04d}" for number in range(1, WORKSPACES + 1)),
        silent,
        dormant,
        _cumulative(zipf * workspace_weights),
        _cumulative(providers * provider_weights),
        _day_shape(),
    )


def _without_records(seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The indexes of the silent and of the dormant workspaces, from the quieter half of all workspaces."""
    rng = np.random.default_rng([seed, 7])
    drawn = [int(index) for index in rng.permutation(np.arange(WORKSPACES // 2, WORKSPACES))]
    return tuple(drawn[:SILENT]), tuple(drawn[SILENT : SILENT + DORMANT])


def _cumulative(weights: np.ndarray) -> np.ndarray:
    return np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)


def _day_shape() -> np.ndarray:
    total = sum(capability.share for capability in CAPABILITIES)
    shape = np.empty((len(CAPABILITIES), 7, 24))
    for number, capability in enumerate(CAPABILITIES):
        week = np.array(capability.week) / np.mean(capability.week)
        home = np.array(capability.hours) / np.sum(capability.hours)
        hours = sum(part * np.roll(home, -earlier) for earlier, part in TENANT_OFFSETS)
        shape[number] = capability.share / total * np.outer(week, hours)
    return shape


def workflows(population: Population) -> pl.DataFrame:
    """One row per workspace: id, name, team, owner. Some have no owner."""
    rng = np.random.default_rng([population.seed, 2])
    names = ("Atlas", "Borealis", "Café", "Delta", "Élan", "Fjord", "Größe", "Harbour", "東京", "Juniper")
    size = len(population.workspace_ids)
    teams: list[str] = [TEAMS[pick] for pick in rng.integers(0, len(TEAMS), size)]
    owners = [f"owner{pick:02d}@example.com" if pick else None for pick in rng.integers(0, 60, size)]
    titles = [
        f"{names[pick]} {team} {number}"
        for number, (pick, team) in enumerate(zip(rng.integers(0, len(names), size), teams, strict=True), 1)
    ]
    return pl.DataFrame({"id": population.workspace_ids, "name": titles, "team": teams, "owner": owners})


def last_accesses(population: Population, end: datetime) -> pl.Series:
    """The last access (UTC) of each workspace without records, before `end`. Null for the others, whose last access
    follows from their records."""
    rng = np.random.default_rng([population.seed, 8])
    accesses: list[datetime | None] = [None] * len(population.workspace_ids)
    for indexes, days in ((population.silent, (0.0, 10.0)), (population.dormant, (90.0, 400.0))):
        for index, ago in zip(indexes, rng.uniform(*days, len(indexes)), strict=True):
            accesses[index] = end - timedelta(days=float(ago))
    return pl.Series("last_accessed_at", accesses, dtype=pl.Datetime("us", "UTC"))


def snapshots(population: Population, start: datetime, end: datetime) -> pl.DataFrame:
    """The data snapshots of the workspaces, spread evenly from `start` to `end` (UTC)."""
    step = (end - start) / SNAPSHOTS_PER_WORKSPACE
    rows = [
        (snapshot_id(workspace, turn), workspace, start + turn * step + timedelta(seconds=number))
        for number, workspace in enumerate(population.workspace_ids)
        for turn in range(SNAPSHOTS_PER_WORKSPACE)
    ]
    return pl.DataFrame(rows, schema=["id", "workflow_id", "captured_at"], orient="row").with_columns(
        summary=pl.concat_str(pl.lit('{"tables":4,"rows":'), pl.int_range(pl.len()) * 37 + 11, pl.lit("}"))
    )


def snapshot_id(workspace: str, turn: int) -> str:
    return f"snap-{workspace}-{turn}"
