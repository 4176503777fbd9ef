"""The newest run as a JSON file, for whoever looks without a warehouse: written, and checked, never read as authority.

The watermark lives in the warehouse beside the data; losing this file loses nothing.
"""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_assets.warehouse.protocol import SyncRun


class MirrorError(Exception):
    """The mirror cannot be written. The message names the file and the mend."""


def write_mirror(path: Path, run: SyncRun, generations: int = 5) -> None:
    """Puts `run` at `path` in one step, and what was there at `path`.1, up to `path`.<generations>.

    A reader finds a whole file at every moment. Raises MirrorError on a full disk or a folder not to be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(mirrored(run), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            _rotate(path, generations)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sweep(path)
    except OSError as error:
        raise MirrorError(
            f"{path} cannot be written: {error.strerror}; mend that, or set AI_AUDIT_STATE_FILE to another place"
        ) from error


def mirrored(run: SyncRun) -> dict[str, Any]:
    """What the file says of `run`; times are ISO in UTC."""
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
    """Seconds of the source's time that have not been read: from the watermark to its newest row (all UTC); None where
    there is no row whose time can be told, or nothing has been read yet."""
    if source_max is None or watermark is None or last_synced_at is None:
        return None
    newest = min(source_max, last_synced_at)  # a client's clock may be ahead
    return max(0.0, round((newest - watermark).total_seconds(), 3))


def mirror_problem(path: Path, newest_id: str, newest_at: datetime) -> str | None:
    """What is wrong with the mirror, where the newest sync that succeeded is `newest_id` at `newest_at` (UTC), and what
    mends it; None where it is right."""
    mend = "the next sync writes it"
    try:
        found = json.loads(path.read_text())
        sync_id, synced_at = found["sync_id"], found["last_synced_at"]
    except FileNotFoundError:
        return f"{path} is missing; {mend}, or set AI_AUDIT_STATE_FILE to where it is"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; let this user read it"
    except (ValueError, KeyError, TypeError):
        return f"{path} is not what a sync writes; delete it: {mend}"
    if sync_id != newest_id and str(synced_at) < str(_iso(newest_at)):
        return f"{path} is behind: it says {synced_at}, the warehouse {_iso(newest_at)}; {mend}"
    return None


def _rotate(path: Path, generations: int) -> None:
    """Each generation takes the next number; the newest stays in place as well, so that `path` is never missing."""
    for number in range(generations, 1, -1):
        younger = _generation(path, number - 1)
        if younger.exists():
            younger.replace(_generation(path, number))
    if generations > 0 and path.exists():
        os.link(path, _generation(path, 1))


def _sweep(path: Path) -> None:
    """Drafts of runs that were killed."""
    for draft in path.parent.glob(f".{path.name}.*"):
        draft.unlink(missing_ok=True)


def _generation(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")
