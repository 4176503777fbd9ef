"""Runs of the sync job on a real instance: what they build, what they record, how they fail."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from dagster import AssetCheckSeverity, DagsterEventType, DagsterInstance
from sqlalchemy import and_, func, select

from audit_assets.alerting.ledger.tables import alerts, deliveries, open_ledger
from audit_assets.defs.runner import prepare_instance
from audit_assets.demo.population import SILENT
from audit_assets.rules.load import load_rules
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.statements import count_loads
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.environments import DAYS, NOW, SYNC_CHECKS, Home, definitions, resources_at, tick_sensor


@pytest.fixture
def instance(home: Home) -> Iterator[DagsterInstance]:
    prepare_instance(home.settings())
    with DagsterInstance.get() as instance:
        yield instance


def warehouse(home: Home) -> DuckDBWarehouse:
    settings = home.settings()
    return DuckDBWarehouse(settings.duckdb_path, settings.lock_path)


def evaluations(instance: DagsterInstance, run_id: str) -> list[Any]:
    logs = instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    return [entry.dagster_event.event_specific_data for entry in logs if entry.dagster_event]


def materialized(instance: DagsterInstance, run_id: str) -> set[tuple[str, str | None]]:
    """(asset, partition) of every materialization of the run."""
    logs = instance.all_logs(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.dagster_event.step_materialization_data.materialization for entry in logs if entry.dagster_event]
    return {(event.asset_key.path[-1], event.partition) for event in events}


def micro_batch(instance: DagsterInstance, now: datetime = NOW, **more: Any) -> Any:
    """Executes one run as the sensor requests it."""
    (request,) = tick_sensor("audit_sync_sensor", instance).run_requests
    request.run_config["ops"]["sync_ai_audit_logs"]["config"].update(more)
    job = (
        definitions()
        .resolve_job_def("audit_sync")
        .get_subset(asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys))
    )
    return job.execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        run_config={**request.run_config, "resources": resources_at(now)},
        tags=request.tags,
        raise_on_error=False,
    )


def agrees(home: Home) -> bool:
    """Whether source, raw, daily mart and snapshot hold the same rows."""
    ((at_source,),) = home.query("select count(*) from ai_audit_logs")
    ((raw, daily),) = home.query_snapshot(
        """select (select count(*) from analytics.ai_audit_logs),
            (select sum(interaction_count)::bigint from analytics.ai_audit_daily)"""
    )
    return at_source == raw == daily


@pytest.mark.requirement("R15", "R10")
def test_a_micro_batch_brings_rows_to_the_snapshot_judges_them_and_leaves_models_tests_out(
    home: Home, instance: DagsterInstance
):
    home.insert(30)
    result = micro_batch(instance)
    assert result.success
    assert agrees(home)
    names = {evaluation.check_name for evaluation in evaluations(instance, result.run_id)}
    assert names == {*load_rules(home.settings().rules_folder).ids, *SYNC_CHECKS}
    with warehouse(home).connection("a test") as connection:
        assert DuckDBMaintenance(connection).unbuilt_days() == ()


@pytest.mark.requirement("R24")
def test_a_run_reports_how_many_workspaces_there_are_and_publishes_how_many_are_covered(
    home: Home, instance: DagsterInstance
):
    home.execute("insert into workflows (id, last_accessed_at) values ('new', %s)", (NOW,))
    estimates = "select * from analytics.ai_audit_workspace_coverage where is_estimated order by date"
    before = home.query_snapshot(estimates)
    result = micro_batch(instance, mode="full")
    assert result.success
    brought = {
        event.asset_key.path[-1]: event for event in result.asset_materializations_for_node("sync_ai_audit_logs")
    }
    assert brought["ai_audit_workspaces"].metadata["dagster/row_count"].value == 501
    assert home.query_snapshot("select count(*) from analytics.ai_audit_workspaces") == [(501,)]
    assert home.query_snapshot(estimates)[: len(before)] == before
    ((active, covered, rate),) = home.query_snapshot(
        """select active_workspace_count, covered_workspace_count, coverage_rate
        from analytics.ai_audit_workspace_coverage where not is_estimated order by date desc limit 1"""
    )
    assert rate == covered / active
    assert active - covered > SILENT
    assert 0.85 < rate < 0.95


@pytest.mark.requirement("R45")
def test_what_a_batch_judged_is_in_the_ledgers_copy_before_it_ends(home: Home, instance: DagsterInstance):
    home.insert(5)
    result = micro_batch(instance, now=NOW + timedelta(minutes=5))
    assert result.success
    assert ("ai_audit_alerts", None) in materialized(instance, result.run_id)
    with open_ledger(home.settings().ledger_url) as ledger, ledger.transaction() as connection:
        opened = connection.execute(select(alerts.c.key, alerts.c.value).order_by(alerts.c.key)).all()
        delivered = connection.execute(select(func.count()).select_from(deliveries)).scalar_one()
    assert opened
    assert home.query_snapshot("select key, value from analytics.ai_audit_alerts order by key") == opened
    assert home.query_snapshot("select count(*) from analytics.ai_audit_alert_deliveries") == [(delivered,)]
    again = micro_batch(instance, now=NOW + timedelta(minutes=5))  # nothing was judged or delivered since
    assert again.success
    assert ("ai_audit_alert_deliveries", None) not in materialized(instance, again.run_id)


@pytest.mark.requirement("R45")
def test_without_a_ledger_a_batch_fails_in_words_with_its_data_published(
    home: Home, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    home.insert(5)
    monkeypatch.setenv("AI_AUDIT_LEDGER_URL", "postgresql+psycopg2://ledger:hush@127.0.0.1:1/nowhere")
    result = micro_batch(instance)
    assert not result.success
    assert agrees(home)
    failures = [entry.message for entry in instance.all_logs(result.run_id, of_type=DagsterEventType.STEP_FAILURE)]
    log = "\n".join(map(str, instance.all_logs(result.run_id)))
    assert len(failures) == 2  # the rules and the export
    assert "the alert ledger at" in log
    assert "hush" not in log


@pytest.mark.requirement("R12", "R28")
def test_late_rows_of_another_day_reach_its_tables_and_its_partition_is_materialized(
    home: Home, instance: DagsterInstance
):
    yesterday = NOW - timedelta(days=1)
    home.insert(25, at=yesterday, prefix="late")
    result = micro_batch(instance, lookback_minutes=3 * 24 * 60)
    assert result.success
    assert agrees(home)
    partitions = materialized(instance, result.run_id)
    for asset in ("ai_audit_logs", "ai_audit_daily", "ai_audit_capability_anomalies"):
        assert {(asset, str(yesterday.date())), (asset, str(NOW.date()))} <= partitions
    assert ("published_snapshot", None) in partitions


@pytest.mark.requirement("R27")
def test_a_run_of_one_day_records_for_each_models_test_which_day_it_read(home: Home, instance: DagsterInstance):
    day = NOW.date() - timedelta(days=3)
    outcome = home.build(day, mode="days")
    assert outcome.succeeded, outcome.failure
    of_models = [one for one in evaluations(instance, outcome.run_id) if "days" in one.metadata]
    assert len(of_models) > 15
    assert {one.metadata["days"].value for one in of_models} == {day.isoformat()}


@pytest.mark.requirement("R18", "R27")
def test_a_run_over_a_range_records_each_test_once_with_its_days(built_home: Home):
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        found = evaluations(instance, run.run_id)
        partitions = materialized(instance, run.run_id)
    assert len({(one.asset_key, one.check_name) for one in found}) == len(found)
    first, last = (run.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    assert run.tags["audit/mode"] == "backfill"  # which upkeep keeps: a micro-batch would be deleted after hours
    day_ranges = {one.metadata["days"].value for one in found if "days" in one.metadata}
    assert day_ranges == {f"{first} to {last} ({DAYS} days)"}
    assert {partition for asset, partition in partitions if asset == "ai_audit_daily"} == {
        str(date.fromisoformat(first) + timedelta(days=number)) for number in range(DAYS)
    }


@pytest.mark.requirement("R27")
def test_a_failing_check_does_not_fail_its_run(built_home: Home):
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        failing = [one for one in evaluations(instance, run.run_id) if not one.passed]
    errors = {one.check_name for one in failing if one.severity == AssetCheckSeverity.ERROR}
    planted = {"volume_spike", "error_surge"}
    assert planted <= errors <= planted | {"total_error_surge", "total_volume_spike"}
    # Checks without data are warnings: no transaction was open at the source, whose clock the fixed now replaces, and
    # no full sync has compared older days.
    not_judged = {"long_transaction", "source_replica_lag", "rows_differ"}
    assert {one.check_name for one in failing} - errors <= not_judged
    assert run.is_success


@pytest.mark.requirement("R27")
def test_a_models_test_that_fails_is_reported_and_blocks_nothing(home: Home, instance: DagsterInstance):
    check = "unique_combination_of_columns_stg_ai_audit_logs_id"
    with warehouse(home).connection("a test") as connection:
        ((last,),) = connection.execute("select max(created_at)::date from analytics.ai_audit_logs").fetchall()
        connection.execute(  # a row that moved from a day that no run re-reads before the nightly repair
            """insert into analytics.ai_audit_logs select * replace (created_at - interval 1 day as created_at)
            from analytics.ai_audit_logs order by created_at desc limit 1"""
        )
        count_loads(connection, {last - timedelta(days=1)}, {last - timedelta(days=1)})
    home.insert(3)
    outcome = home.build()
    assert outcome.succeeded, outcome.failure
    assert not outcome.checks[f"stg_ai_audit_logs:{check}"]
    assert len(outcome.checks) > 20  # all the others were made too
    built = {asset for asset, _ in materialized(instance, outcome.run_id)}
    assert {"ai_audit_daily", "ai_audit_capability_anomalies", "published_snapshot"} <= built
    assert home.query_snapshot("select count(*) from analytics.ai_audit_logs where id like 'new%'") == [(3,)]


@pytest.mark.requirement("R28")
def test_a_model_that_fails_fails_the_run_in_words_and_the_next_run_builds_its_day(
    home: Home, instance: DagsterInstance
):
    home.insert(10)
    with warehouse(home).connection("a test") as connection:
        columns = connection.execute("describe analytics.ai_audit_daily").fetchall()
        listed = ", ".join(f"{name} {kind}" for name, kind, *_ in columns)
        connection.execute(
            f"create or replace table analytics.ai_audit_daily ({listed}, check (interaction_count < 0))"
        )
    failed = home.build()
    assert not failed.succeeded
    assert failed.failure is not None
    assert "dbt run failed" in failed.failure
    assert "ai_audit_daily" in failed.failure
    with warehouse(home).connection("a test") as connection:
        assert DuckDBMaintenance(connection).unbuilt_days() == (NOW.date(),)
        connection.execute("drop table analytics.ai_audit_daily")
    assert home.build(NOW.date() - timedelta(days=1), mode="days").succeeded
    with warehouse(home).connection("a test") as connection:
        assert DuckDBMaintenance(connection).unbuilt_days() == ()
    assert agrees(home)


@pytest.mark.requirement("R10")
def test_a_source_that_is_down_fails_the_run_in_one_line(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", "postgresql://reader:open-sesame@127.0.0.1:1/app")
    outcome = home.build()
    assert not outcome.succeeded
    assert outcome.failure is not None
    assert "open-sesame" not in outcome.failure
    assert "127.0.0.1" in outcome.failure


@pytest.mark.requirement("R49")
def test_models_are_rebuilt_without_reading_the_source(home: Home, instance: DagsterInstance):
    day = NOW.date() - timedelta(days=3)
    with warehouse(home).connection("a test") as connection:
        connection.execute(f"delete from analytics.ai_audit_daily where date = date '{day}'")
    home.execute("alter table ai_audit_logs rename to moved")
    outcome = home.build(day, day, None)
    assert outcome.succeeded, outcome.failure
    assert {asset for asset, _ in materialized(instance, outcome.run_id)} >= {"ai_audit_daily", "published_snapshot"}
    assert "ai_audit_logs" not in {asset for asset, _ in materialized(instance, outcome.run_id)}
    ((rows,),) = home.query_snapshot(
        f"select sum(interaction_count) from analytics.ai_audit_daily where date = date '{day}'"
    )
    assert rows


def check_again(home: Home, day: date, now: datetime) -> None:
    """Runs the checks of ai_audit_daily over `day`, then the rules, as from the asset's Checks tab."""
    defs = definitions()
    keys = defs.resolve_asset_graph().asset_check_keys
    own = {key for key in keys if key.asset_key.to_user_string() == "ai_audit_daily"}
    rules = {key for key in keys if key.name in load_rules(home.settings().rules_folder).ids}
    job = defs.resolve_job_def("audit_sync").get_subset(asset_selection=set(), asset_check_selection=own | rules)
    with DagsterInstance.get() as instance:
        config = {"resources": resources_at(now)}
        assert job.execute_in_process(instance=instance, partition_key=str(day), run_config=config).success


