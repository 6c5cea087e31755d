"""Secrets of addresses go to the host that they are for, and nowhere else."""

import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.config.source import Origin
from pipeline.core.errors import InputError
from pipeline.runner.plan import make_plan
from pipeline.sources.download.download_plan import plan_download
from pipeline.sources.download.pull import pull
from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.lock_file import lock_bytes, read_lock, write_lock
from pipeline.storage.hub import open_hub_folder
from pipeline.storage.open_store import open_store
from pipeline.storage.retry import RetryPolicy

COMMIT = "0" * 40
CONTENT = b'{"text": "a", "id": "1"}\n'
LOGIN = "Basic " + b64encode(b"me:pa:ss").decode()


class Handler(BaseHTTPRequestHandler):
    """A host that wants a login and a signature, goes round in circles, and lists without end."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        here = f"http://{self.headers['Host']}"
        if self.path.startswith("/closed"):
            is_allowed = "sig=s3cret" in self.path and self.headers["Authorization"] == LOGIN
            self._send(200 if is_allowed else 403, CONTENT, {"ETag": '"one"'})
        elif self.path.startswith("/round"):
            self._send(302, b"", {"Location": f"{here}/round"})
        elif self.path.startswith("/strange"):
            self._send(302, b"", {"Location": "gopher://x/y"})
        else:
            number = int(self.path.rpartition("=")[2]) if "cursor=" in self.path else 0
            path = "a" if "/org/loop/" in self.path else f"a{number}"
            entry = f'[{{"type": "file", "path": "{path}", "size": 1, "oid": "{COMMIT}"}}]'
            following = f"{self.path.partition('?')[0]}?cursor={number + 1}"
            # A client that does not notice is let go in the end, so that its test fails.
            link = {"Link": f'<{here}{following}>; rel="next"'} if number < 200 else {}
            self._send(200, entry.encode(), link)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve() -> Iterator[str]:
    """Serve in a thread; yield the host and its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with serve() as address:
        yield address


def test_a_signed_address_is_locked_and_pulled_without_a_trace(host: str, tmp_path: Path) -> None:
    mixture_path = tmp_path / "small.yaml"
    mixture_path.write_text(
        f"""\
name: small
chunk: {{algorithm: whole-v1, size: 128}}
sources: {{a: {{from: {{url: "http://me:pa%3Ass@{host}/closed/a.jsonl?part=1&sig=s3cret&se=9"}}}}}}
order: {{seed: 21, global_batch_size: 16, max_seq_len: 128}}
"""
    )
    mixture = load_config(mixture_path)
    write_lock(make_lock(mixture, quiet), tmp_path / "lock.json")
    lock = read_lock(tmp_path / "lock.json")
    [file] = lock.sources["a"].files
    assert file.path == f"http://{host}/closed/a.jsonl?part=1"
    planned = make_plan(mixture, lock, tmp_path / "raw").lock
    assert planned is not None
    pull(plan_download(planned, tmp_path, tmp_path / "raw"), quiet)
    names = [path for path in (tmp_path / "raw").rglob("*") if path.is_file()]
    assert {path.name for path in names} == {"a.jsonl?part=1", "a.jsonl?part=1.etag.json"}
    for text in (str(lock_bytes(planned)), str(mixture.declaration()), *map(str, names)):
        assert "s3cret" not in text
        assert "pa%3Ass" not in text
    # Signed anew, it is the same.
    mixture_path.write_text(mixture_path.read_text().replace("se=9", "se=10"))
    assert load_config(mixture_path).fingerprint == mixture.fingerprint


def test_a_refusal_shows_no_secret(host: str) -> None:
    origin = Origin(url=(f"http://me:wrong@{host}/closed/a.jsonl?sig=s3cret",))
    with pytest.raises(InputError, match="got 403") as refused:
        open_store(origin, Path()).list()
    assert "s3cret" not in str(refused.value)
    assert "wrong" not in str(refused.value)


@pytest.mark.parametrize("path", ["round", "strange"])
def test_redirects_that_lead_nowhere_are_refused_at_once(host: str, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match="cannot reach"):
        open_store(Origin(url=(f"http://{host}/{path}/a.jsonl",)), Path()).list()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["org/loop", "org/endless"])
def test_a_listing_that_does_not_end_is_refused(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr("pipeline.storage.hub_repository._MAX_ENTRIES", 50)
    monkeypatch.setenv("HF_ENDPOINT", f"http://{host}")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(InputError, match="got a listing that does not end"):
        open_hub_folder(f"hf://datasets/{name}@{COMMIT}", RetryPolicy(max_tries=1))


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    """Report nothing."""
