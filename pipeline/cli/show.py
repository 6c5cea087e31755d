"""`ettin-data show`."""

import os
import sys
import webbrowser
from contextlib import suppress
from threading import Thread

from pipeline.cli.arguments import Arguments, Verbs, add_verb, checked
from pipeline.cli.output import print_json

_MOST_PORT = 65_535


def add(verbs: Verbs) -> None:
    summary = "show an order on a local web page: its strip, steps, documents, budgets and proofs"
    options = add_verb(
        verbs,
        "show",
        run,
        summary,
        examples=(
            "ettin-data show letters",
            "ettin-data show sample-out --get 'step?step=3'",
        ),
        guide="docs/guide/show.md#show-an-order",
    )
    where = "output of a build, a pool, or rows in order: parquet or MDS shards, local or remote"
    options.add("where WHAT", where)
    port = checked(int, "a port from 1 to 65535", lambda number: 1 <= number <= _MOST_PORT)
    options.add("--port N", "port on this machine (default: a free one)", port)
    options.add("--no-browser", "print the address only, and open no browser")
    options.add("--phase NAME", "phase to show, if the order has several")
    options.add("--get VIEW", "print one view as JSON, such as 'step?step=12', and exit")


def run(parsed: Arguments) -> int:
    """Serve the page until Ctrl-C, or print one answer."""
    from pipeline.show import Shown, answer, listen, serve

    if parsed.get is not None:
        name, _, query = parsed.get.partition("?")
        print_json(answer(Shown.open(parsed.where, phase=parsed.phase), name, query))
        return 0
    found = listen(parsed.port)
    shown = Shown.open(parsed.where, phase=parsed.phase)

    def ready(address: str) -> None:
        print(address, flush=True)
        print("Ctrl-C ends it", file=sys.stderr)
        if not parsed.no_browser:
            # One in the terminal ends before this returns, and needs the page meanwhile.
            Thread(target=_open_browser, args=[address], daemon=True).start()

    with suppress(KeyboardInterrupt):
        serve(shown, found, ready)
    # Threads may wait for an address that does not answer. They write nothing but a cache, whole
    # or not at all, so they are not waited for.
    sys.stdout.flush()
    os._exit(0)


def _open_browser(address: str) -> None:
    try:
        is_open = webbrowser.open(address)
    except (OSError, webbrowser.Error):
        is_open = False
    if not is_open:
        print("no browser can be opened here: open the address in one", file=sys.stderr)
