"""A headless Chromium, driven through Debian's chromedriver by the W3C WebDriver protocol: JSON over HTTP."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.needs import unavailable

__all__ = ["Browser", "Element", "browser"]

# Without the flags about networking, Chromium looks for its maker's servers, and waits for them.
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
]
# How many seconds a test that fails anyway waits before it says so.
_PATIENCE = 60
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # so says the standard


@contextmanager
def browser(profile: Path, *, width: int = 1280, height: int = 900, scale: float = 1) -> Iterator[Browser]:
    """A new browser, closed at the end of the block.  Without Chromium the test is skipped; see :mod:`tests.needs`.

    :param profile: an empty directory for it
    :param width: of the page, in CSS pixels
    :param height: of the page, in CSS pixels
    :param scale: device pixels for each CSS pixel
    """
    if missing := ", ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None):
        unavailable(f"no {missing}: apt-get install chromium chromium-driver")
    driver, port = _driver()
    try:
        options = {"args": [*_FLAGS, f"--user-data-dir={profile}", f"--force-device-scale-factor={scale}"]}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        address = f"http://127.0.0.1:{port}/session"
        session = _send("POST", address, {"capabilities": capabilities})["sessionId"]
        found = Browser(f"{address}/{session}")
        try:
            found.resize(width, height, scale)
            yield found
        finally:
            _send("DELETE", found.address)
    finally:
        driver.terminate()
        driver.communicate()


def _driver() -> tuple[subprocess.Popen[str], str]:
    """A running chromedriver, and its port."""
    for _ in range(10):
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert driver.stdout is not None
        for line in driver.stdout:
            if match := re.search(r"successfully on port (\d+)", line):
                return driver, match[1]
        # it chose a port that was free by IPv4, and then was not by IPv6
        driver.communicate()
    raise AssertionError("chromedriver does not start")


class Browser:
    """One window of it.

    :param address: the URL of the WebDriver session
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def resize(self, width: int, height: int, scale: float = 1, *, dark: bool = False) -> None:
        """Afterwards the page has this size, in CSS pixels, on a screen of that many device pixels for each."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        scheme = "dark" if dark else "light"
        self._devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Show the page, and wait until it is loaded."""
        self._post("url", url=url)

    def find(self, selector: str) -> Element:
        """The first element that the CSS selector matches; it is an error if there is none."""
        return Element(self, self._post("element", using="css selector", value=selector)[_ELEMENT])

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a JavaScript function returns; a promise is waited for."""
        return self._post("execute/sync", script=script, args=list(arguments))

    def disable_types(self, *names: str) -> None:
        """From now on it neither asks for files of these types, such as ``"avif"``, nor shows them: as old ones do."""
        self._devtools("Emulation.setDisabledImageTypes", imageTypes=list(names))

    def screenshot(self, path: Path) -> None:
        """Write what the window shows to a PNG file."""
        path.write_bytes(base64.b64decode(_send("GET", f"{self.address}/screenshot")))

    def _devtools(self, command: str, **parameters: Any) -> None:
        self._post("goog/cdp/execute", cmd=command, params=parameters)

    def _post(self, command: str, **values: Any) -> Any:
        return _send("POST", f"{self.address}/{command}", values)


class Element:
    """An element of the page shown."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser, self._name = browser, name

    def click(self) -> None:
        """Click on it, where that leads to no other page."""
        self._browser._post(f"element/{self._name}/click")

    def submit(self) -> None:
        """Click on it, and wait for the page that this leads to."""
        self._browser.run("document.former = true")
        self.click()
        # WebDriver waits for navigations, but one by a form may not have begun when it looks
        deadline = time.monotonic() + _PATIENCE
        while self._browser.run("return document.former || document.readyState !== 'complete'"):
            assert time.monotonic() < deadline, "the click led to no other page"
            time.sleep(0.01)

    def type(self, text: str) -> None:
        """Type into it; into a file input, the path of the file."""
        self._browser._post(f"element/{self._name}/value", text=text)

    @property
    def text(self) -> str:
        """Its text as shown."""
        text: str = _send("GET", f"{self._browser.address}/element/{self._name}/text")
        return text


def _send(method: str, url: str, values: dict[str, Any] | None = None) -> Any:
    data = None if values is None else json.dumps(values).encode()
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json"}, method=method)) as response:
            return json.load(response)["value"]
    except HTTPError as error:
        problem = json.load(error)["value"]
        msg = f"{problem['error']}: {problem['message']}"
        raise AssertionError(msg) from None
