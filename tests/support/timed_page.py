"""Times of the page over an order: from an action to the frame that shows all of its answer."""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import numpy as np
from playwright.sync_api import sync_playwright

from .browsers import Watched, launch, opening, serving
from .made_order import ROWS_PER_STEP, MadeOrder

_TIMED = """() => new Promise((resolve) => {
  const began = performance.now();
  const look = () => {
    if (!(%s)) return;
    watcher.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
  };
  const watcher = new MutationObserver(look);
  watcher.observe(document, { attributes: true, childList: true, subtree: true });
  %s;
  look();
})"""
_COUNTED_SECONDS = 1200
Say = Callable[[str, str], None]


def time_page(made: MadeOrder, steps: list[int], say: Say, pictures: Path) -> None:
    """Say how long what a reader does takes, in Chromium; steps: those of which rows are there."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        began = time.perf_counter()
        with serving(made.out, made.out.parent / "page") as address:
            served = time.perf_counter() - began
            with opening(browser, address, pictures) as open_:
                watched = open_()
                # Hardly any file of rows is there, as a search will find.
                watched.refused_ok = True
                watched.open("#order")
                opened = time.perf_counter() - began
                say(
                    "page: from the command to the order",
                    f"{opened:.2f} s, served in {served:.2f} s",
                )
                _time_views(watched, made, steps, say, "while rows are counted")
                _wait_until_counted(watched)
                _time_views(watched, made, steps, say, "all rows counted")
        browser.close()


def _time_views(watched: Watched, made: MadeOrder, steps: list[int], say: Say, when: str) -> None:
    generator = np.random.default_rng(len(when))
    pairs = np.sort(generator.integers(1, made.num_steps + 1, (20, 2)), axis=1).tolist()
    rows = [step * ROWS_PER_STEP - int(generator.integers(1, ROWS_PER_STEP)) for step in steps]
    some = made.block(generator.integers(0, made.num_rows, 20))
    ids = some.documents.reshape(len(some.places), -1)
    documents = [quote(bytes(one)) for one in ids]

    def views(what: str, hashes: Iterable[str]) -> None:
        _say(say, f"{what}, {when}", [_time_view(watched, one) for one in hashes])

    views("order, zoomed", [f"#order?first={first}&last={last}" for first, last in pairs])
    listed = [
        f"document.querySelector('.row-list')?.ariaLabel === 'Rows of step {one}'" for one in steps
    ]
    found = [
        _time(watched, f"location.hash = '#step?step={one}'", has)
        for one, has in zip(steps, listed, strict=True)
    ]
    _say(say, f"step, its rows, {when}", found)
    views("step, its rows and the first as text", [f"#step?step={step}" for step in steps])
    views("row of another step", [f"#step?row={row}" for row in rows])
    more = "document.querySelector('.row-list button').click()"
    grown = "document.querySelectorAll('.row-list a').length > 256"
    _say(say, f"256 more rows, {when}", [_time(watched, more, grown)])
    views("document", [f"#document?document={one}" for one in documents])
    views("proof", [f"#proof?row={row}" for row in rows])
    views("budget", ["#budget"])
    watched.open("#search")
    begins = f"location.hash = '#search?text={generator.integers(10**9)}'"
    _say(say, f"search, first answer, {when}", [_time(watched, begins, _SEARCHED)])


_SEARCHED = "document.querySelector('#panel-search .lead, #panel-search .problem')"


def _say(say: Say, what: str, took: list[float]) -> None:
    say(f"page: {what}", f"median {statistics.median(took):.0f} ms, slowest {max(took):.0f} ms")


def _time_view(watched: Watched, view: str) -> float:
    view = json.dumps(view)
    shown = f"document.documentElement.dataset.shown === {view}"
    return _time(watched, f"location.hash = {view}", shown)


def _time(watched: Watched, action: str, condition: str) -> float:
    took: float = watched.page.evaluate(_TIMED % (condition, action))
    return took


def _wait_until_counted(watched: Watched) -> None:
    began = time.monotonic()
    while watched.get("order")["exact_done"] < 1:
        assert time.monotonic() - began < _COUNTED_SECONDS
        time.sleep(2)
