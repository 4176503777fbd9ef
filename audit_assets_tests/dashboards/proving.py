"""The dashboards over a built home's snapshot, and over copies of it in which a mart is wrong."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from audit_assets.dashboards.definition import Definition
from audit_assets.dashboards.load import load_definition
from audit_assets.dashboards.proofs import Proofs, load_proofs
from audit_assets.dashboards.reader import SnapshotReader
from audit_assets.dashboards.scope import Scope
from audit_assets.dashboards.verify import Case, Compared, cases, verify
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import open_snapshot, read_manifest
from audit_assets_tests.dashboards.altered import altered, with_tables
from audit_assets_tests.homes import DAYS, Home

FOLDER = PROJECT_ROOT / "observability/dashboards/ai-audit"

# The ledger's and the sync's own figures, and what the application knows of workspaces, are in no audit record.
NOT_FROM_RAW = {"ai_audit_alerts", "ai_audit_sync_state", "ai_audit_workspaces"}
NUMBERS = {"BIGINT", "DOUBLE", "INTEGER", "HUGEINT"}
EVENTS = {"duration_ms", "prompt_length", "prompt_tokens", "completion_tokens"}

_folders = count(1)


@dataclass(frozen=True)
class Dashboards:
    """The dashboards over a snapshot that nobody writes, as of when it was published."""

    definition: Definition
    proofs: Proofs
    snapshot: Path
    folder: Path
    now: datetime
    reader: SnapshotReader

    def whole(self, **filters: str) -> Scope:
        first = self.now.date() - timedelta(days=DAYS - 1)
        return Scope(first, self.now.date(), self.now, filters={name: (one,) for name, one in filters.items()})

    def compared(self, snapshot: Path, scopes: list[Scope], only: list[str] | None = None) -> Iterator[Compared]:
        """Of `snapshot`; what raw says comes from the whole one, and is kept. A proof of coverage reads its counts."""
        raw = None if only == ["T13"] else self.reader
        return verify(self.definition, self.proofs, SnapshotReader(snapshot), scopes, only or [], raw)

    def new_folder(self) -> Path:
        return self.folder / str(next(_folders))

    def altered(self, table: str, column: str, to: str, where: str = "true") -> Path:
        return altered(self.snapshot, self.new_folder(), table, column, to, where)

    def tables_of(self, case: Case) -> set[str]:
        shown, _ = case.queries(self.proofs, self.whole(), self.now.date())
        return set(shown.tables)

    def proofs_of(self, table: str) -> list[str]:
        return [case.id for case in cases(self.definition, self.proofs) if table in self.tables_of(case)]

    def busiest(self, column: str, number: int = 1) -> list[str]:
        """The values with the most rows."""
        with open_snapshot(self.snapshot, ["stg_ai_audit_logs"]) as connection:
            found = connection.execute(
                f"select {column} from analytics.stg_ai_audit_logs where {column} is not null and not is_stub"
                f" group by 1 order by count(*) desc limit {number}"
            ).fetchall()
        return [name for (name,) in found]

    def numbers_that_tiles_read(self) -> list[tuple[str, str]]:
        """Each table and numeric column that the text of a tile's source names."""
        manifest = read_manifest(self.snapshot)
        assert manifest is not None
        found: list[tuple[str, str]] = []
        used = {tile.source for _, tile in self.definition.tiles}
        for name in used:
            source = self.definition.source(name)
            said = " ".join([source.sql or "", *source.columns, *(one.sql for one in source.measures.values())])
            words = set(re.findall(r"\w+", said))
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
    proofs = load_proofs(FOLDER, definition)
    return Dashboards(definition, proofs, snapshot, folder, now, SnapshotReader(snapshot))


def _beside(built: Home) -> dict[str, str]:
    """What the application knows of workspaces: most that were used, and one that never was; and their coverage."""
    used = [
        name for (name,) in built.published("select distinct trim(workflow_id) from analytics.ai_audit_logs") if name
    ]
    rows = [f"('{name}', 'Workspace {name}', {number})" for number, name in enumerate(sorted(used)) if number % 10]
    last = datetime.now(UTC).date()
    return {
        "ai_audit_workspaces": f"""
            select
                workspace_id,
                name,
                case when number % 7 > 0 then 'team ' || number % 3 end as team,
                case when number % 5 > 0 then 'owner ' || number % 4 end as owner,
                now() - number * interval 1 hour as last_accessed_at,
                now() as synced_at
            from (values {", ".join([*rows, "('never-used', 'Never used', 1)"])}) as made (workspace_id, name, number)
        """,
        "ai_audit_workspace_coverage": f"""
            select
                date '{last}' - cast(ago as integer) as date,
                200 + ago as active_workspace_count,
                150 + ago as covered_workspace_count,
                (150 + ago) / (200 + ago) as coverage_rate,
                ago > 3 as is_estimated,
                now() as captured_at
            from range({DAYS}) as days (ago)
        """,
    }
