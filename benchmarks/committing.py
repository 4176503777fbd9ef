"""Writes live rows at a rate: `python -m benchmarks.committing URL RATE SECONDS FILE`.

A commit each fifth of a second. FILE gets a line a row: its id and the epoch seconds just after its commit.
"""

import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg2

from benchmarks.source_rows import add_now

COMMITS_A_SECOND = 5
PREFIX = "live-"


def main() -> None:
    url, rate, seconds, file = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    began, written = time.monotonic(), 0
    with closing(psycopg2.connect(url)) as connection, file.open("w") as lines:
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(elapsed * rate) - written
            if due > 0:
                with connection.cursor() as cursor:
                    ids = add_now(cursor, due, PREFIX)
                connection.commit()
                committed_at = time.time()
                lines.writelines(f"{id_} {committed_at!r}\n" for id_ in ids)
                lines.flush()
                written += due
            time.sleep(1 / COMMITS_A_SECOND)


if __name__ == "__main__":
    main()
