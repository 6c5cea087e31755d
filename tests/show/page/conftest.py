"""What tests of the page share: the sample's build, the command that shows it, and a browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from support import builds
from support.browsers import PICTURES, SECONDS, WIDE, Open, Watched, launch
from support.paths import REPOSITORY


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the session: while it runs, no other event loop can in this thread.
    with sync_playwright() as playwright:
        yield launch(playwright)


@pytest.fixture(scope="package")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `ettin-data show` over the sample's build."""
    out = tmp_path_factory.mktemp("shown") / "sample"
    builds.run_well("build", "sample", "--out", out, "--workers", "1")
    command = [sys.executable, "-m", "pipeline", "show", str(out), "--no-browser"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "XDG_CACHE_HOME": str(out.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
        process.wait(SECONDS)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `PAGE_PICTURES` names, or one that is thrown away."""
    named = os.environ.get(PICTURES)
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser: Browser, address: str, pictures: Path) -> Iterator[Open]:
    """Open pages of a size and theme; a test fails for any fault of one."""
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
    assert [fault for one in opened for fault in one.faults] == []


@pytest.fixture
def watched(open_page: Open) -> Watched:
    """A wide, light page."""
    return open_page()
