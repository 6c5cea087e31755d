"""The server over a real socket: who may ask, what every answer carries, and how it ends."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from support import order_server
from support.builds import environment
from support.traced import write_output

from pipeline.show import Shown
from pipeline.show import server as serving


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict:
        return json.loads(self.body)


class Server(NamedTuple):
    """A running command, and its address."""

    process: subprocess.Popen[str]
    port: int
    prefix: str

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Reply:
        return self.ask(f"{self.prefix}{path}", method=method, **headers)

    def ask(self, path: str, *, method: str = "GET", **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, headers=headers)
            got = connection.getresponse()
            return Reply(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()


def start(out: Path | str, cache: Path, *options: str, **variables: str) -> Server:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "show", str(out), "--no-browser", *options],
        env=environment(XDG_CACHE_HOME=str(cache), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1", address
    assert parts.port is not None
    return Server(process, parts.port, parts.path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    write_output(folder / "out", [("a", "x"), ("b", "<b>it's</b>"), ("a", "y")] * 4)
    running = start(folder / "out", folder)
    yield running
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0
    running.process.communicate()


HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src"
    " 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors"
    " 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def check_headers(reply: Reply) -> None:
    assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in reply.headers


def test_answers_are_json_with_the_headers_of_a_page_that_trusts_nobody(server: Server) -> None:
    for path in ("api/about", "api/order?columns=2", "api/budget", "api/document?document=x"):
        reply = server.get(path)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert reply.content["command"].startswith("ettin-data ")
        check_headers(reply)


def test_only_the_token_opens(server: Server) -> None:
    token = server.prefix.strip("/")
    assert len(token) >= 20
    for path in ("/", "/api/about", f"/{token[:-1]}x/api/about", f"/{token}", f"/x{token}/", "//"):
        reply = server.ask(path)
        assert (reply.status, reply.content) == (404, {"error": "not found", "hint": None})
        check_headers(reply)


def test_only_this_host_is_served(server: Server) -> None:
    good = f"localhost:{server.port}"
    assert server.get("api/about", Host=good).status == 200
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1", "127.0.0.1:1", ""):
        reply = server.get("api/about", Host=host)
        assert reply.status == 400
        assert reply.content["error"] == "got a Host header of another server"
        check_headers(reply)


def test_only_get_is_answered(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        reply = server.get("api/about", method=method)
        assert reply.status == 405
        check_headers(reply)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("api/nothing", 400, "is no view"),
        ("api/step?step=x", 400, "expected an integer"),
        ("api/step?step=%ff", 400, "expected UTF-8"),
        ("api/step?step=0", 404, "is not in the order, which has steps 1 to 12"),
        ("api/row?row=3", 409, "its rows cannot be opened"),
        ("api/proof?row=99", 404, "is not in the order"),
        ("api/document?document=%00", 404, "is in none of the 12 rows"),
        ("api/", 404, "not found"),
        ("../pyproject.toml", 404, "not found"),
        ("%2e%2e/server.py", 404, "not found"),
        ("..%2fserver.py", 404, "not found"),
        ("server.py", 404, "not found"),
        ("/etc/passwd", 404, "not found"),
        ("%00", 404, "not found"),
        ("x" * 5000, 404, "not found"),
    ],
)
def test_errors_are_json_with_a_status(server: Server, path: str, status: int, words: str) -> None:
    reply = server.get(path)
    assert (reply.status, {*reply.content}) == (status, {"error", "hint"})
    assert words in reply.content["error"]
    check_headers(reply)


def test_what_fails_unexpectedly_is_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict:
        raise ZeroDivisionError("by chance")

    write_output(tmp_path, [("a", "x")])
    monkeypatch.setattr(serving, "answer", fail)
    reply = serving.respond_to(Shown.open(tmp_path), "about", "")
    assert reply.status_code == 500
    assert json.loads(reply.body)["error"] == "unexpected ZeroDivisionError: by chance"


def test_many_ask_at_once_and_get_what_one_gets(server: Server) -> None:
    paths = ["api/order?columns=3", "api/document?document=x", "api/budget", "api/about"] * 6
    expected = {path: server.get(path).body for path in {*paths}}
    with ThreadPoolExecutor(12) as pool:
        assert [*pool.map(lambda path: server.get(path).body, paths)] == [
            expected[path] for path in paths
        ]


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    write_output(tmp_path / "out", [("a", "x")])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "show", str(tmp_path / "out"), "--port", port],
            env=environment(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: --port {port}: cannot be used: Address already in use\n"
        "hint: name another port, or none for a free one\n"
        "guide: docs/guide/show.md#show-an-order\n"
    )


def test_the_port_that_is_asked_for_is_taken_and_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    write_output(tmp_path / "out", [("a", "x")])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start(tmp_path / "out", tmp_path, "--port", str(port))
    assert server.port == port
    assert server.get("api/about").status == 200
    with socket.create_connection(("127.0.0.1", port)) as other:
        other.sendall(b"\x16\x03\x01 not a request\r\n\r\n")
        assert other.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
    # One that keeps its connection open must not keep the server.
    with socket.create_connection(("127.0.0.1", port)):
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
    _, errors = server.process.communicate()
    assert errors == "Ctrl-C ends it\n"


def test_ctrl_c_does_not_wait_for_an_address_that_does_not_answer(
    finished: Path, tmp_path: Path
) -> None:
    with order_server.serve(finished / "order") as host:
        server = start(host.where(), tmp_path, HF_ENDPOINT=host.endpoint, HF_HOME=str(tmp_path))
        host.set_faults([{"kind": "stall", "seconds": 300}])
        host.reset()
        asked = threading.Thread(target=_ask, args=[server, "api/row?row=200"], daemon=True)
        asked.start()
        stop = time.monotonic() + 60
        while not host.counters()["requests"]:
            assert time.monotonic() < stop
            time.sleep(0.05)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
        _, errors = server.process.communicate()
    assert errors == "Ctrl-C ends it\n"


def _ask(server: Server, path: str) -> None:
    with suppress(OSError, http.client.HTTPException):
        server.get(path)


def test_a_browser_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    write_output(tmp_path / "out", [("a", "x")])
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "show", str(tmp_path / "out")],
        env=environment(BROWSER=str(tmp_path / "nobody"), PATH=str(tmp_path), DISPLAY=""),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    said = [process.stderr.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.communicate()
    assert "no browser can be opened here: open the address in one\n" in said


def test_a_browser_in_the_terminal_gets_the_page_while_it_runs(tmp_path: Path) -> None:
    write_output(tmp_path / "out", [("a", "x")])
    browser, got = tmp_path / "browser", tmp_path / "got"
    program = "import sys, urllib.request as r; "
    program += "open(sys.argv[1], 'wb').write(r.urlopen(sys.argv[2]).read())"
    browser.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" {got} "$1"\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "show", str(tmp_path / "out")],
        env=environment(BROWSER=f"{browser} %s", DISPLAY=""),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stop = time.monotonic() + 60
    while not (got.exists() and b"<html" in got.read_bytes()):
        assert time.monotonic() < stop
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.communicate()


def test_views_of_one_reader_wait_for_each_other(tmp_path: Path) -> None:
    write_output(tmp_path, [("a", "x")])
    shown = Shown.open(tmp_path)
    done = threading.Event()
    # Loads what takes time, so that only the lock can keep the next one.
    serving.respond_to(shown, "about", "")

    def ask() -> None:
        serving.respond_to(shown, "about", "")
        done.set()

    with shown.lock:
        threading.Thread(target=ask, daemon=True).start()
        assert not done.wait(0.3)
    assert done.wait(60)


def test_nothing_is_listened_to_but_this_machine() -> None:
    found = serving.listen(None)
    with found:
        assert found.getsockname()[0] == "127.0.0.1"
