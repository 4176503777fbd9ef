"""What a demo left behind, read in a process of its own: `python -m benchmarks.one_reckoning DAYS`.

Prints, from the Dagster instance, each partitioned asset's materialised days and the checks that have no evaluation;
and, by UTC day, whether source, warehouse snapshot and daily facts hold the same counts.
"""

import json
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import psycopg2
from dagster import AssetKey, DagsterInstance

from audit_assets.cli.headless import prepare_instance
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.snapshot import open_snapshot


def main() -> None:
    settings, number = read_settings(), int(sys.argv[1])
    prepare_instance(settings)
    from audit_assets.definitions import defs  # after DAGSTER_HOME is set

    today = datetime.now(UTC).date()
    days = {(today - timedelta(days=ago)).isoformat() for ago in range(number)}
    graph = defs.resolve_asset_graph()
    with DagsterInstance.get() as instance:
        partitioned = [key for key in graph.materializable_asset_keys if graph.get(key).partitions_def is not None]
        held = {key.to_user_string(): _days_held(instance, key, days) for key in partitioned}
        checks = list(graph.asset_check_keys)
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        unevaluated = [key.to_user_string() for key in checks if key not in latest or latest[key].event is None]
    counts = _counts(settings)
    print(
        json.dumps(
            {
                "days_held": held,
                "checks": len(checks),
                "unevaluated": unevaluated,
                "source_rows": sum(counts[0].values()),
                "differing_days": sum(
                    len({of.get(day, 0) for of in counts}) > 1 for day in {day for of in counts for day in of}
                ),
            }
        )
    )


def _days_held(instance: DagsterInstance, key: AssetKey, days: set[str]) -> int:
    return len(instance.get_materialized_partitions(key) & days)


def _counts(settings: Settings) -> tuple[dict[date, int], dict[date, int], dict[date, int]]:
    """UTC day → rows: at the source, in the published raw table, summed over the daily facts."""
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
