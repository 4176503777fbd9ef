"""The peer of the ingest benchmark: dlt in a separate environment, installed from peers.lock."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figure import BenchmarkError
from benchmarks.process import ProcessResult, run

_HERE = Path(__file__).parent

# At once, which is dlt's default, and in batches.
MODES = ("whole", "stream")


@dataclass(frozen=True)
class Peer:
    """An installed peer: its Python, and a folder for its output."""

    python: Path
    folder: Path

    def load(self, url: str, mode: str, number: int) -> ProcessResult:
        """Loads the whole table once. Raises BenchmarkError on failure."""
        folder = self.folder / f"load-{mode}-{number}"
        folder.mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DO_NOT_TRACK": "1",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        script = str(_HERE / "one_peer_load.py")
        return run([str(self.python), "-I", script, url, str(folder / "peer.duckdb"), str(folder), mode], environment)


class PeerRounds:
    """The peer's loads so far in both modes. `problem` is the reason if there are none or no more. A problem of the
    peer ends only its part of the measurement."""

    def __init__(self, problem: str | None = None) -> None:
        self.seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
        self.peak_mb = 0.0
        self.problem = problem
        self._peer: Peer | None = None

    def install(self, folder: Path) -> None:
        """Installs the peer in a new environment below `folder`. Sets `problem` on failure."""
        try:
            self._peer = _installed(folder)
        except BenchmarkError as error:
            self.problem = str(error)

    def take(self, url: str, number: int, rows: int) -> None:
        """Loads the whole table in each mode. Each load must have `rows` rows with both documents."""
        for mode, seconds in self.seconds.items():
            if self._peer is None or self.problem is not None:
                return
            try:
                ended = self._peer.load(url, mode, number)
                loaded = ended.output["rows"], ended.output["documents"]
                if loaded != (rows, rows):
                    raise BenchmarkError(f"dlt loaded {loaded[0]} of {rows} rows, {loaded[1]} with both documents")
            except BenchmarkError as error:
                self.problem = str(error).splitlines()[-1]
                return
            finally:
                shutil.rmtree(self._peer.folder, ignore_errors=True)
            seconds.append(float(ended.output["seconds"]))
            self.peak_mb = max(self.peak_mb, ended.peak_mb)


def _installed(folder: Path) -> Peer:
    """Raises BenchmarkError if the peer cannot be installed."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise BenchmarkError(f"{uv.name} is missing next to {Path(sys.executable).name}: run `make install`")
    environment = folder / "peer"
    python = environment / "bin/python"
    lock = str(_HERE / "peers.lock")
    install = [str(uv), "pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"]
    for command in (
        [str(uv), "venv", "--quiet", "--python", sys.executable, str(environment)],
        [*install, "--python", str(python), "-r", lock],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no output"]
            raise BenchmarkError(f"dlt cannot be installed: {lines[-1].strip()}")
    return Peer(python, environment / "loads")
