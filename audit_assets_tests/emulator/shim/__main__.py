"""The emulator of BigQuery, mended. Run by the Python that `bqemulator` is installed for: `python -I shim start …`

What the emulator gets wrong, and what of it is mended here:

- It asks the network for DuckDB's extensions for geography and Avro before it answers. They are not loaded; neither
  type is used.
- A job id that is taken runs a second job. It answers 409 `duplicate`, for queries, loads, copies and extracts; an
  upload's job has the id it was asked to have; a job that is asked for again shows the labels it was given.
- A file uploaded in one request is refused for its content type. It is taken.
- `create table t (columns) as (query)` is not understood. The query is cast to the declared columns.
- A script's temporary tables outlive it. They are dropped at its end.
- Of `div(a + b, c)` the sum is not kept together; `unix_seconds` rounds up; `json_query_array` of what is no list
  fails; `safe_cast` to a number takes `1_000` for one; the place before an array's first, asked for safely, is its
  last. All are spelt out so that they are right.
- Where the types of columns are known, a place in an array is one too far. They are not looked up; nothing but the
  average and the division of NUMERIC asks for them.
- A statement is parsed some fifty times on its way. It is parsed once.
- `array_agg(distinct … ignore nulls)` and `set (a) = (select as struct …)` are not understood. They are.
- Where a job names a default dataset, it is put before a script's temporary tables too. It is not.
- `require_partition_filter` is not enforced, and of `partition by date(column)` the column is forgotten. A statement
  that reads such a table, or a view over one, without a bound on the partition column is refused in the service's words
  (partitions.py says where it is stricter).
- Every change copies the whole table, so that an older state can be asked for. It is not: nothing here asks for one.

What stays different:

- No authentication, no IAM, no quotas, no slots, no bytes processed or billed, one location (`US`), no expiration.
- Jobs run at once, one after the other, while they are inserted: none is ever seen running, none can be cancelled.
- `begin … exception when error then … end` around a transaction answers 500.
- A load into a table that is not there wants a schema, also of files that carry one.
- A load's `outputRows` counts the table afterwards, not the rows loaded. DML tells the sum of affected rows only.
- Partitions are not stored: nothing is pruned, `_PARTITIONTIME` is the day of the query, `$20261101` is no address.
- A place asked of `approx_quantiles(…)` itself is one too far; asked of a column that holds it, it is right.
- An average or a division of NUMERIC is of another scale than the service's.
- Arithmetic, casts of text, regular expressions and the order of equal rows are DuckDB's.
"""

import os
import signal
import threading
import time

import jobs
import statements
import tables
from bqemulator.cli import main
from bqemulator.storage import engine
from bqemulator.versioning import snapshots


def _without_network() -> None:
    engine.DuckDBEngine._load_spatial = lambda self: None
    engine.DuckDBEngine._load_format_extensions = lambda self: None


def _without_history() -> None:
    snapshots.SnapshotManager.capture = lambda self, *table, **kind: None


def _end_with(starter: int) -> None:
    """Who started it may be killed, and then ends nothing."""
    while os.getppid() == starter:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
_without_network()
_without_history()
jobs.mend()
statements.mend()
tables.mend()
main()
