"""A real browser for the tests: Chromium without a window, asked by its own protocol over two pipes.

Nothing but the browser itself is needed: no driver, no library. `find()` names it, or nothing where there is none.

    python tests/browser.py

installs Debian's package where there is none and this is root. Exit codes: 0 it is there; 3 it cannot be had here.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--force-device-scale-factor=1"),
)
_PATIENCE_S = 120


def find() -> str | None:
    """The path of a Chromium, or None. HARNESS_BROWSER names another."""
    named = os.environ.get("HARNESS_BROWSER")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass
class Seen:
    """A page as it was shown: what went wrong, what it asked the network for, and how to ask it more."""

    browser: Browser
    session: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page. Raises RuntimeError where it throws."""
        told = self.browser.call(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True}, self.session
        )
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """A key, such as `Tab`."""
        for kind in ("keyDown", "keyUp"):
            told = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": {"Tab": 9}.get(key, 0)}
            self.browser.call("Input.dispatchKeyEvent", told, self.session)

    def picture(self, path: Path, *, most: int | None = None) -> None:
        """The whole page as PNG, or so many pixels from its top."""
        size = self.browser.call("Page.getLayoutMetrics", {}, self.session)["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(most or size["height"], size["height"]),
            "scale": 1,
        }
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        path.write_bytes(base64.b64decode(self.browser.call("Page.captureScreenshot", options, self.session)["data"]))


class Browser:
    """One browser for many pages; a context manager."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="browser-")
        ours, theirs = os.pipe(), os.pipe()  # to the browser, which reads 3; from it, which writes 4

        def wire() -> None:
            read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (ours[0], theirs[1]))
            os.dup2(read, 3)
            os.dup2(write, 4)

        command = [program, *_OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=wire,  # noqa: PLW1509  only dup, and there is no other way to give it 3 and 4
            pass_fds=(3, 4),
            start_new_session=True,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._write, self._read = ours[1], theirs[0]
        self._buffer = b""
        self._count = 0
        self._pages: dict[str, Seen] = {}
        self._loaded: set[str] = set()
        self._target = ""

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(
        self, page: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True
    ) -> Seen:
        """Show a file, or what a URL names, and come back when it has loaded. The page before it is closed."""
        if self._target:
            self.call("Target.closeTarget", {"targetId": self._target})
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._target = target
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        seen = self._pages[session] = Seen(self, session)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        for method, options in (
            ("Page.enable", {}),
            ("Runtime.enable", {}),
            ("Log.enable", {}),
            ("Network.enable", {}),
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", {"features": [scheme]}),
            ("Emulation.setScriptExecutionDisabled", {"value": not scripts}),
        ):
            self.call(method, options, session)
        self._loaded.discard(session)
        url = page if isinstance(page, str) else page.absolute().as_uri()
        self.call("Page.navigate", {"url": url}, session)
        while session not in self._loaded:
            self._take()
        return seen

    def call(self, method: str, options: dict[str, Any], session: str = "") -> dict[str, Any]:
        """One command and its answer. Raises RuntimeError where the browser refuses."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": options} | ({"sessionId": session} if session else {})
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            told = self._take()
            if told.get("id") == self._count:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result

    def _take(self) -> dict[str, Any]:
        """The next message; events are noted with their page."""
        end = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser ended" if ready else "the browser does not answer")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(text)
        if told.get("sessionId") in self._pages and "method" in told:
            self._note(self._pages[told["sessionId"]], told["method"], told["params"])
        return told

    def _note(self, seen: Seen, method: str, told: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.add(seen.session)
        elif method == "Network.requestWillBeSent":
            seen.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            seen.errors.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            seen.errors.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            seen.errors.append(told["entry"]["text"])


def main() -> int:
    """Get a browser, if it can be had."""
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # The lists of packages may be missing or old: then they are got, and it is tried again.
        _ = _quietly("install", "-y", "--no-install-recommends", "chromium") or (
            _quietly("update") and _quietly("install", "-y", "--no-install-recommends", "chromium")
        )
    found = find()
    print(f"browser: {found}" if found else "browser: WITHOUT chromium: apt install chromium; its tests are skipped")
    return 0 if found else 3


def _quietly(*words: str) -> bool:
    try:
        told = subprocess.run(
            ["apt-get", "-q", *words], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
