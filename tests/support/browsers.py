"""A real browser for tests of the page: Chromium, watched for what it must not do."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request

from .paths import REPOSITORY

REQUIRED: Final = "BROWSER_TESTS"
"""Set to `required`, a browser that is not there is a failure, not a skip."""
PICTURES: Final = "PAGE_PICTURES"
"""Names a folder for pictures of every panel."""
WIDE, PHONE = (1360, 900), (390, 844)
SECONDS: Final = 60
"""Longest that a view may take on a busy machine."""

# What Chromium itself asks the world is switched off, so that every request is the page's.
_ARGUMENTS = (
    *("--no-sandbox", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-first-run", "--disable-default-apps"),
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def launch(playwright: Playwright) -> Browser:
    """Start Chromium; skip, or fail where it is required, when there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        why = f"none of {', '.join(_NAMES)} is on PATH (Debian: apt-get install chromium)"
        (pytest.fail if os.environ.get(REQUIRED) == "required" else pytest.skip)(why)
    return playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))


@contextmanager
def serving(out: Path, cache: Path) -> Iterator[str]:
    """Run `ettin-data show` over an output, with a cache of its own; give the address."""
    command = [sys.executable, "-m", "pipeline", "show", str(out), "--no-browser"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(SECONDS)


class Watched:
    """A page at the address of a server, and everything about it that is a fault."""

    def __init__(self, page: Page, address: str, pictures: Path | None) -> None:
        self.page, self.address, self._pictures = page, address, pictures
        self.faults: list[str] = []
        self.refused_ok = False
        """Whether the server may refuse, which the browser notes on its console."""
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._on_request)
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))

    def open(self, view: str) -> Page:
        """Go to a view, such as `#step?step=2`, and wait until it is complete."""
        if self.page.url.startswith(self.address):
            self.page.evaluate("hash => { location.hash = hash }", view)
        else:
            self.page.goto(self.address + view)
        self.wait(view)
        return self.page

    def wait(self, view: str) -> None:
        """Wait until a view is complete."""
        self.page.wait_for_selector(f"html[data-shown={json.dumps(view)}]", state="attached")

    def get(self, name: str, **query: str | int) -> Any:
        """Return an answer of the server that the page is of."""
        address = f"{self.address}api/{name}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=SECONDS) as response:
            return json.load(response)

    def answer_with(self, name: str, content: Any, status: int = 200) -> None:
        """From now on, give the page this answer of a view, or what `content(request)` returns."""

        def respond(route: Any) -> None:
            body = content(route.request) if callable(content) else content
            route.fulfill(status=status, content_type="application/json", body=json.dumps(body))

        self.page.route(re.compile(re.escape(f"{self.address}api/{name}?")), respond)

    def picture(self, name: str) -> None:
        if self._pictures is not None:
            self.page.screenshot(path=self._pictures / f"{name}.png", full_page=True)

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of elements, with single spaces."""
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def _on_console(self, message: ConsoleMessage) -> None:
        is_refusal = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not (self.refused_ok and is_refusal):
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:")):
            self.faults.append(f"request: {request.url}")


Open = Callable[..., Watched]
"""Opens a page of a size, in a theme."""


@contextmanager
def opening(browser: Browser, address: str, pictures: Path | None) -> Iterator[Open]:
    """Open pages of a size and theme; for any fault of one, fail at the end."""
    opened: list[Watched] = []

    def open_(size: tuple[int, int] = WIDE, theme: str = "light") -> Watched:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if theme == "dark" else "light",
            permissions=["clipboard-read", "clipboard-write"],
        )
        opened.append(Watched(context.new_page(), address, pictures))
        return opened[-1]

    yield open_
    for one in opened:
        one.page.context.close()
    faults = [fault for one in opened for fault in one.faults]
    assert not faults, faults
