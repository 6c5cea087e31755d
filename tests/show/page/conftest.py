"""What tests of the page share: the sample's build, the command that shows it, and a browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from support import builds
from support.browsers import PICTURES, Open, Watched, launch, opening, serving
from support.made_once import made_once


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the session: while it runs, no other event loop can in this thread.
    with sync_playwright() as playwright:
        yield launch(playwright)


@pytest.fixture(scope="package")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `ettin-data show` over the sample's build."""

    def make(folder: Path) -> None:
        builds.run_well("build", "sample", "--out", folder / "sample")

    folder = made_once(tmp_path_factory, "shown", make)
    with serving(folder / "sample", folder) as found:
        yield found


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """The folder that `PAGE_PICTURES` names; without one there are no pictures, which are slow."""
    named = os.environ.get(PICTURES)
    if not named:
        return None
    Path(named).mkdir(parents=True, exist_ok=True)
    return Path(named)


@pytest.fixture
def open_page(browser: Browser, address: str, pictures: Path | None) -> Iterator[Open]:
    """Open pages of a size and theme; a test fails for any fault of one."""
    with opening(browser, address, pictures) as open_:
        yield open_


@pytest.fixture
def watched(open_page: Open) -> Watched:
    """A wide, light page."""
    return open_page()
