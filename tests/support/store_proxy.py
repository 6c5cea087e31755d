"""A proxy on loopback before a store: it refuses, throttles, cuts connections and lists late."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import unquote, urlsplit

from support.proxies import ProxyHandler, serving

_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>by a test</Message></Error>"
_CODES = {403: "AccessDenied", 503: "SlowDown", 400: "BadRequest"}


@dataclass
class Fault:
    """What befalls requests."""

    match: str
    """A pattern of `METHOD /path?query`."""
    kind: str
    """`status`; `cut`: the connection ends before the request was passed on; `lost`: before the
    answer; `late`: the answer, a listing, lacks the names that `hides` matches."""
    status: int = 0
    times: int = 1
    """How many requests it strikes; -1 for all."""
    skip: int = 0
    """How many pass first."""
    hides: str = ""


class Proxy:
    """A running proxy; `requests` are those that came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.on_request: Callable[[str], object] = bool
        """Called with each before it is passed on."""
        self._lock = threading.Lock()

    def strike(self, request: str) -> Fault | None:
        """Note a request; return its fault."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times and re.search(fault.match, request):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def serve_proxy(store: str) -> Iterator[Proxy]:
    """Serve a proxy of the store at an address of http until the block ends."""
    host = urlsplit(store).netloc

    class Handler(ProxyHandler):
        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {unquote(self.path)}"
            proxy.on_request(request)
            fault = proxy.strike(request)
            if fault is not None and fault.kind == "cut":
                self.close_connection = True
                return
            if fault is not None and fault.kind == "status":
                error = _ERROR.format(_CODES[fault.status]).encode()
                self.answer(fault.status, {"Content-Type": "application/xml"}, error)
                return
            upstream = HTTPConnection(host, timeout=60)
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            data, headers = answer.read(), dict(answer.getheaders())
            upstream.close()
            if fault is not None and fault.kind == "lost":
                self.close_connection = True
                return
            if fault is not None and fault.kind == "late":
                entry = rb"<Contents><Key>(?:(?!</Contents>).)*</Contents>"
                data = re.sub(
                    entry,
                    lambda one: b"" if re.search(fault.hides.encode(), one[0]) else one[0],
                    re.sub(rb">\s+<", b"><", data),
                    flags=re.DOTALL,
                )
            self.answer(answer.status, headers, data)

    with serving(Handler) as address:
        proxy = Proxy(address)
        yield proxy
