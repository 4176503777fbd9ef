"""Writes live rows at a rate: `python -m benchmarks.committing URL RATE SECONDS FILE`.

It commits five times per second. FILE gets one line per row: its id and the epoch seconds just after its commit.
"""

import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg2

from benchmarks.source_rows import add_rows

COMMITS_PER_SECOND = 5
PREFIX = "live-"


def main() -> None:
    url, rate, seconds, file = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    began, written = time.monotonic(), 0
    with closing(psycopg2.connect(url)) as connection, file.open("w") as lines:
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(elapsed * rate) - written
            if due > 0:
                with connection.cursor() as cursor:
                    ids = add_rows(cursor, due, PREFIX)
                connection.commit()
                committed_at = time.time()
                lines.writelines(f"{id_} {committed_at!r}\n" for id_ in ids)
                lines.flush()
                written += due
            time.sleep(1 / COMMITS_PER_SECOND)


if __name__ == "__main__":
    main()
