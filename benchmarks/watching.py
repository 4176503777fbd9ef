"""Reads the published snapshot like a dashboard, until stdin closes: `python -m benchmarks.watching SNAPSHOT_FOLDER
SINCE_DAY FILE`.

It reads every second. FILE gets one line per live row: its id and the epoch seconds of the read that first found it.
"""

import select
import sys
import time
from pathlib import Path

from audit_assets.warehouse.snapshot import open_snapshot, read_manifest
from benchmarks.committing import PREFIX


def main() -> None:
    folder, since, file = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    seen: set[str] = set()
    published = ""
    due = time.monotonic()
    with file.open("w") as lines:
        while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            due += 1.0
            manifest = read_manifest(folder)
            if manifest is None or manifest.snapshot_id == published:
                continue
            published = manifest.snapshot_id
            with open_snapshot(folder, ["ai_audit_logs"]) as connection:
                found = connection.execute(
                    "select id from analytics.ai_audit_logs where date >= cast(? as date) and starts_with(id, ?)",
                    [since, PREFIX],
                ).fetchall()
            visible_at = time.time()
            new = {id_ for (id_,) in found} - seen
            lines.writelines(f"{id_} {visible_at!r}\n" for id_ in new)
            lines.flush()
            seen |= new


if __name__ == "__main__":
    main()
