"""Mirrors the newest run to a JSON file for tools without access to the warehouse. The sync never relies on it.

The watermark is stored in the warehouse with the data, so losing this file loses nothing.
"""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_assets.warehouse.protocol import SyncRun


class MirrorError(Exception):
    """The mirror cannot be written. The message names the file and the fix."""


def write_mirror(path: Path, run: SyncRun, generations: int = 5) -> None:
    """Replaces the file at `path` atomically, and keeps its older versions as `path`.1 to `path`.<generations>.

    A reader finds a complete file at any time. Raises MirrorError if the disk is full or the folder not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(mirror_document(run), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            _rotate(path, generations)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sweep(path)
    except OSError as error:
        raise MirrorError(
            f"{path} cannot be written: {error.strerror}; fix that, or set AI_AUDIT_STATE_FILE to another path"
        ) from error


def mirror_document(run: SyncRun) -> dict[str, Any]:
    """The file's content for `run`. Times are ISO 8601 in UTC."""
    return {
        "last_synced_at": _iso(run.last_synced_at),
        "source_max_created_at": _iso(run.source_max_created_at),
        "lag_seconds": lag_seconds(run.source_max_created_at, run.watermark, run.last_synced_at),
        "records_synced": run.counts.added + run.counts.changed,
        "sync_duration_ms": run.sync_duration_ms,
        "mode": run.mode,
        "watermark": _iso(run.watermark),
        "sync_id": run.sync_id,
    }


def lag_seconds(
    source_max: datetime | None, watermark: datetime | None, last_synced_at: datetime | None
) -> float | None:
    """Seconds of the source's time that have not been read yet: from the watermark to its newest row (all UTC). None if
    no row has a usable time, or nothing has been read yet."""
    if source_max is None or watermark is None or last_synced_at is None:
        return None
    newest = min(source_max, last_synced_at)  # a client's clock may be ahead
    return max(0.0, round((newest - watermark).total_seconds(), 3))


def mirror_problem(path: Path, newest: SyncRun) -> str | None:
    """What is wrong with the mirror, and the fix; None if it is up to date. `newest` is the newest successful sync."""
    fix = "the next sync writes it"
    try:
        found = json.loads(path.read_text())
        sync_id, synced_at = found["sync_id"], found["last_synced_at"]
    except FileNotFoundError:
        return f"{path} is missing; {fix}, or set AI_AUDIT_STATE_FILE to its path"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; let this user read it"
    except (ValueError, KeyError, TypeError):
        return f"{path} is not a valid state file; delete it: {fix}"
    newest_at = _iso(newest.last_synced_at)
    if sync_id != newest.sync_id and str(synced_at) < str(newest_at):
        return f"{path} is behind: it has {synced_at}, the warehouse {newest_at}; {fix}"
    return None


def _rotate(path: Path, generations: int) -> None:
    """Renames each generation to the next number. The newest also stays in place, so that `path` is never missing."""
    for number in range(generations, 1, -1):
        younger = _generation(path, number - 1)
        if younger.exists():
            younger.replace(_generation(path, number))
    if generations > 0 and path.exists():
        os.link(path, _generation(path, 1))


def _sweep(path: Path) -> None:
    """Deletes drafts of runs that were killed."""
    for draft in path.parent.glob(f".{path.name}.*"):
        draft.unlink(missing_ok=True)


def _generation(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")
