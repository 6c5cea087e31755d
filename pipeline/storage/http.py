"""Requests to a server: which answers are taken, which are asked for again, which are errors.

Enters: addresses. Leaves: answers, and how many bytes came. A server in trouble is asked again,
after the wait that it asks for, a bounded number of times. One that refuses is not.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, SSLError

from pipeline.core.errors import InputError

Result = TypeVar("Result")

_PIECE_BYTES = 1 << 20
# A server that drips never lets a read time out; below this it counts as one that does not answer.
_FEWEST_BYTES_PER_SECOND = 1024
# A long file may be cut more often than a short one: what brings this much begins the count anew.
_PROGRESS_BYTES = 8 << 20
# As many as ask at once, and some.
_MAX_CONNECTIONS = 32
# Waits and counts are ours, since urllib3 waits as long as it is told to.
_REDIRECTS_ONLY = urllib3.Retry(
    total=None, connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False
)
_TROUBLE = (408, 425, 429)
_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How much trouble to bear with, for each range, or each 8 MiB of a long one."""

    max_tries: int = 6
    """How often a range is asked for, the first time included."""
    first_wait_seconds: float = 1.0
    """Wait after the first failure where the server names none; it doubles with each."""
    max_wait_seconds: float = 300.0
    """Longest wait for one range, all its tries together."""
    timeout_seconds: float = 60.0
    """How long a server may be silent, or send less than 1 KiB a second."""
    sleep: Callable[[float], None] = time.sleep
    """What waits."""


class TransientError(Exception):
    """An answer that may be better the next time."""

    def __init__(self, what: str, wait_seconds: float | None = None) -> None:
        super().__init__(what)
        self.wait_seconds = wait_seconds


class MissingError(InputError):
    """A server has nothing of that name."""


class Client:
    """Asks one server, and the hosts that it redirects to; threads may share it."""

    def __init__(
        self,
        origin: str,
        *,
        token: str | None = None,
        access_hint: str | None = None,
        patience: RetryPolicy | None = None,
    ) -> None:
        """Make a client that sends `token` to addresses below `origin` and nowhere else.

        `access_hint`: what to do where access is refused.
        """
        self.num_bytes_read = 0
        # By address, the version of a file that was read first.
        self.versions: dict[str, str] = {}
        self._origin = origin
        self._token = token
        self._access_hint = access_hint
        self._patience = patience or RetryPolicy()
        self._lock = threading.Lock()
        # Until when the server has asked to be left alone, at the longest, and whom it told so.
        self._quiet = (0.0, 0)
        self._pool = _pool(origin, self._patience.timeout_seconds)

    def json(self, url: str, where: str) -> tuple[Any, str | None]:
        """Return what the JSON at an address says, and the address of its next page if it has one.

        Raises: InputError, naming `where`, when it cannot be had.
        """

        def attempt() -> tuple[bytes, str | None]:
            response = self.ask(url, where, {})
            with closing(response):
                body = bytearray()
                self.receive(response, None, lambda piece: body.extend(piece))
                following = _NEXT.search(response.headers.get("Link", ""))
                return bytes(body), following and following[1]

        body, following = self.persist(where, attempt)
        try:
            return json.loads(body), following
        except ValueError as error:
            raise InputError(f"{where}: got an answer that is not JSON from {url}") from error

    def persist(
        self, where: str, attempt: Callable[[], Result], progress: Callable[[], int] = int
    ) -> Result:
        """Return what an attempt returns, made again while it raises TransientError; see `persist`.

        Raises: InputError when there were too many, or the wait would be too long.
        """
        return persist(where, attempt, self._patience, progress)

    def head(self, url: str, where: str) -> Mapping[str, str]:
        """Return what a server says of a file. Raises: InputError, naming `where`."""

        def attempt() -> Mapping[str, str]:
            response = self.ask(url, where, {}, method="HEAD")
            with closing(response):
                response.drain_conn()
                return response.headers

        return self.persist(where, attempt)

    def ask(
        self, url: str, where: str, headers: Mapping[str, str], method: str = "GET"
    ) -> urllib3.response.BaseHTTPResponse:
        """Send a request and return a good answer, its body not yet read.

        Raises: TransientError, or InputError for a refusal.
        """
        self._keep_quiet()
        sent = {"Accept-Encoding": "identity", "User-Agent": "ettin-data", **headers}
        if self._token and url.startswith(f"{self._origin}/"):
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            response = self._pool.request(
                method,
                url,
                headers=sent,
                preload_content=False,
                decode_content=False,
                retries=_REDIRECTS_ONLY,
            )
        except HTTPError as error:
            reason = error.reason if isinstance(error, MaxRetryError) else error
            if isinstance(reason, SSLError):
                raise InputError(f"{where}: cannot reach {self._origin}: {reason}") from error
            raise TransientError(f"cannot reach {self._origin}: {reason}") from error
        if response.status in (200, 206):
            return response
        with closing(response):
            if response.status in _TROUBLE or response.status >= 500:
                wait = _asked_wait(response.headers)
                if wait is not None:
                    self._be_quiet(wait)
                raise TransientError(f"got {response.status}", wait)
            raise self._refusal(response, where)

    def _be_quiet(self, wait: float) -> None:
        """Take note of what this thread was told, unless another was told to wait for longer."""
        if wait <= self._patience.max_wait_seconds:  # Any longer one is given up, not waited.
            told = (time.monotonic() + wait, threading.get_ident())
            with self._lock:
                self._quiet = max(self._quiet, told)

    def _keep_quiet(self) -> None:
        """Wait for what another thread was told; what this one was told it has waited itself."""
        until, told = self._quiet
        left = until - time.monotonic()
        if told != threading.get_ident() and left > 0.0:
            self._patience.sleep(left)

    def _refusal(self, response: urllib3.response.BaseHTTPResponse, where: str) -> InputError:
        status, told = response.status, response.headers.get("X-Error-Message", "")
        said = f"{status} ({told})" if told else f"{status}"
        if status in (401, 403):
            return InputError(f"{where}: got {said}, expected access to it", self._access_hint)
        if status in (404, 410):
            is_revision = response.headers.get("X-Error-Code") == "RevisionNotFound"
            return MissingError(
                f"{where}: got {said}: there is nothing of that name",
                "check the revision: the branch, tag or commit is not there, or is no more"
                if is_revision
                else "check the name",
            )
        return InputError(f"{where}: got {said}, expected the file")

    def receive(
        self,
        response: urllib3.response.BaseHTTPResponse,
        num_bytes: int | None,
        keep: Callable[[bytes], None],
    ) -> None:
        """Hand the body on in pieces, `num_bytes` of it or all.

        Raises: TransientError when it ends before, or comes too slowly.
        """
        came, window_bytes, window_began = 0, 0, time.monotonic()
        patience = self._patience.timeout_seconds
        while num_bytes is None or came < num_bytes:
            wanted = _PIECE_BYTES if num_bytes is None else min(_PIECE_BYTES, num_bytes - came)
            try:
                piece = response.read1(wanted)
            except (HTTPError, OSError) as error:
                raise TransientError(f"the connection was cut after {came:,} bytes") from error
            if not piece:
                break
            keep(piece)
            came += len(piece)
            with self._lock:
                self.num_bytes_read += len(piece)
            window_bytes += len(piece)
            seconds = time.monotonic() - window_began
            if seconds > patience:
                if window_bytes < _FEWEST_BYTES_PER_SECOND * seconds:
                    raise TransientError(f"got {window_bytes:,} bytes in {seconds:.0f} seconds")
                window_bytes, window_began = 0, time.monotonic()
        if num_bytes is not None and came < num_bytes:
            raise TransientError(f"the connection was cut after {came:,} of {num_bytes:,} bytes")


