"""Tiles and their reconciliation queries on hand-written rows: the models are built, nothing is published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.query.reader import plain
from audit_assets.dashboards.query.scope import Scope
from audit_assets.dashboards.query.sql import Query
from audit_assets.dashboards.verify.comparison import cases
from audit_assets.dashboards.verify.reconciliation_queries import load_reconciliation_queries
from audit_assets.ingest.policy import Statuses
from audit_assets_tests.dashboards.proving import FOLDER
from audit_assets_tests.models.conftest import Models, Row

NOW = datetime(2026, 11, 5, 12, 7, tzinfo=UTC)
TODAY = NOW.date()
DEFINITION = load_definition(FOLDER)
RECONCILIATION = load_reconciliation_queries(FOLDER, DEFINITION, Statuses())

Frames = Mapping[str, tuple[pl.DataFrame, pl.DataFrame]]


@dataclass(frozen=True)
class BuiltModels:
    """A warehouse with built models, and the results of tiles and reconciliation queries on it."""

    path: Path

    def frames(self, **filters: str) -> Frames:
        scope = Scope(TODAY - timedelta(days=6), TODAY, NOW, filters={name: (one,) for name, one in filters.items()})
        found: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}
        with duckdb.connect(str(self.path), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            for case in cases(DEFINITION, RECONCILIATION):
                shown, raw = case.queries(RECONCILIATION, scope, TODAY)
                found[case.id] = (_read(connection, shown), _read(connection, raw))
        return found


def _read(connection: duckdb.DuckDBPyConnection, query: Query) -> pl.DataFrame:
    given = {name: list(values) for name, values in query.parameters.items()}
    return plain(pl.DataFrame(connection.sql(query.sql, params=given).to_arrow_table()))


def built(folder: Path, name: str, rows: Sequence[Row], alerts: int = 0) -> BuiltModels:
    """Builds the models on `rows`, with a few workspaces, one sync, three alerts and `alerts` more at the same time."""
    models = Models(folder)
    models.clear()
    models.load(rows)
    _fill_other_tables(models, alerts)
    models.rebuild(now=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    path = folder / f"{name}.duckdb"
    models.duckdb_path.rename(path)
    return BuiltModels(path)


def _fill_other_tables(models: Models, alerts: int) -> None:
    models.execute(
        f"""insert into ai_audit_workspaces (workspace_id, name, team, last_accessed_at)
        select 'w' || n, 'Workspace ' || n, 'team', timestamptz '{NOW}' from range(6) as numbers (n)"""
    )
    models.execute(
        f"""create or replace table ai_audit_sync_state as
        select 'a-sync' as sync_id, 'succeeded' as status, 'delta' as mode, timestamptz '{NOW}' as started_at,
            timestamptz '{NOW}' as window_end, timestamptz '{NOW}' as last_synced_at"""
    )
    models.execute(
        f"""create or replace table ai_audit_model_builds as
        select 'ai_audit_daily' as table_name, 'a-sync' as sync_id, timestamptz '{NOW}' as built_at"""
    )
    models.execute(
        f"""create table ai_audit_alerts as
        select key, 'error_surge' as rule_id, dimensions, 'open' as state, 'error' as severity, environment,
            timestamptz '{NOW - timedelta(hours=1)}' as since, timestamptz '{NOW}' as opened_at,
            cast(null as timestamptz) as resolved_at, cast(null as varchar) as acknowledged_by,
            cast(1 as double) as value, cast(1 as double) as baseline, cast(0 as double) as delta_percent
        from (values
            ('of-chat', '{{"capability": "chat"}}', 'live'), ('of-all', '{{}}', 'live'),
            ('of-a-drill', '{{"capability": "chat"}}', 'sim'),
            ('of-a-namesake', '{{"capability": "all capabilities"}}', 'live')
        ) as alerts (key, dimensions, environment)"""
    )
    models.execute(
        f"""insert into ai_audit_alerts by name
        select * exclude (number) replace (md5(number::varchar) as key)
        from ai_audit_alerts
        cross join range({alerts}) as numbers (number)
        where key = 'of-chat'"""
    )
