"""Prefetch: make the next value in a thread while the current one is used.

Each value has its own thread. At exit, threads are joined, but not for long: compiled code that
outlives the interpreter would crash it.
"""

import atexit
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakSet

Made = TypeVar("Made")

# A block is decoded in milliseconds; a server may take longer than anybody waits.
_MOST_SECONDS = 5.0
_threads: "WeakSet[threading.Thread]" = WeakSet()


@atexit.register
def _wait() -> None:
    for thread in list(_threads):
        thread.join(_MOST_SECONDS)


class Prefetcher(Generic[Made]):
    """One value that is made ahead."""

    def __init__(self, make: Callable[[], Made], discard: Callable[[Made], None]) -> None:
        """Start making it; `discard` gets a value that nobody takes."""
        self._make, self._discard = make, discard
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._made: list[Made] = []
        self._error: BaseException | None = None
        self._is_wanted = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        _threads.add(self._thread)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether it is made in this process, not in the parent of a fork."""
        return self._process == os.getpid()

    def take(self) -> Made:
        """Wait for the value and return it. Raises: whatever making it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._made.pop()

    def drop(self) -> None:
        """Discard it, now or as soon as it is made."""
        with self._lock:
            self._is_wanted = False
            left, self._made = self._made, []
        for made in left:
            self._discard(made)

    def _run(self) -> None:
        try:
            made = self._make()
        except BaseException as error:
            self._error = error
            return
        with self._lock:
            if self._is_wanted:
                self._made.append(made)
                return
        self._discard(made)
