"""The dashboards on a built home's snapshot, and on copies of it with a wrong mart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.definition.model import Definition
from audit_assets.dashboards.query.reader import SnapshotReader
from audit_assets.dashboards.query.scope import Scope
from audit_assets.dashboards.verify.comparison import Case, Comparison, cases, verify
from audit_assets.dashboards.verify.reconciliation_queries import ReconciliationQueries, load_reconciliation_queries
from audit_assets.ingest.policy import Statuses
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import open_snapshot, read_manifest
from audit_assets_tests.dashboards.altered import altered, with_tables
from audit_assets_tests.environments import DAYS, NOW, Home

FOLDER = PROJECT_ROOT / "observability/dashboards/ai-audit"

# The figures of the ledger and the sync, and the application's workspaces, are not in audit records.
NOT_FROM_RAW = {"ai_audit_alerts", "ai_audit_sync_state", "ai_audit_workspaces"}
NUMBERS = {"BIGINT", "DOUBLE", "INTEGER", "HUGEINT"}
EVENTS = {"duration_ms", "prompt_length", "prompt_tokens", "completion_tokens"}

_folders = count(1)


@dataclass(frozen=True)
class Dashboards:
    """The dashboards on a fixed snapshot, as of when it was published."""

    definition: Definition
    reconciliation: ReconciliationQueries
    snapshot: Path
    folder: Path
    now: datetime
    reader: SnapshotReader

    def whole(self, **filters: str) -> Scope:
        first = self.now.date() - timedelta(days=DAYS - 1)
        return Scope(first, self.now.date(), self.now, filters={name: (one,) for name, one in filters.items()})

    def compared(self, snapshot: Path, scopes: list[Scope], only: list[str] | None = None) -> Iterator[Comparison]:
        """Compares `snapshot` with raw rows of the complete snapshot, which are cached. T13 reads its own counts."""
        raw = None if only == ["T13"] else self.reader
        return verify(self.definition, self.reconciliation, SnapshotReader(snapshot), scopes, only or [], raw)

    def new_folder(self) -> Path:
        return self.folder / str(next(_folders))

    def altered(self, table: str, column: str, to: str, where: str = "true") -> Path:
        return altered(self.snapshot, self.new_folder(), table, column, to, where)

    def tables_of(self, case: Case) -> set[str]:
        shown, _ = case.queries(self.reconciliation, self.whole(), self.now.date())
        return set(shown.tables)

    def cases_reading(self, table: str) -> list[str]:
        return [case.id for case in cases(self.definition, self.reconciliation) if table in self.tables_of(case)]

    def busiest(self, column: str, number: int = 1) -> list[str]:
        """The values with the most rows."""
        with open_snapshot(self.snapshot, ["stg_ai_audit_logs"]) as connection:
            found = connection.execute(
                f"select {column} from analytics.stg_ai_audit_logs where {column} is not null and not is_stub"
                f" group by 1 order by count(*) desc limit {number}"
            ).fetchall()
        return [name for (name,) in found]

    def numbers_that_tiles_read(self) -> list[tuple[str, str]]:
        """Each table and numeric column that the SQL of a tile's source names."""
        manifest = read_manifest(self.snapshot)
        assert manifest is not None
        found: list[tuple[str, str]] = []
        used = {tile.source for _, tile in self.definition.tiles}
        for name in used:
            source = self.definition.source(name)
            text = " ".join([source.sql or "", *source.columns, *(one.sql for one in source.measures.values())])
            words = set(re.findall(r"\w+", text))
            for table in set(source.reads) - NOT_FROM_RAW:
                kinds = manifest.columns.get(table, dict.fromkeys(EVENTS, "DOUBLE"))
                found += [(table, column) for column, kind in kinds.items() if kind in NUMBERS and column in words]
        return sorted(set(found))


@pytest.fixture(scope="session")
def dashboards(built: Home, tmp_path_factory: pytest.TempPathFactory) -> Dashboards:
    folder = tmp_path_factory.mktemp("proofs")
    definition = load_definition(FOLDER)
    snapshot = with_tables(built.folder / "published", folder / "whole", _beside(built))
    manifest = read_manifest(snapshot)
    assert manifest is not None
    now = manifest.published_at.astimezone(UTC)
    reconciliation = load_reconciliation_queries(FOLDER, definition, Statuses())
    return Dashboards(definition, reconciliation, snapshot, folder, now, SnapshotReader(snapshot))


def _beside(built: Home) -> dict[str, str]:
    """Workspaces of the application: most of the used ones and an unused one; and their coverage."""
    used = [
        name
        for (name,) in built.query_snapshot("select distinct trim(workflow_id) from analytics.ai_audit_logs")
        if name
    ]
    rows = [f"('{name}', 'Workspace {name}', {number})" for number, name in enumerate(sorted(used)) if number % 10]
    return {
        "ai_audit_workspaces": f"""
            select
                workspace_id,
                name,
                case when number % 7 > 0 then 'team ' || number % 3 end as team,
                case when number % 5 > 0 then 'owner ' || number % 4 end as owner,
                timestamptz '{NOW.isoformat()}' - number * interval 1 hour as last_accessed_at,
                timestamptz '{NOW.isoformat()}' as synced_at
            from (values {", ".join([*rows, "('never-used', 'Never used', 1)"])}) as made (workspace_id, name, number)
        """,
        "ai_audit_workspace_coverage": f"""
            select
                date '{NOW.date()}' - cast(ago as integer) as date,
                200 + ago as active_workspace_count,
                150 + ago as covered_workspace_count,
                (150 + ago) / (200 + ago) as coverage_rate,
                ago > 3 as is_estimated,
                timestamptz '{NOW.isoformat()}' as captured_at
            from range({DAYS}) as days (ago)
        """,
    }
