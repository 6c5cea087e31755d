"""Requests to any store: retries, and many at once."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pipeline.core.errors import NetworkError

Item = TypeVar("Item")
Result = TypeVar("Result")

# A long file may be cut more often than a short one: this much progress resets the count.
_PROGRESS_BYTES = 8 << 20
# As many as a browser opens to one HTTP/1.1 server, a few times over.
_MAX_CONCURRENT = 16


class TransientError(Exception):
    """A failure that may not recur; `wait_seconds` where the server says how long to wait."""

    def __init__(self, what: str, wait_seconds: float | None = None) -> None:
        super().__init__(what)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often to retry each range, or each 8 MiB of a long one."""

    max_tries: int = 6
    """Tries of one range, the first included."""
    first_wait_seconds: float = 1.0
    """Delay after the first failure where the server names none; it doubles with each."""
    max_wait_seconds: float = 300.0
    """Longest delay for one range, all its tries together."""
    timeout_seconds: float = 60.0
    """How long a server may be silent, or send less than 1 KiB a second."""
    sleep: Callable[[float], None] = time.sleep

    def run(
        self, where: str, attempt: Callable[[], Result], progress: Callable[[], int] = int
    ) -> Result:
        """Return what an attempt returns, repeated while it raises TransientError.

        `progress`: bytes received so far, by all attempts; 8 MiB more reset the count.

        Raises: NetworkError after too many tries, or where the delay would be too long.
        """
        waited, tries, reached = 0.0, 0, progress()
        while True:
            tries += 1
            try:
                return attempt()
            except TransientError as error:
                if progress() - reached >= _PROGRESS_BYTES:
                    waited, tries, reached = 0.0, 1, progress()
                if tries == self.max_tries:
                    raise NetworkError(
                        f"{where}: {error}; gave up after {tries} tries",
                        "run the same command later",
                    ) from error
                wait = error.wait_seconds
                if wait is None:
                    wait = self.first_wait_seconds * 2 ** (tries - 1)
                if waited + wait > self.max_wait_seconds:
                    raise NetworkError(
                        f"{where}: {error} with a retry delay of {wait:,.0f} seconds, expected at"
                        f" most {self.max_wait_seconds:,.0f}",
                        "run the same command after that time",
                    ) from error
                self.sleep(wait)
                waited += wait


def map_concurrently(ask: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the results in order. Raises: what the first of them raises; no more are begun."""
    with ThreadPoolExecutor(_MAX_CONCURRENT) as pool:
        # On an error, `Executor.map` cancels what has not begun.
        return list(pool.map(ask, items))
