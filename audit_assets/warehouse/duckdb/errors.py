"""DuckDB's errors as errors of the warehouse, with their fix."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from audit_assets.warehouse.protocol import WarehouseError, WarehouseLockedError, WarehouseMemoryError

# Messages for a full disk, a quota or a limit on file size.
_FULL_DISK = ("No space left", "File too large", "Could not write", "quota exceeded")


@contextmanager
def memory_errors() -> Generator[None]:
    """Raises DuckDB's out-of-memory errors as WarehouseMemoryError, after which a smaller load may fit."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        text = str(error).splitlines()[0][:300]
        if any(sign in text for sign in _FULL_DISK):
            raise
        raise WarehouseMemoryError(
            f"a load does not fit into DuckDB's memory: free some, or raise AI_AUDIT_DUCKDB_MEMORY ({text})"
        ) from error


def to_warehouse_error(error: duckdb.Error, path: Path) -> WarehouseError | None:
    """`error` with its fix, if the user can fix it; None if it is a bug."""
    text = str(error).splitlines()[0][:300]
    if any(sign in text for sign in _FULL_DISK):
        return WarehouseError(f"no space left for {path}: free some and run again, nothing was half-written ({text})")
    if isinstance(error, duckdb.ConnectionException) or "Could not set lock" in text:
        return WarehouseLockedError(f"{path} is open in another program ({text}); close it there and run again")
    if "not a valid DuckDB" in text:
        return WarehouseError(f"{path} is not a DuckDB file; move it away, or set AI_AUDIT_DUCKDB_PATH to another")
    if "Could not read enough bytes" in text:
        return WarehouseError(
            f"{path} is truncated ({text}): restore it, or move it away; the next sync then reads the source again"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return WarehouseError(
            f"out of memory or temporary disk beside {path}; free some, or raise AI_AUDIT_DUCKDB_MEMORY, and run again "
            f"({text})"
        )
    if isinstance(error, duckdb.IOException | duckdb.SerializationException | duckdb.FatalException):
        return WarehouseError(f"{path} cannot be used: {text}; fix that or set AI_AUDIT_DUCKDB_PATH to another")
    return None
