"""Filters over the tables of counts give the same figures as a recount of raw rows."""

import math
import random
from collections.abc import Callable, Iterator

import pytest

from audit_assets_tests.models.conftest import Models, Row

DAYS = [f"2026-11-0{n}" for n in range(1, 6)]
CAPABILITIES = ["summarise", "chat", "extract"]
PROVIDERS = ["openai", "anthropic", "stub"]
WORKSPACES = ["w1", "w2", "w3", "w4", None]


def made_rows() -> Iterator[Row]:
    generator = random.Random(23)
    for n in range(3000):
        yield Row(
            id=str(n),
            created_at=f"{generator.choice(DAYS)} {generator.randrange(24):02}:{generator.randrange(60):02}:07+00",
            workflow_id=generator.choice(WORKSPACES),
            capability=generator.choice(CAPABILITIES),
            provider=generator.choice(PROVIDERS),
            status=generator.choice(["success", "success", "success", "failed", None]),
            error_flag=generator.choice([None, None, True]),
            duration_ms=generator.choice([None, str(generator.lognormvariate(7, 1.5)), "0.3"]),
        )


def random_filters() -> Iterator[tuple[str, Callable[[Row], bool]]]:
    generator = random.Random(24)

    def subset(values: list[str]) -> list[str]:
        return generator.sample(values, generator.randint(1, len(values)))

    for _ in range(40):
        days, capabilities, providers = subset(DAYS), subset(CAPABILITIES), subset(PROVIDERS)
        condition = " and ".join(
            f"{column} in ({', '.join(repr(value) for value in values)})"
            for column, values in (("date", days), ("capability", capabilities), ("provider", providers))
        )

        def holds(
            row: Row,
            days: list[str] = days,
            capabilities: list[str] = capabilities,
            providers: list[str] = providers,
        ) -> bool:
            return row.created_at[:10] in days and row.capability in capabilities and row.provider in providers

        yield condition, holds


@pytest.mark.requirement("R23c", "R22", "R06")
def test_any_filter_recounts_workspaces_errors_and_percentiles_from_raw(models: Models):
    rows = list(made_rows())
    models.load(rows)
    models.rebuild(tests=True)
    for condition, holds in random_filters():
        kept = [row for row in rows if holds(row)]
        failed = [row for row in kept if row.error_flag or row.status == "failed"]
        succeeded = [row for row in kept if row.status == "success" and not row.error_flag]
        counts = models.query(
            "select count(distinct case when not is_unassigned then workspace_id end), sum(interaction_count), "
            f"sum(error_count), sum(success_count) from ai_audit_workspace_counts where {condition}"
        )
        workspaces = {row.workflow_id for row in kept} - {None}
        assert counts == [(len(workspaces), len(kept), len(failed), len(succeeded))]

        latencies = sorted(float(row.duration_ms) for row in kept if row.duration_ms is not None)
        histogram = models.query(
            "select upper_ms, sum(interaction_count) from ai_audit_latency_histogram "
            f"where {condition} group by bucket, upper_ms order by bucket"
        )
        assert sum(count for _, count in histogram) == len(latencies)
        for percent in (50, 90, 95, 99):
            position = -(-percent * len(latencies) // 100)
            true = latencies[position - 1]
            estimate = estimated(histogram, position)
            assert math.isclose(estimate, true, rel_tol=0.01, abs_tol=1)


def estimated(histogram: list[tuple[float, int]], position: int) -> float:
    """The middle of the bucket with the position-th latency: 2 × upper / 2.02 is at most 1 % off."""
    for upper, count in histogram:
        position -= count
        if position <= 0:
            return 2 * upper / 2.02
    raise AssertionError("the histogram has fewer latencies")


@pytest.mark.requirement("R22")
def test_workspace_totals_are_those_of_the_daily_table(models: Models):
    models.load(list(made_rows()))
    models.rebuild()
    totals = "select date, sum({}) from {} group by date order by date"
    assert models.query(totals.format("total_interactions", "ai_audit_workspace_stats")) == models.query(
        totals.format("interaction_count", "ai_audit_daily")
    )
    assert len(models.query("select distinct workspace_id from ai_audit_workspace_stats")) == len(WORKSPACES)
