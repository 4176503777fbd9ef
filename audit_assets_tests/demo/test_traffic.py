"""Synthetic traffic: deterministic by seed, shaped like a business week, bursty, and ending with an anomaly."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, date, datetime, timedelta
from statistics import fmean, median

import polars as pl
import pytest

from audit_assets.demo.population import CAPABILITIES, PROVIDERS, make_population, snapshots, workflows
from audit_assets.demo.traffic import FAILING, SPIKING, first_instant, traffic

END = datetime(2026, 11, 18, 21, 40, tzinfo=UTC)
ERRORS = ("error", "timeout", "rate_limited", "content_filtered")


def made(days: int, end: datetime = END, seed: int = 7, rows_per_day: int = 2000, inject: bool = False):
    return pl.concat(traffic(seed, end, days, rows_per_day, inject))


@pytest.fixture(scope="module")
def eight_weeks() -> pl.DataFrame:
    return made(57).filter(pl.col("created_at") < END.replace(hour=0, minute=0))


def field(name: str, where: str = "response_metadata") -> pl.Expr:
    return pl.col(where).str.json_path_match(f"$.{name}")


def is_error() -> pl.Expr:
    flagged = field("error").is_not_null()
    return field("status").is_in(ERRORS) | flagged


def test_a_seed_gives_the_same_rows():
    assert made(3, inject=True).equals(made(3, inject=True))
    assert not made(3).equals(made(3, seed=8))


def test_a_day_is_the_same_whichever_days_are_made_with_it():
    longer = made(6).filter(pl.col("created_at") >= first_instant(END, 2))
    assert longer.equals(made(2))


def test_traffic_continued_later_holds_all_of_the_earlier():
    later = made(5, end=END + timedelta(days=2, hours=3))
    assert made(2)["id"].is_in(later["id"].implode()).all()


def test_ids_are_unique_uuids(eight_weeks: pl.DataFrame):
    uuid = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    assert eight_weeks["id"].is_unique().all()
    assert eight_weeks["id"].str.contains(uuid).all()


def test_rows_a_day_are_as_asked_and_none_lies_after_the_end(eight_weeks: pl.DataFrame):
    assert len(eight_weeks) / 56 == pytest.approx(2000, rel=0.05)
    until_now = made(2, inject=True)
    assert max(until_now["created_at"]) <= END
    assert until_now["created_at"].is_sorted()


def test_a_workday_is_busy_in_the_tenants_hours_and_a_weekend_is_quiet(eight_weeks: pl.DataFrame):
    local = pl.col("created_at").dt.convert_time_zone("America/Los_Angeles")
    by_weekday = eight_weeks.group_by(local.dt.weekday().alias("day")).len().sort("day")["len"].to_list()
    assert min(by_weekday[:5]) > 2 * max(by_weekday[5:])
    by_hour = eight_weeks.group_by(local.dt.hour().alias("hour")).len().sort("hour")["len"].to_list()
    assert min(by_hour[9:16]) > 2.5 * max(by_hour[0:5])


def test_traffic_is_bursty_beyond_its_weekly_shape(eight_weeks: pl.DataFrame):
    """Compares the variance over weeks with the mean, per hour and weekday. The ratio is 1 for a Poisson process."""
    local = pl.col("created_at").dt.convert_time_zone("America/Los_Angeles")
    hourly = (
        eight_weeks.group_by(local.dt.truncate("1h").alias("hour"))
        .len()
        .group_by(pl.col("hour").dt.weekday().alias("weekday"), pl.col("hour").dt.hour().alias("of_day"))
        .agg(pl.col("len").var().alias("variance"), pl.col("len").mean().alias("mean"), pl.len().alias("weeks"))
        .filter(pl.col("mean") >= 20)
    )
    assert len(hourly) >= 50
    assert fmean(hourly["variance"] / hourly["mean"]) > 1.5


def test_there_are_twelve_capabilities_some_quiet_some_only_on_weekdays(eight_weeks: pl.DataFrame):
    counts = dict(eight_weeks.drop_nulls("capability").group_by("capability").len().iter_rows())
    assert set(counts) == {capability.name for capability in CAPABILITIES}
    assert len(counts) == 12
    daily = {name: count / 56 for name, count in counts.items()}
    assert sum(rows < 10 for rows in daily.values()) >= 2
    local = pl.col("created_at").dt.convert_time_zone("America/Los_Angeles")
    on_weekends = eight_weeks.filter(local.dt.weekday() >= 6)["capability"].unique()
    assert "policy_review" not in on_weekends.to_list()


def test_there_are_five_providers_one_of_them_the_stub(eight_weeks: pl.DataFrame):
    assert set(eight_weeks["provider"].drop_nulls()) == {provider.name for provider in PROVIDERS}
    assert len(PROVIDERS) == 5
    assert "stub" in {provider.name for provider in PROVIDERS}


def test_five_hundred_workspaces_have_teams_and_a_few_do_most_of_the_work(eight_weeks: pl.DataFrame):
    population = make_population(7)
    known = workflows(population)
    assert len(known) == 500
    assert known["team"].null_count() == 0
    assert 0 < known["owner"].null_count() < 50
    counts = eight_weeks["workflow_id"].drop_nulls().value_counts(sort=True)
    assert counts["workflow_id"].is_in(known["id"].implode()).all()
    assert sum(counts["count"].head(50)) > 0.4 * sum(counts["count"])


def test_snapshots_that_rows_name_exist(eight_weeks: pl.DataFrame):
    kept = snapshots(make_population(7), first_instant(END, 57), END)
    named = eight_weeks.select(field("snapshotId", "request_metadata")).to_series().drop_nulls()
    assert len(named) > 0.3 * len(eight_weeks)
    assert named.is_in(kept["id"].implode()).all()


def test_both_metadata_columns_are_json_of_the_agreed_keys(eight_weeks: pl.DataFrame):
    sample = eight_weeks.tail(4000)
    keys: set[str] = set()
    for text in itertools.chain(sample["request_metadata"], sample["response_metadata"]):
        if text is not None:
            keys |= json.loads(text).keys()
    assert keys == {
        *("prompt", "messages", "sourceDocuments", "snapshotId", "promptTokens"),
        *("status", "error", "durationMs", "model", "modelParameters", "completionId", "completionTokens"),
        "response",
    }
    size = sample["request_metadata"].str.len_bytes() + sample["response_metadata"].str.len_bytes()
    assert 600 < fmean(size.drop_nulls()) < 800
    assert sample["request_metadata"].str.contains("[^\x00-\x7f]").any()


def test_requests_fail_in_several_ways_and_fields_are_missing_now_and_then(eight_weeks: pl.DataFrame):
    status = eight_weeks.select(field("status")).to_series()
    kinds = set(status.drop_nulls())
    assert kinds == {"success", "pending", "processing", *ERRORS}
    part = eight_weeks.select(
        errors=is_error().fill_null(value=False).mean(),
        flag_only=(field("status").is_null() & field("error").is_not_null()).mean(),
        success_with_flag=((field("status") == "success") & field("error").is_not_null()).mean(),
        unknown=(
            field("status").is_in(["pending", "processing"]) | (field("status").is_null() & field("error").is_null())
        ).mean(),
        no_duration=field("durationMs").is_null().mean(),
        text_duration=pl.col("response_metadata").str.contains('"durationMs":"', literal=True).mean(),
        no_capability=pl.col("capability").is_null().mean(),
        no_provider=pl.col("provider").is_null().mean(),
        no_workflow=pl.col("workflow_id").is_null().mean(),
    ).row(0, named=True)
    assert all(value > 0 for value in part.values()), part
    assert 0.01 < part["errors"] < 0.03
    assert part["unknown"] < 0.01


def test_latency_is_log_normal_about_the_capabilitys_own_median(eight_weeks: pl.DataFrame):
    millis = (
        eight_weeks.filter(pl.col("provider") == "openai", field("status") == "success")
        .select("capability", log=field("durationMs").cast(pl.Float64, strict=False).log())
        .group_by("capability")
        .agg(pl.col("log").median(), pl.col("log").skew().alias("skew"), pl.len().alias("rows"))
        .filter(pl.col("rows") > 1000)
    )
    medians = dict(millis.select("capability", pl.col("log").exp()).iter_rows())
    assert medians["document_summary"] > 2 * medians["search_answer"]
    assert max(millis["skew"].abs()) < 0.3


@pytest.mark.requirement("R30")
@pytest.mark.parametrize("end", [END, END.replace(hour=0, minute=0, second=9), END.replace(hour=0, minute=0)])
@pytest.mark.parametrize("rows_per_day", [2_000, 8_000])
def test_the_last_hours_end_far_above_any_hours_of_fourteen_days(end: datetime, rows_per_day: int):
    rows = made(15, end=end, rows_per_day=rows_per_day, inject=True).filter(pl.col("capability") == SPIKING)
    slots = rows.group_by(((end - pl.col("created_at")).dt.total_seconds() // 7200).alias("ago")).len()
    counts = dict(slots.iter_rows())
    assert counts[0] > 2 * max(count for ago, count in counts.items() if ago > 1)


@pytest.mark.requirement("R33")
def test_a_busy_capability_errs_in_the_last_half_hour():
    since = END - timedelta(minutes=30)
    last = made(2, inject=True).filter(pl.col("capability") == FAILING, pl.col("created_at") >= since)
    rate = last.select(is_error().fill_null(value=False).mean()).item()
    assert len(last) >= 180
    assert 0.2 < rate < 0.4
    assert last["workflow_id"].n_unique() > 2


def test_without_injection_nothing_is_out_of_the_ordinary():
    rows = made(15).filter(pl.col("capability") == SPIKING)
    counts = rows.group_by(pl.col("created_at").dt.date()).len()["len"]
    assert max(counts) < 3 * median(counts)


def test_the_anomaly_adds_nothing_before_its_last_three_hours():
    before = pl.col("created_at") < END - timedelta(hours=3)
    assert made(3, inject=True).filter(before).equals(made(3).filter(before))


def test_the_day_the_clocks_change_has_no_hour_duplicated_or_missing():
    day = date(2026, 11, 1)
    rows = made(1, end=datetime(2026, 11, 1, 23, 59, tzinfo=UTC), rows_per_day=20_000)
    assert rows["created_at"].dt.date().unique().to_list() == [day]
    assert rows["created_at"].dt.hour().n_unique() == 24


def test_an_end_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        made(1, end=datetime(2026, 11, 18, 12))  # noqa: DTZ001
    with pytest.raises(ValueError, match="days = 0"):
        made(0)
