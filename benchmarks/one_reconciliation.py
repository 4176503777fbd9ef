"""Reads the results of a demo in a new process: `python -m benchmarks.one_reconciliation DAYS`.

Prints, from the Dagster instance, the number of materialized days of each partitioned asset and the checks without an
evaluation; and the number of UTC days on which the counts of source, published raw rows and daily facts differ.
"""

import json
import sys
from contextlib import closing
from datetime import date, timedelta

import psycopg2
from dagster import AssetKey, DagsterInstance

from audit_assets.defs.runner import prepare_instance
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.snapshot import open_snapshot
from benchmarks.home import NOW


def main() -> None:
    settings, number = read_settings(), int(sys.argv[1])
    prepare_instance(settings)
    from audit_assets.definitions import build_definitions  # after DAGSTER_HOME is set

    days = {(NOW.date() - timedelta(days=ago)).isoformat() for ago in range(number)}
    graph = build_definitions(settings).resolve_asset_graph()
    with DagsterInstance.get() as instance:
        partitioned = [key for key in graph.materializable_asset_keys if graph.get(key).partitions_def is not None]
        materialized = {key.to_user_string(): _materialized_days(instance, key, days) for key in partitioned}
        checks = list(graph.asset_check_keys)
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        unevaluated = [key.to_user_string() for key in checks if key not in latest or latest[key].event is None]
    counts = _counts(settings)
    print(
        json.dumps(
            {
                "materialized_days": materialized,
                "checks": len(checks),
                "unevaluated": unevaluated,
                "source_rows": sum(counts[0].values()),
                "differing_days": sum(
                    len({of.get(day, 0) for of in counts}) > 1 for day in {day for of in counts for day in of}
                ),
            }
        )
    )


def _materialized_days(instance: DagsterInstance, key: AssetKey, days: set[str]) -> int:
    return len(instance.get_materialized_partitions(key) & days)


def _counts(settings: Settings) -> tuple[dict[date, int], dict[date, int], dict[date, int]]:
    """Row counts by UTC day: at the source, in the published raw table, and summed over the daily facts."""
    with closing(psycopg2.connect(settings.source_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select (created_at at time zone 'UTC')::date, count(*) from ai_audit_logs group by 1")
        at_source = dict(cursor.fetchall())
    with open_snapshot(settings.snapshot_folder, ["ai_audit_logs", "ai_audit_daily"]) as connection:
        raw = dict(connection.execute("select date, count(*) from analytics.ai_audit_logs group by 1").fetchall())
        facts = dict(
            connection.execute(
                "select date, sum(interaction_count)::bigint from analytics.ai_audit_daily group by 1"
            ).fetchall()
        )
    return at_source, raw, facts


if __name__ == "__main__":
    main()
