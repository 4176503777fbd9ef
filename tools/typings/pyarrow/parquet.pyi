from collections.abc import Iterator, Sequence
from typing import Self

from pyarrow import RecordBatch, Schema

class RowGroupMetaData:
    total_byte_size: int

class FileMetaData:
    num_row_groups: int
    num_rows: int
    def row_group(self, i: int) -> RowGroupMetaData: ...

class ParquetFile:
    metadata: FileMetaData
    schema_arrow: Schema
    def __init__(self, source: object) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...
    def iter_batches(self, batch_size: int, *, columns: Sequence[str]) -> Iterator[RecordBatch]: ...
