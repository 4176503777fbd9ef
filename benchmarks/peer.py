"""The peer of the ingest benchmark: dlt in an environment of its own, made from peers.lock."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figure import BenchmarkError
from benchmarks.process import Ended, run

_HERE = Path(__file__).parent

# At once, as dlt reads unless told otherwise, and in batches.
WAYS = ("whole", "stream")


@dataclass(frozen=True)
class Peer:
    """An installed peer: its Python, and a folder for what it writes."""

    python: Path
    folder: Path

    def load(self, url: str, way: str, number: int) -> Ended:
        """One load of the whole table. Raises BenchmarkError where it fails."""
        folder = self.folder / f"load-{way}-{number}"
        folder.mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DO_NOT_TRACK": "1",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        script = str(_HERE / "one_peer_load.py")
        return run([str(self.python), "-I", script, url, str(folder / "peer.duckdb"), str(folder), way], environment)


class PeerRounds:
    """The peer's loads so far, both ways; `problem` says why there are none (any more). What goes wrong with the peer
    ends its part of the measurement only."""

    def __init__(self, problem: str | None = None) -> None:
        self.seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        self.peak_mb = 0.0
        self.problem = problem
        self._peer: Peer | None = None

    def install(self, folder: Path) -> None:
        """The peer in a new environment below `folder`."""
        try:
            self._peer = _installed(folder)
        except BenchmarkError as error:
            self.problem = str(error)

    def take(self, url: str, number: int, rows: int) -> None:
        """A load of the whole table each way, which must bring `rows` with both documents."""
        for way, seconds in self.seconds.items():
            if self._peer is None or self.problem is not None:
                return
            try:
                ended = self._peer.load(url, way, number)
                brought = ended.said["rows"], ended.said["documents"]
                if brought != (rows, rows):
                    raise BenchmarkError(f"dlt loaded {brought[0]} rows, {brought[1]} of them whole, of {rows}")
            except BenchmarkError as error:
                self.problem = str(error).splitlines()[-1]
                return
            finally:
                shutil.rmtree(self._peer.folder, ignore_errors=True)
            seconds.append(float(ended.said["seconds"]))
            self.peak_mb = max(self.peak_mb, ended.peak_mb)


def _installed(folder: Path) -> Peer:
    """Raises BenchmarkError where the peer cannot be had."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise BenchmarkError(f"no {uv.name} beside {Path(sys.executable).name}: run `make install`")
    place = folder / "peer"
    python = place / "bin/python"
    lock = str(_HERE / "peers.lock")
    install = [str(uv), "pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"]
    for command in (
        [str(uv), "venv", "--quiet", "--python", sys.executable, str(place)],
        [*install, "--python", str(python), "-r", lock],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["nothing said"]
            raise BenchmarkError(f"dlt cannot be installed: {said[-1].strip()}")
    return Peer(python, place / "loads")
