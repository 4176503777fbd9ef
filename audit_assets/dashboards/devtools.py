"""Chromium driven by its DevTools protocol over a pipe: enough to open a page, ask it and take its picture."""

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit_assets.dashboards.chromium import ARGUMENTS, ChromiumError

_READS, _WRITES = 3, 4  # the descriptors at which Chromium listens and answers


class Tab:
    """One page of a running Chromium."""

    def __init__(self, to_chromium: int, from_chromium: int) -> None:
        self._to, self._from = to_chromium, from_chromium
        self._number, self._held, self._session = 0, b"", ""

    def open(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What Chromium answers. Raises ChromiumError."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                break
        if "error" in told:
            raise ChromiumError(f"Chromium refuses {method}: {told['error'].get('message')}")
        return told["result"]

    def ask(self, script: str) -> Any:
        """The value of an expression, or of the promise it gives."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise ChromiumError(f"the page cannot answer: {told['exceptionDetails'].get('text')}")
        return told["result"].get("value")

    def wait(self, condition: str, seconds: float, lacking: str) -> None:
        """Until the expression is true. Raises ChromiumError, with what is `lacking`."""
        until = time.monotonic() + seconds
        while not self.ask(condition):
            if time.monotonic() > until:
                raise ChromiumError(f"{lacking} after {seconds:.0f} s")
            time.sleep(0.1)

    def size(self, width: int, height: int) -> None:
        """The page's size in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self) -> bytes:
        """The page as it is now, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            more = os.read(self._from, 1 << 20)
            if not more:
                raise ChromiumError("Chromium has ended; run it by itself to see why: chromium --headless --no-sandbox")
            self._held += more
        message, _, self._held = self._held.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium_tab(program: str, more: Sequence[str] = ()) -> Generator[Tab]:
    """A page in a Chromium of its own, with an empty profile; both are gone afterwards."""
    reads, to_chromium = os.pipe()
    from_chromium, writes = os.pipe()
    with tempfile.TemporaryDirectory(prefix="audit-chromium-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "profile").mkdir()
        command = [program, *ARGUMENTS, *more, f"--user-data-dir={folder}/profile", "--remote-debugging-pipe"]
        process = _started(command, reads, writes)
        os.close(reads)
        os.close(writes)
        try:
            tab = Tab(to_chromium, from_chromium)
            tab.open()
            yield tab
        finally:
            os.close(to_chromium)  # it ends with its pipe
            os.close(from_chromium)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(command: Sequence[str], reads: int, writes: int) -> subprocess.Popen[bytes]:
    """Chromium with its end of the pipes at the descriptors that it looks at."""
    shell = f'exec "$@" {_READS}<&{reads} {_WRITES}>&{writes}'
    return subprocess.Popen(
        # By bash, as dash knows descriptors of one digit only.
        ["bash", "-c", shell, "chromium", *command],
        pass_fds=(reads, writes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
