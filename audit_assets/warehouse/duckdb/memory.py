"""The memory limit of DuckDB."""

from contextlib import suppress
from pathlib import Path

_MEBIBYTE = 1024 * 1024
_LEAST, _MOST = 256, 4096
_SHARE = 4


def duckdb_memory(configured: str | None) -> str:
    """DuckDB's `memory_limit`: the configured one, else a quarter of the free memory, from 256 MiB to 4 GiB.

    It is a power of two, so that it seldom changes: dbt parses the project again when its profile changes.
    """
    if configured is not None:
        return configured
    free = _free_bytes()
    wanted = _LEAST if free is None else free // _SHARE // _MEBIBYTE
    limit = _LEAST
    while limit * 2 <= min(wanted, _MOST):
        limit *= 2
    return f"{limit}MiB"


def _free_bytes() -> int | None:
    """The memory this process may still use, by the machine and by its cgroup's limit. None if the system does not
    report it."""
    known = [free for free in (_free_of_machine(), _free_of_cgroup(Path("/sys/fs/cgroup"))) if free is not None]
    return min(known, default=None)


def _free_of_machine() -> int | None:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _free_of_cgroup(folder: Path) -> int | None:
    """Files in the page cache count as free: the kernel evicts them when memory is short."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        with suppress(OSError, ValueError):  # no such cgroup, or no limit ("max")
            most = int((folder / limit).read_text())
            stat = dict(line.split(" ", 1) for line in (folder / cache).read_text().splitlines())
            return max(0, most - int((folder / used).read_text()) + int(stat.get("inactive_file", 0)))
    return None
