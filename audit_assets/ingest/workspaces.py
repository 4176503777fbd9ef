"""The source's workspaces beside its audit rows: when they are read, and what is said where they cannot be."""

from dataclasses import dataclass
from datetime import datetime

from audit_assets.ingest.normalise import workspaces_sql
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import Source, SourceFacts
from audit_assets.ingest.source_error import SourceError
from audit_assets.warehouse.protocol import Incoming, Mode


@dataclass(frozen=True)
class WorkspacesRead:
    """What one reading brought: the rows, or None and why there are none."""

    incoming: Incoming | None
    problem: str | None = None


def are_due(mode: Mode, last_success_at: datetime | None, now: datetime) -> bool:
    """Whether a sync of `mode` that begins at `now` reads the workspaces: a full one does, and of the others the first
    in a clock hour (UTC) after the newest that succeeded, begun at `last_success_at`."""
    return mode == "full" or last_success_at is None or _hour(last_success_at) != _hour(now)


def read_workspaces(source: Source, facts: SourceFacts, policy: SyncPolicy, synced_at: datetime) -> WorkspacesRead:
    """All workspaces of the source. Where it has none to offer that is told, and holds the audit rows up in no way."""
    try:
        table = source.workspaces()
    except SourceError as error:
        return WorkspacesRead(None, f"no workspaces, so no coverage: {error}")
    sql = workspaces_sql(facts.now + policy.future_tolerance, policy, synced_at)
    return WorkspacesRead(Incoming(table.to_reader(), sql))


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)
