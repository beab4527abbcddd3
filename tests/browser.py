"""A real browser for tests: headless Chromium, spoken to through a pipe in the DevTools protocol.

with browser(tmp_path) as page:
    page.open("http://localhost:8000/index.html")
    page.evaluate("document.title")
    page.requests                   # every address that was asked for
    page.complaints                 # what the console said, what could not be loaded
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "no Chromium here: apt-get install chromium"
PATIENCE = 30.0  # seconds
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
]


class AnswerError(Exception):
    """The browser could not do what was asked."""


class Page:
    """The one page of the browser."""

    def __init__(self, send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
        self._send, self._receive = send, receive
        self._last = 0
        self._session = ""
        self._loaded = False
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Go there and wait until it is loaded."""
        self._loaded = False
        if "loaderId" in self._call("Page.navigate", url=address):  # else it only moved within the page
            self._wait(lambda: self._loaded, address)

    def click(self, selector: str) -> None:
        """Click where the element is, as a mouse does, and wait for the page it leads to."""
        box = self.evaluate(
            "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + Math.min(b.width / 2, 20), b.y + b.height / 2] })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self._loaded = False
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        self._wait(lambda: self._loaded, selector)

    def type(self, text: str) -> None:
        self._call("Input.insertText", text=text)

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression of JavaScript."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def resize(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path, whole: bool = False) -> None:
        data = self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def wait_for(self, expression: str) -> None:
        """Until an expression of JavaScript is true."""
        until = time.monotonic() + PATIENCE
        while not self._is_true(expression):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.05)

    def _is_true(self, expression: str) -> bool:
        try:
            return bool(self.evaluate(f"Boolean({expression})"))
        except AnswerError:  # the page was left meanwhile
            return False

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < until, f"{what} was not loaded in {PATIENCE} s"
            self._note(json.loads(self._receive()))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._receive())
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise AnswerError(answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Network.loadingFailed" and not about.get("canceled"):
            self.complaints.append(f"not loaded: {about['errorText']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are not among the first few descriptors, which the browser takes for its own."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A fresh Chromium with its profile under ``folder``."""
    assert CHROMIUM
    to_read, to_write = _pipe()
    from_read, from_write = _pipe()
    started = subprocess.Popen(
        [
            "bash",
            "-c",
            f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}',
            CHROMIUM,
            *OPTIONS,
            f"--user-data-dir={folder}/profile",
        ],
        pass_fds=(to_read, from_write),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    waiting = bytearray()

    def receive() -> bytes:
        while (end := waiting.find(b"\0")) < 0:
            assert select.select([from_read], [], [], PATIENCE)[0], f"the browser said nothing for {PATIENCE} s"
            piece = os.read(from_read, 1 << 20)
            assert piece, "the browser went away"
            waiting.extend(piece)
        message = bytes(waiting[:end])
        del waiting[: end + 1]
        return message

    try:
        yield Page(lambda message: os.write(to_write, message), receive)
    finally:
        started.terminate()
        started.wait(PATIENCE)
        os.close(to_write)
        os.close(from_read)
