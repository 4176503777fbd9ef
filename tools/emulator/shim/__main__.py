"""The BigQuery emulator with fixes. Run it with the Python that `bqemulator` is installed for: `python -I shim start …`

What the emulator gets wrong, and how this shim fixes it:

- It downloads DuckDB's extensions for geography and Avro before it answers. They are not loaded, as neither type is
  used.
- A job id that is in use starts a second job. It answers 409 `duplicate`, for queries, loads, copies and extracts; an
  upload's job has the requested id; a job that is fetched again has its labels.
- A file uploaded in one request is refused because of its content type. It is accepted.
- `create table t (columns) as (query)` is not supported. The query is cast to the declared columns.
- A script's temporary tables outlive it. They are dropped at its end.
- `div(a + b, c)` loses the parentheses of the sum; `unix_seconds` rounds up; `json_query_array` fails on a value that
  is not a list; `safe_cast` to a number accepts `1_000`; a safe offset of -1 returns an array's last element. These
  expressions are rewritten to give the right result.
- If the types of columns are known, an array offset is one too high. The types are not looked up; only the average and
  the division of NUMERIC need them.
- A statement is parsed about fifty times. It is parsed once.
- `array_agg(distinct … ignore nulls)` and `set (a) = (select as struct …)` are not supported. They are.
- A job's default dataset is also prefixed to a script's temporary tables. It is not.
- `require_partition_filter` is not enforced, and the column of `partition by date(column)` is lost. A statement that
  reads such a table, or a view over one, without a bound on the partition column is refused with the service's message
  (partitions.py describes where it is stricter).
- Every change copies the whole table to keep older states. It does not: nothing here queries an older state.

What stays different:

- No authentication, no IAM, no quotas, no slots, no bytes processed or billed, one location (`US`), no expiration.
- Jobs run one after the other while they are inserted: none can be seen running or be cancelled.
- `begin … exception when error then … end` around a transaction answers 500.
- A load into a missing table requires a schema, even if the files contain one.
- A load's `outputRows` counts the table afterwards, not the rows loaded. DML reports only the total of affected rows.
- Partitions are not stored: nothing is pruned, `_PARTITIONTIME` is the day of the query, and `$20261101` cannot be
  addressed.
- An offset into `approx_quantiles(…)` itself is one too high; into a column with its result, it is right.
- An average or a division of NUMERIC has another scale than the service's.
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
    """Ends this process once its parent has ended: a killed parent cannot end it."""
    while os.getppid() == starter:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
_without_network()
_without_history()
jobs.fix()
statements.fix()
tables.fix()
main()
