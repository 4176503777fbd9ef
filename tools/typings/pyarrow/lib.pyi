"""DuckDB's stubs name these classes where they are defined."""

from pyarrow import RecordBatchReader as RecordBatchReader
from pyarrow import Schema as Schema
from pyarrow import Table as Table
