"""Runs of the sync job on a real instance: what they build, what they put on record, how they fail."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterInstance, build_sensor_context
from sqlalchemy import func, select

from audit_assets.alerting.ledger import alerts, deliveries, open_ledger
from audit_assets.cli.headless import prepare_instance
from audit_assets.simulate.world import SILENT
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.duckdb_keeper import DuckDBKeeper
from audit_assets.warehouse.raw import count_days
from audit_assets_tests.homes import DAYS, Home


@pytest.fixture
def instance(home: Home) -> Iterator[DagsterInstance]:
    prepare_instance(home.settings())
    with DagsterInstance.get() as instance:
        yield instance


def today() -> date:
    return datetime.now(UTC).date()


def warehouse(home: Home) -> DuckDBWarehouse:
    settings = home.settings()
    return DuckDBWarehouse(settings.duckdb_path, settings.lock_path)


def evaluations(instance: DagsterInstance, run_id: str) -> list[Any]:
    logs = instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    return [entry.dagster_event.event_specific_data for entry in logs if entry.dagster_event]


def materialised(instance: DagsterInstance, run_id: str) -> set[tuple[str, str | None]]:
    """(asset, partition) of every materialisation of the run."""
    logs = instance.all_logs(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.dagster_event.step_materialization_data.materialization for entry in logs if entry.dagster_event]
    return {(event.asset_key.path[-1], event.partition) for event in events}


def micro_batch(instance: DagsterInstance, **more: Any) -> Any:
    """One run as the sensor requests it."""
    from audit_assets.definitions import defs
    from audit_assets.defs.resources import Surroundings
    from audit_assets.defs.schedules import audit_sync_sensor

    with build_sensor_context(instance=instance, resources={"surroundings": Surroundings()}) as context:
        (request,) = audit_sync_sensor(context).run_requests
    request.run_config["ops"]["sync_ai_audit_logs"]["config"].update(more)
    job = defs.resolve_job_def("audit_sync").get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
    )
    return job.execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        run_config=request.run_config,
        tags=request.tags,
        raise_on_error=False,
    )


def agrees(home: Home) -> bool:
    """Whether source, raw, daily mart and snapshot hold the same rows."""
    ((at_source,),) = home.ask("select count(*) from ai_audit_logs")
    ((raw, daily),) = home.published(
        """select (select count(*) from analytics.ai_audit_logs),
            (select sum(interaction_count)::bigint from analytics.ai_audit_daily)"""
    )
    return at_source == raw == daily


@pytest.mark.requirement("R15", "R10")
def test_a_micro_batch_brings_rows_to_the_snapshot_judges_them_and_leaves_models_tests_out(
    home: Home, instance: DagsterInstance
):
    from audit_assets.defs.checks import RULES

    home.insert(30)
    result = micro_batch(instance)
    assert result.success
    assert agrees(home)
    names = {evaluation.check_name for evaluation in evaluations(instance, result.run_id)}
    assert names == {*RULES.ids, "state_mirror_is_current", "ids_are_unique"}
    with warehouse(home).connection("a test") as connection:
        assert DuckDBKeeper(connection).unbuilt_days() == ()


@pytest.mark.requirement("R24")
def test_a_run_says_how_many_workspaces_there_are_and_publishes_how_many_are_covered(
    home: Home, instance: DagsterInstance
):
    home.tell("insert into workflows (id, last_accessed_at) values ('new', now())")
    estimates = "select * from analytics.ai_audit_workspace_coverage where is_estimated order by date"
    before = home.published(estimates)
    result = micro_batch(instance, mode="full")
    assert result.success
    brought = {
        event.asset_key.path[-1]: event for event in result.asset_materializations_for_node("sync_ai_audit_logs")
    }
    assert brought["ai_audit_workspaces"].metadata["dagster/row_count"].value == 501
    assert home.published("select count(*) from analytics.ai_audit_workspaces") == [(501,)]
    assert home.published(estimates)[: len(before)] == before
    ((active, covered, rate),) = home.published(
        """select active_workspace_count, covered_workspace_count, coverage_rate
        from analytics.ai_audit_workspace_coverage where not is_estimated order by date desc limit 1"""
    )
    assert rate == covered / active
    assert active - covered > SILENT
    assert 0.85 < rate < 0.95


@pytest.mark.requirement("R45")
def test_what_a_batch_judged_is_in_the_ledgers_copy_before_it_ends(home: Home, instance: DagsterInstance):
    home.insert(5)
    result = micro_batch(instance)
    assert result.success
    assert ("ai_audit_alerts", None) in materialised(instance, result.run_id)
    with open_ledger(home.settings().ledger_url) as ledger, ledger.transaction() as connection:
        opened = connection.execute(select(alerts.c.key, alerts.c.value).order_by(alerts.c.key)).all()
        told = connection.execute(select(func.count()).select_from(deliveries)).scalar_one()
    assert opened
    assert home.published("select key, value from analytics.ai_audit_alerts order by key") == opened
    assert home.published("select count(*) from analytics.ai_audit_alert_deliveries") == [(told,)]
    again = micro_batch(instance)  # nothing new is told in it, and nobody was told meanwhile
    assert again.success
    assert ("ai_audit_alert_deliveries", None) not in materialised(instance, again.run_id)


@pytest.mark.requirement("R45")
def test_without_a_ledger_a_batch_fails_in_words_with_its_data_published(
    home: Home, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    home.insert(5)
    monkeypatch.setenv("AI_AUDIT_LEDGER_URL", "postgresql+psycopg2://ledger:hush@127.0.0.1:1/nowhere")
    result = micro_batch(instance)
    assert not result.success
    assert agrees(home)
    said = [entry.message for entry in instance.all_logs(result.run_id, of_type=DagsterEventType.STEP_FAILURE)]
    told = "\n".join(map(str, instance.all_logs(result.run_id)))
    assert len(said) == 2  # the rules, and the copy
    assert "the alert ledger at" in told
    assert "hush" not in told


@pytest.mark.requirement("R12", "R28")
def test_late_rows_of_another_day_reach_its_tables_and_its_partition_is_told(home: Home, instance: DagsterInstance):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    home.insert(25, at=yesterday, prefix="late")
    result = micro_batch(instance, lookback_minutes=3 * 24 * 60)
    assert result.success
    assert agrees(home)
    told = materialised(instance, result.run_id)
    for asset in ("ai_audit_logs", "ai_audit_daily", "ai_audit_capability_anomalies"):
        assert {(asset, str(yesterday.date())), (asset, str(today()))} <= told
    assert ("published_snapshot", None) in told


@pytest.mark.requirement("R27")
def test_a_run_of_one_day_says_of_each_models_test_which_day_it_read(home: Home, instance: DagsterInstance):
    day = today() - timedelta(days=3)
    outcome = home.build(day, mode="days")
    assert outcome.succeeded, outcome.failure
    of_models = [one for one in evaluations(instance, outcome.run_id) if "days" in one.metadata]
    assert len(of_models) > 15
    assert {one.metadata["days"].value for one in of_models} == {day.isoformat()}


@pytest.mark.requirement("R18", "R27")
def test_a_run_over_a_range_records_each_test_once_and_says_over_which_days(built_home: Home):
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        found = evaluations(instance, run.run_id)
        told = materialised(instance, run.run_id)
    assert len({(one.asset_key, one.check_name) for one in found}) == len(found)
    first, last = (run.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    assert run.tags["audit/mode"] == "backfill"  # which upkeep keeps: a micro-batch would be deleted after hours
    said = {one.metadata["days"].value for one in found if "days" in one.metadata}
    assert said == {f"{first} to {last} ({DAYS} days)"}
    assert {partition for asset, partition in told if asset == "ai_audit_daily"} == {
        str(date.fromisoformat(first) + timedelta(days=number)) for number in range(DAYS)
    }


@pytest.mark.requirement("R27")
def test_a_failing_check_does_not_fail_its_run(built_home: Home):
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        failing = {one.check_name for one in evaluations(instance, run.run_id) if not one.passed}
    assert (
        {"volume_spike", "error_surge"}
        <= failing
        <= {"volume_spike", "error_surge", "total_error_surge", "total_volume_spike"}
    )
    assert run.is_success


@pytest.mark.requirement("R27")
def test_a_models_test_that_fails_is_told_and_holds_nothing_up(home: Home, instance: DagsterInstance):
    doubled = "grain_is_unique_and_complete_stg_ai_audit_logs_id"
    with warehouse(home).connection("a test") as connection:
        (last,) = connection.execute("select max(created_at)::date from analytics.ai_audit_logs").fetchone() or (None,)
        connection.execute(  # a row that moved from a day that no run re-reads before the nightly repair
            """insert into analytics.ai_audit_logs select * replace (created_at - interval 1 day as created_at)
            from analytics.ai_audit_logs order by created_at desc limit 1"""
        )
        count_days(connection, {last - timedelta(days=1)}, {last - timedelta(days=1)})
    home.insert(3)
    outcome = home.build()
    assert outcome.succeeded, outcome.failure
    assert not outcome.checks[f"stg_ai_audit_logs:{doubled}"]
    assert len(outcome.checks) > 20  # all the others were made too
    built = {asset for asset, _ in materialised(instance, outcome.run_id)}
    assert {"ai_audit_daily", "ai_audit_capability_anomalies", "published_snapshot"} <= built
    assert home.published("select count(*) from analytics.ai_audit_logs where id like 'new%'") == [(3,)]


@pytest.mark.requirement("R28")
def test_a_model_that_fails_fails_the_run_in_words_and_the_next_run_builds_its_day(
    home: Home, instance: DagsterInstance
):
    home.insert(10)
    with warehouse(home).connection("a test") as connection:
        connection.execute("create or replace table analytics.ai_audit_daily as select 1 as wrong")
    failed = home.build()
    assert not failed.succeeded
    assert failed.failure is not None
    assert "dbt run failed" in failed.failure
    assert "ai_audit_daily" in failed.failure
    with warehouse(home).connection("a test") as connection:
        assert DuckDBKeeper(connection).unbuilt_days() == (today(),)
        connection.execute("drop table analytics.ai_audit_daily")
    assert home.build(today() - timedelta(days=1), mode="days").succeeded
    with warehouse(home).connection("a test") as connection:
        assert DuckDBKeeper(connection).unbuilt_days() == ()
    assert agrees(home)


@pytest.mark.requirement("R10")
def test_a_source_that_is_down_fails_the_run_in_one_line(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", "postgresql://reader:open-sesame@127.0.0.1:1/app")
    outcome = home.build()
    assert not outcome.succeeded
    assert outcome.failure is not None
    assert "open-sesame" not in outcome.failure
    assert "127.0.0.1" in outcome.failure
