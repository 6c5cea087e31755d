"""A stand-in for the Hub on loopback, as a process: a folder served as a dataset repository.

Two ports: the Hub itself, and the host of large files that `resolve` redirects to, which refuses to
be sent a token. Faults happen as they are told to. Run with a JSON configuration as the argument;
prints its two ports. Tests start it by `serve`.
"""

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
REVISIONS = ("main", "v1", "refs/convert/parquet", COMMIT)
Fault = dict[str, Any]
"""`kind`: status (`status`, `headers`), cut (`bytes`), short (`bytes`), stall (`seconds`), drip
(`bytes`, `seconds`), ignore_range, wrong_range, changed. `match`: a part of the path, else
".parquet". `skip`: how many such requests pass first, else 0. `times`: how many it strikes, else 1;
-1 for all."""


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    endpoint: str
    """What HF_ENDPOINT is to be set to."""
    repo: str
    """ORG/NAME."""
    commit: str = COMMIT
    """The commit that its revisions stand for."""

    def where(self, path: str = "", revision: str | None = None) -> str:
        """Return the address of a path in the repository."""
        at = f"@{revision}" if revision else ""
        return f"hf://datasets/{self.repo}{at}" + (f"/{path}" if path else "")

    def counters(self) -> dict[str, Any]:
        """Return `requests` for files, `bytes` sent of them, and the `log` of all requests."""
        counters: dict[str, Any] = self._control("counters")
        return counters

    def reset(self) -> None:
        """Start counting again."""
        self._control("reset")

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Put faults in place of those there were."""
        self._control("faults", json.dumps(list(faults)))

    def _control(self, verb: str, body: str = "") -> Any:
        connection = HTTPConnection(urlsplit(self.endpoint).netloc)
        try:
            connection.request("POST", f"/control/{verb}", body)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def serve(
    folder: Path,
    *,
    repo: str = "org/order",
    faults: Sequence[Fault] = (),
    token: str | None = None,
    gated: bool = False,
    page_size: int = 1000,
    lfs: bool = True,
) -> Iterator[Server]:
    """Serve a folder until the block ends.

    `token`: what must be sent to see the repository. `gated`: it is listed to all, and its files
    are given to `token` alone. `lfs`: files are redirected to the other port.
    """
    configuration = {
        "folder": str(folder),
        "repo": repo,
        "faults": list(faults),
        "token": token,
        "gated": gated,
        "page_size": page_size,
        "lfs": lfs,
    }
    command = [sys.executable, __file__, json.dumps(configuration)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            yield Server(f"http://127.0.0.1:{port}", repo)
        finally:
            process.terminate()


class State:
    """What all requests share."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        """Take the configuration of `serve`."""
        self.folder = Path(configuration["folder"])
        self.repo: str = configuration["repo"]
        self.token: str | None = configuration["token"]
        self.gated: bool = configuration["gated"]
        self.page_size: int = configuration["page_size"]
        self.lfs: bool = configuration["lfs"]
        self.lfs_port = 0
        self.lock = threading.Lock()
        self.faults: list[Fault] = configuration["faults"]
        self.counters: dict[str, Any] = {"requests": 0, "bytes": 0, "log": []}

    def reset(self) -> None:
        """Start counting again."""
        self.counters = {"requests": 0, "bytes": 0, "log": []}

    def strike(self, path: str) -> Fault:
        """Return the fault that is due at a path; an empty one if none is."""
        with self.lock:
            for fault in self.faults:
                if fault.get("match", ".parquet") not in path:
                    continue
                fault["seen"] = fault.get("seen", 0) + 1
                late, times = fault["seen"] - fault.get("skip", 0), fault.get("times", 1)
                if late > 0 and (times < 0 or late <= times):
                    return fault
        return {}


class Handler(BaseHTTPRequestHandler):
    """What both ports share: sending, counting and failing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits for 40 ms
    state: State

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer."""
        raise NotImplementedError

    def fail(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        """Refuse, as the Hub does."""
        more = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self.send(status, b"{}", {**more, **headers})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: Path, fault: Fault) -> None:
        """Send a file or the part that is asked for, with a fault if there is one."""
        kind, size = fault.get("kind"), path.stat().st_size
        start, stop, asked = 0, size, self.headers.get("Range")
        with self.state.lock:
            self.state.counters["requests"] += 1
        if asked and kind != "ignore_range":
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else size, size)
            if start >= size:
                return self.fail(416)
            shift = kind == "wrong_range"
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start + shift}-{stop - 1}/{size}")
        else:
            self.send_response(200)
        if kind == "short":
            stop = min(stop, start + fault["bytes"])
        version = f"{path}{'changed' if kind == 'changed' else ''}"
        self.send_header("ETag", f'"{hashlib.sha256(version.encode()).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if kind == "stall":
            time.sleep(fault["seconds"])
        if self.command != "HEAD":
            self._send_body(path, start, stop, fault)
        return None

    def _send_body(self, path: Path, start: int, stop: int, fault: Fault) -> None:
        kind = fault.get("kind")
        if kind == "cut":
            stop = min(stop, start + fault["bytes"])
            self.close_connection = True
        piece_bytes = fault["bytes"] if kind == "drip" else 1 << 20
        with path.open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(piece_bytes, stop - start))):
                # Counted first, so that whoever has the bytes finds them counted.
                with self.state.lock:
                    self.state.counters["bytes"] += len(piece)
                self.wfile.write(piece)
                start += len(piece)
                if kind == "drip":
                    time.sleep(fault["seconds"])

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep what is asked for and answered; the control's own requests are left out."""
        if not getattr(self, "path", "/control/").startswith("/control/"):
            with self.state.lock:
                self.state.counters["log"].append(f"{self.command} {self.path} {arguments[1]}")

    def handle(self) -> None:
        """Answer until the other side has gone, which is no fault of ours."""
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class LargeFiles(Handler):
    """The host of large files."""

    def do_GET(self) -> None:
        """Send a file to whoever asks, but to nobody who shows a token."""
        if "Authorization" in self.headers:
            return self.fail(400, "InvalidArgument", "Only one auth mechanism allowed")
        path = unquote(urlsplit(self.path).path).removeprefix("/lfs/")
        fault = self.state.strike(path)
        if fault.get("kind") == "status":
            return self.fail(fault["status"], **fault.get("headers", {}))
        return self.send_file(self.state.folder / path, fault)


