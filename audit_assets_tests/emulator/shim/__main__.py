"""The emulator of BigQuery, mended. Run by the Python that `bqemulator` is installed for: `python -I shim start …`

What the emulator gets wrong, and what of it is mended here:

- It asks the network for DuckDB's extensions for geography and Avro before it answers. They are not loaded; neither
  type is used.
- A job id that is taken runs a second job. It answers 409 `duplicate`, for queries, loads, copies and extracts; an
  upload's job has the id it was asked to have; a job that is asked for again shows the labels it was given.
- A file uploaded in one request is refused for its content type. It is taken.
- `create table t (columns) as (query)` is not understood. The query is cast to the declared columns.
- A script's temporary tables outlive it. They are dropped at its end.
- Where a job names a default dataset, it is put before a script's temporary tables too. It is not.
- `require_partition_filter` is not enforced, and of `partition by date(column)` the column is forgotten. A statement
  that reads such a table, or a view over one, without a bound on the partition column is refused in the service's words
  (partitions.py says where it is stricter).
- Every change copies the whole table, so that an older state can be asked for. It is not: nothing here asks for one.

What stays different:

- No authentication, no IAM, no quotas, no slots, no bytes processed or billed, one location (`US`), no expiration.
- Jobs run at once, one after the other, while they are inserted: none is ever seen running, none can be cancelled.
- `begin … exception when error then … end` around a transaction answers 500.
- A load's `outputRows` counts the table afterwards, not the rows loaded. DML tells the sum of affected rows only.
- Partitions are not stored: nothing is pruned, `_PARTITIONTIME` is the day of the query, `$20261101` is no address.
- Arithmetic, casts of text, regular expressions and the order of equal rows are DuckDB's.
"""

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


_without_network()
_without_history()
jobs.mend()
statements.mend()
tables.mend()
main()
