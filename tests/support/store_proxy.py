"""A proxy on loopback before a store: it refuses, throttles, cuts connections and lists late."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

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

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {unquote(self.path)}"
            proxy.on_request(request)
            fault = proxy.strike(request)
            if fault is not None and fault.kind == "cut":
                self.close_connection = True
                return
            if fault is not None and fault.kind == "status":
                error = _ERROR.format(_CODES[fault.status]).encode()
                self._answer(fault.status, {"Content-Type": "application/xml"}, error)
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
            self._answer(answer.status, headers, data)

        def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            is_head = self.command == "HEAD"
            length = headers.get("Content-Length", "0") if is_head else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            if not is_head:
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