@pytest.mark.requirement("R48")
def test_a_provider_that_vanished_from_a_mart_is_one_episode_with_runbook_and_route_and_a_build_closes_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_DOCS_URL", "https://docs.example")
    day, prepared = NOW.date() - timedelta(days=1), home.settings()
    prepare_instance(prepared)
    with warehouse(home).connection("a test") as connection:
        connection.execute(
            """delete from analytics.ai_audit_daily where date = ? and provider = (
                select min(provider) from analytics.ai_audit_daily where date = ? and interaction_count > 0)""",
            [day, day],
        )
    for minute in (1, 2):
        check_again(home, day, NOW + timedelta(minutes=minute))
    with open_ledger(prepared.ledger_url) as ledger, ledger.transaction() as connection:
        (episode,) = connection.execute(select(alerts).where(alerts.c.rule_id == "check_failed")).all()
        mine = and_(deliveries.c.group_key == episode.group_key, deliveries.c.action.in_(("trigger", "post")))
        sent = connection.execute(select(deliveries.c.target, deliveries.c.payload).where(mine)).all()
    assert (episode.dimensions, episode.resolved_at) == ('{"asset": "ai_audit_daily"}', None)
    assert sorted(target.split(":")[0] for target, _ in sent) == ["pagerduty", "slack"]
    assert all("INGESTION_WORKFLOW.md#check_failed" in str(payload) for _, payload in sent)
    later = replace(home, now=NOW + timedelta(minutes=3))
    assert later.build(day, mode="days").succeeded
    with open_ledger(prepared.ledger_url) as ledger, ledger.transaction() as connection:
        (episode,) = connection.execute(select(alerts).where(alerts.c.rule_id == "check_failed")).all()
    assert episode.resolve_reason == "cleared"
