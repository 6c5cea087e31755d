"""Requests to a web server: which answers are accepted, which are retried, which are errors."""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    LocationValueError,
    MaxRetryError,
    ResponseError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.util import make_headers

from pipeline.core.errors import InputError, NetworkError
from pipeline.core.json_record import parse_json
from pipeline.storage.retry import RetryPolicy, TransientError

Result = TypeVar("Result")

_PIECE_BYTES = 1 << 20
# A server that drips never lets a read time out; below this rate it counts as silent.
_MIN_BYTES_PER_SECOND = 1024
# A few more than the threads that share a client.
_MAX_CONNECTIONS = 32
# `RetryPolicy` waits and counts, since urllib3 waits for as long as a server asks.
_REDIRECTS_ONLY = urllib3.Retry(
    total=None, connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False
)
_TRANSIENT = (408, 425, 429)
# What trying again does not mend: certificates, circles of redirects, addresses that are none.
_PERMANENT = (SSLError, ResponseError, LocationValueError, InvalidHeader)
# A page of a listing has 1,000 entries of a few hundred bytes.
_MAX_JSON_BYTES = 64 << 20
_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


class MissingError(InputError):
    """A server has nothing of that name."""


def host_of(address: str) -> str:
    """Return the scheme and the host of an address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def check_complete(num_received: int, num_bytes: int) -> None:
    if num_received < num_bytes:
        raise TransientError(
            f"the connection was cut after {num_received:,} of {num_bytes:,} bytes"
        )


class Client:
    """Asks one server, and the hosts that it redirects to; threads may share it.

    `token` goes to addresses below `base_url` alone; `access_hint` is the hint of a refusal.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        access_hint: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.num_bytes_read = 0
        # By address, the version of the file that was read first.
        self.versions: dict[str, str] = {}
        self.retry = retry or RetryPolicy()
        self._base_url, self._token, self._access_hint = base_url, token, access_hint
        self._lock = threading.Lock()
        # The latest Retry-After deadline, and the thread that was given it.
        self._deadline = (0.0, 0)
        self._pool = _pool(base_url, self.retry.timeout_seconds)

    def json(
        self, url: str, where: str, most_bytes: int = _MAX_JSON_BYTES
    ) -> tuple[Any, str | None]:
        """Return the JSON at an address, and the address of its next page. Raises: InputError."""

        def read(response: BaseHTTPResponse) -> tuple[bytes, str | None]:
            body = bytearray()

            def add(piece: bytes) -> None:
                body.extend(piece)
                if len(body) > most_bytes:
                    raise InputError(
                        f"{where}: got more than {most_bytes:,} bytes of JSON from {url}"
                    )

            self.receive(response, None, add)
            following = _NEXT.search(response.headers.get("Link", ""))
            return bytes(body), following and following[1]

        body, following = self._fetch("GET", url, where, read)
        try:
            return parse_json(bytes(body)), following
        except ValueError as error:
            raise InputError(f"{where}: got an answer that is not JSON from {url}") from error

    def head(self, url: str, where: str) -> Mapping[str, str]:
        """Return the headers of a file. Raises: InputError."""

        def read(response: BaseHTTPResponse) -> Mapping[str, str]:
            response.drain_conn()
            return response.headers

        return self._fetch("HEAD", url, where, read)

    def _fetch(
        self, method: str, url: str, where: str, read: Callable[[BaseHTTPResponse], Result]
    ) -> Result:
        def attempt() -> Result:
            with self.request(url, where, {}, method) as response:
                return read(response)

        return self.retry.run(where, attempt)

    @contextmanager
    def request(
        self, url: str, where: str, headers: Mapping[str, str], method: str = "GET"
    ) -> Iterator[BaseHTTPResponse]:
        """Yield a good answer, its body not yet read. Raises: TransientError, InputError."""
        self._await_deadline()
        sent = {"Accept-Encoding": "identity", "User-Agent": "ettin-data", **headers}
        if self._token and url.startswith(f"{self._base_url}/"):
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            login = urlsplit(url).netloc.rpartition("@")[0]
            if login and "Authorization" not in sent:
                # To this host alone: urllib3 drops it where it is redirected to another.
                sent |= make_headers(basic_auth=unquote(login))
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
            unreachable = f"cannot reach {self._base_url}: {reason}"
            if isinstance(reason, _PERMANENT):
                kind = NetworkError if isinstance(reason, SSLError) else InputError
                raise kind(f"{where}: {unreachable}") from error
            raise TransientError(unreachable) from error
        except ValueError as error:
            # Of a redirection to what is no address.
            raise InputError(f"{where}: cannot reach {self._base_url}: {error}") from error
        try:
            self._check_status(response, where)
            yield response
        except BaseException:
            # The rest of the body stays unread, so the connection cannot be used again.
            response.close()
            raise
        response.release_conn()

    def _check_status(self, response: BaseHTTPResponse, where: str) -> None:
        status = response.status
        if status in (200, 206):
            return
        if status in _TRANSIENT or status >= 500:
            wait = _retry_after(response.headers)
            # A longer one is an error, not a wait.
            if wait is not None and wait <= self.retry.max_wait_seconds:
                deadline = (time.monotonic() + wait, threading.get_ident())
                with self._lock:
                    self._deadline = max(self._deadline, deadline)
            raise TransientError(f"got {status}", wait)
        message = response.headers.get("X-Error-Message", "")
        got = f"{where}: got {status}" + (f" ({message})" if message else "")
        if status in (401, 403):
            raise InputError(f"{got}, expected access to it", self._access_hint)
        if status in (404, 410):
            is_revision = response.headers.get("X-Error-Code") == "RevisionNotFound"
            raise MissingError(
                f"{got}: not found",
                "check the revision: there is no such branch, tag or commit, or no longer"
                if is_revision
                else "check the name",
            )
        raise InputError(f"{got}, expected the file")

    def _await_deadline(self) -> None:
        """Wait for another thread's deadline; this thread has waited for its own."""
        until, thread = self._deadline
        left = until - time.monotonic()
        if thread != threading.get_ident() and left > 0.0:
            self.retry.sleep(left)

    def receive(
        self,
        response: BaseHTTPResponse,
        num_bytes: int | None,
        write: Callable[[bytes], None],
        most_bytes: int = sys.maxsize,
    ) -> None:
        """Write the body in pieces, `num_bytes` of it or all, and at most `most_bytes`.

        Raises: TransientError when it ends early, or comes too slowly.
        """
        received, interval_bytes, interval_start = 0, 0, time.monotonic()
        stop = most_bytes if num_bytes is None else min(num_bytes, most_bytes)
        while received < stop:
            wanted = min(_PIECE_BYTES, stop - received)
            try:
                piece = response.read1(wanted)
            except (HTTPError, OSError) as error:
                raise TransientError(f"the connection was cut after {received:,} bytes") from error
            if not piece:
                break
            write(piece)
            received += len(piece)
            with self._lock:
                self.num_bytes_read += len(piece)
            interval_bytes += len(piece)
            seconds = time.monotonic() - interval_start
            if seconds > self.retry.timeout_seconds:
                if interval_bytes < _MIN_BYTES_PER_SECOND * seconds:
                    raise TransientError(f"got {interval_bytes:,} bytes in {seconds:.0f} seconds")
                interval_bytes, interval_start = 0, time.monotonic()
        check_complete(received, num_bytes or 0)


def _pool(base_url: str, timeout_seconds: float) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
    parts = urlsplit(base_url)
    proxy = getproxies().get(parts.scheme)
    if proxy is not None and not proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, maxsize=_MAX_CONNECTIONS, timeout=timeout)
    return urllib3.PoolManager(maxsize=_MAX_CONNECTIONS, timeout=timeout)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that a server asks for, if any.

    Source: RFC 9110, section 10.2.3; for `RateLimit` draft-ietf-httpapi-ratelimit-headers-09.
    """
    if (after := headers.get("Retry-After")) is not None:
        with contextlib.suppress(InvalidHeader, ValueError, OverflowError):
            return _REDIRECTS_ONLY.parse_retry_after(after)
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    return float(limit[1]) if limit else None
