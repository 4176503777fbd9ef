"""What libraries declare without a type, or with one that is too narrow, as Any."""

from typing import Any

import pyarrow
import pyarrow.parquet

# pyarrow ships no types, and tools/typings has those that the product uses.
pa: Any = pyarrow
pq: Any = pyarrow.parquet

# google.cloud.bigquery takes None for "never again", but declares a Retry.
NO_RETRY: Any = None
