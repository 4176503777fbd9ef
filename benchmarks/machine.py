"""The machine and the time of a measurement, printed above the figures."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """`memory_gib` is the system's total memory; `load` is the load average of the minute before the start."""

    measured_at: datetime
    cores: int
    memory_gib: float
    processor: str
    system: str
    python: str
    load: float

    def __str__(self) -> str:
        return (
            f"{self.measured_at:%Y-%m-%d %H:%M} UTC, {self.cores} cores ({self.processor}), "
            f"{self.memory_gib:.0f} GiB memory, {self.system}, Python {self.python}, load before {self.load:.1f}"
        )


def this_machine() -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        measured_at=datetime.now(UTC),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=memory,
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