def persist(
    where: str,
    attempt: Callable[[], Result],
    patience: RetryPolicy,
    progress: Callable[[], int] = int,
) -> Result:
    """Return what an attempt returns, made again while it raises TransientError.

    `progress`: bytes that came so far, of all attempts; 8 MiB more begin the count anew.

    Raises: InputError when there were too many, or the wait would be too long.
    """
    waited, tries, reached = 0.0, 0, progress()
    while True:
        tries += 1
        try:
            return attempt()
        except TransientError as trouble:
            if progress() - reached >= _PROGRESS_BYTES:
                waited, tries, reached = 0.0, 1, progress()
            if tries == patience.max_tries:
                raise InputError(
                    f"{where}: {trouble}, and so {tries} times", "run the same command later"
                ) from trouble
            wait = trouble.wait_seconds
            if wait is None:
                wait = patience.first_wait_seconds * 2 ** (tries - 1)
            if waited + wait > patience.max_wait_seconds:
                raise InputError(
                    f"{where}: {trouble}, with a wait of {wait:,.0f} seconds, expected at most"
                    f" {patience.max_wait_seconds:,.0f}",
                    "run the same command after that time",
                ) from trouble
            patience.sleep(wait)
            waited += wait


def _pool(origin: str, timeout_seconds: float) -> urllib3.PoolManager:
    """Return connections to a server, through the proxy that the environment names."""
    timeout = urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
    parts = urlsplit(origin)
    proxy = getproxies().get(parts.scheme)
    if proxy is not None and not proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, maxsize=_MAX_CONNECTIONS, timeout=timeout)
    return urllib3.PoolManager(maxsize=_MAX_CONNECTIONS, timeout=timeout)


@contextlib.contextmanager
def closing(response: urllib3.response.BaseHTTPResponse) -> Any:
    """Keep the connection after a whole answer; drop it, the rest unread, after any other."""
    try:
        yield
    except BaseException:
        response.close()
        raise
    response.release_conn()


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks to be left alone, if it says so.

    Source: RFC 9110, section 10.2.3; for `RateLimit` draft-ietf-httpapi-ratelimit-headers-09.
    """
    if (after := headers.get("Retry-After")) is not None:
        with contextlib.suppress(InvalidHeader):
            return _REDIRECTS_ONLY.parse_retry_after(after)
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    return float(limit[1]) if limit else None
