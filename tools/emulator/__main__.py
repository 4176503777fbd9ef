"""Runs the emulator until Ctrl-C or a signal ends it.

.venv/bin/python -m tools.emulator --port 9050
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from audit_assets.settings import read_settings
from tools.emulator.running import PROJECT, EmulatorError, running_emulator


def main() -> int:
    """Returns 0 after a signal, 1 if the emulator cannot be started or ends by itself."""
    parser = argparse.ArgumentParser(prog="python -m tools.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; default: any free one")
    parser.add_argument("--project", default=PROJECT)
    parser.add_argument("--data-dir", type=Path, help="folder for the data; default: nothing is kept")
    arguments = parser.parse_args()

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    folder = read_settings().home / "emulator"
    try:
        with running_emulator(folder, arguments.port, arguments.project, arguments.data_dir) as emulator:
            for name, value in emulator.settings.items():
                print(f"export {name}={value}", flush=True)
            while not ended.wait(timeout=0.5):
                if emulator.process.poll() is not None:
                    raise EmulatorError(f"the emulator ended by itself; see {emulator.log}")
    except EmulatorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
