"""A headless Chromium that benchmarks and tests speak to; nothing but Chromium and Python is needed."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """The program, or None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A headless Chromium that is spoken to through a pipe."""

    def __init__(self, profile: str) -> None:
        program = found() or PROGRAMS[0]
        down, self._send = os.pipe()
        self._receive, up = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe --disable-sync".split()
        start = f"exec 3<&{down} 4>&{up}; exec {program} {' '.join(flags)} --user-data-dir={profile} about:blank"
        self._process = subprocess.Popen(["bash", "-c", start], pass_fds=(down, up), stderr=subprocess.DEVNULL)
        os.close(down)
        os.close(up)
        self._held, self._number, self._session = b"", 0, ""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": given}
        asked |= {"sessionId": self._session} if self._session else {}
        os.write(self._send, json.dumps(asked).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                self._held += os.read(self._receive, 1 << 16)
            told, _, self._held = self._held.partition(b"\0")
            answer = json.loads(told)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def value(self, script: str) -> Any:
        """What a script, or the promise that it makes, comes to."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return told["result"].get("value")

    def open(self, path: Path, parts: str = "") -> None:
        """Open a file, whole, and wait until it is there; ``parts`` is what follows its name (#word-2)."""
        for address in ("about:blank", f"file://{path}{parts}"):  # a script that waits on a page that goes hangs
            self.call("Page.navigate", url=address)
            while self.value("location.href + document.readyState") != f"{address}complete":
                time.sleep(0.02)

    def screen(self, width: int, height: int, scheme: str = "light") -> None:
        """The size of the window in CSS pixels, and the user's colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Write what is on the screen, or the whole page, as PNG."""
        path.write_bytes(self.screenshot(whole))
        return path

    def screenshot(self, whole: bool = False) -> bytes:
        """The same as the bytes of a PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        return base64.b64decode(data)

    def close(self) -> None:
        """End the browser."""
        self.call("Browser.close")
        self._process.wait(20)