class Hub(Handler):
    """The Hub."""

    def do_POST(self) -> None:
        """Do what a test asks for."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        verb, state = self.path.removeprefix("/control/"), self.state
        answer: Any = {}
        if verb == "faults":
            state.faults = json.loads(body)
        elif verb == "reset":
            state.reset()
        else:
            answer = state.counters
        self.send(200, json.dumps(answer).encode(), {})

    def do_GET(self) -> None:
        """Answer what `dataset_info`, `list_repo_tree` and downloads ask."""
        state = self.state
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if state.token is not None and not state.gated and sent != state.token:
            return self.fail(401, "RepoNotFound", "Invalid username or password.")
        path = urlsplit(self.path).path
        api, files = f"/api/datasets/{state.repo}", f"/datasets/{state.repo}/resolve/"
        if path == api or path.startswith(f"{api}/"):
            fault = state.strike(unquote(path))
            if fault.get("kind") == "status":
                return self.fail(fault["status"], **fault.get("headers", {}))
            return self._tell(path.removeprefix(api).strip("/"))
        if path.startswith(files):
            return self._resolve(path.removeprefix(files), sent)
        return self.fail(404 if sent else 401, "RepoNotFound", "Repository not found")

    def _tell(self, path: str) -> None:
        kind, _, rest = path.partition("/")
        revision, below = _split(rest or "main")
        if revision is None:
            return self.fail(404, "RevisionNotFound", f"Invalid rev id: {rest}")
        if kind != "tree":
            told = {"id": self.state.repo, "sha": COMMIT, "siblings": []}
            return self.send(200, json.dumps(told).encode(), {})
        folder = self.state.folder / below
        if not folder.is_dir():
            return self.fail(404, "EntryNotFound", f"{below} does not exist")
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        # The Hub promises no order.
        paths = sorted(folder.rglob("*") if recursive else folder.iterdir(), reverse=True)
        start = int(query.get("cursor", ["0"])[0])
        stop = start + self.state.page_size
        headers = {}
        if stop < len(paths):
            page = f"{urlsplit(self.path).path}?recursive={str(recursive).lower()}&cursor={stop}"
            headers["Link"] = f'<http://{self.headers["Host"]}{page}>; rel="next"'
        entries = [_entry(one, self.state.folder) for one in paths[start:stop]]
        return self.send(200, json.dumps(entries).encode(), headers)

    def _resolve(self, rest: str, sent: str) -> None:
        revision, path = _split(rest)
        state = self.state
        if revision is None:
            return self.fail(404, "RevisionNotFound", f"Invalid rev id: {rest}")
        if state.gated and sent != state.token:
            told = f"Access to dataset {state.repo} is restricted."
            return self.fail(403 if sent else 401, "GatedRepo", told)
        file = state.folder / path
        if not file.is_file():
            return self.fail(404, "EntryNotFound", "Entry not found")
        if not state.lfs:
            fault = state.strike(path)
            if fault.get("kind") == "status":
                return self.fail(fault["status"], **fault.get("headers", {}))
            return self.send_file(file, fault)
        location = f"http://127.0.0.1:{state.lfs_port}/lfs/{quote(path)}?signature=1"
        more = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(file.stat().st_size)}
        return self.send(302, b"", {"Location": location, **more})


def _split(rest: str) -> tuple[str | None, str]:
    """Split what follows `tree/` or `resolve/` into a revision and a path.

    A revision with a slash in it must come quoted.
    """
    revision, _, below = rest.partition("/")
    return (unquote(revision) if unquote(revision) in REVISIONS else None), unquote(below)


def _entry(path: Path, root: Path) -> dict[str, Any]:
    name, oid = path.relative_to(root).as_posix(), hashlib.sha1(str(path).encode()).hexdigest()
    if path.is_dir():
        return {"type": "directory", "oid": oid, "size": 0, "path": name}
    return {"type": "file", "oid": oid, "size": path.stat().st_size, "path": name}


def main() -> None:
    """Serve on two free ports; print the Hub's."""
    state = State(json.loads(sys.argv[1]))
    Handler.state = state
    large, hub = (ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (LargeFiles, Hub))
    state.lfs_port = large.server_address[1]
    threading.Thread(target=large.serve_forever, daemon=True).start()
    print(hub.server_address[1], flush=True)
    hub.serve_forever()


if __name__ == "__main__":
    main()
