"""Runs a first load in a new process: `python -m benchmarks.one_sync MODE`, configured by the environment.

Prints the seconds of the sync alone, without the start of Python, and the number of rows it added.
"""

import json
import sys
import time
from typing import cast

from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request
from audit_assets.settings import read_settings
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import Mode
from benchmarks.home import NOW


def main() -> None:
    settings = read_settings()
    policy = read_policy(settings.policy_file)
    warehouse = DuckDBWarehouse(settings.duckdb_path, settings.lock_path)
    begun = time.perf_counter()
    report = sync(settings.source_url, warehouse, policy, Request(cast(Mode, sys.argv[1])), now=lambda: NOW)
    seconds = time.perf_counter() - begun
    sys.stdout.write(json.dumps({"seconds": seconds, "rows": report.run.counts.added}) + "\n")


if __name__ == "__main__":
    main()
