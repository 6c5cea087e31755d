"""A stand-in for the Hub and for a plain file host on loopback, as a process.

Any number of data sets (`/api/datasets/ORG/NAME`, `/datasets/ORG/NAME/resolve/...`) and of models
(`/api/models/ORG/NAME`, `/ORG/NAME/resolve/...`), each a folder or so many made files, at commits
that can move; a second port is the host of large files that `resolve` redirects to, which refuses
to be sent a token; `/files/NAME/...` serves folders as a plain host does. Faults happen as they are
told to. Run with a JSON configuration as the argument; prints its port. Tests start it by `serve`.
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .served_content import COMMIT, GIT_SUFFIXES, Content, Repo, Tree, split_revision
from .served_faults import Fault, damaged, in_its_place


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    endpoint: str
    """What HF_ENDPOINT is to be set to."""
    commit: str = COMMIT
    """The commit that the refs of each data set stand for at first."""

    def url(self, name: str, path: str) -> str:
        """Return the address of a file at the plain host."""
        return f"{self.endpoint}/files/{name}/{path}"

    def push(self, repo: str, folder: Path | int, ref: str = "main") -> str:
        """Make a new commit with other content, and let `ref` stand for it. Return the commit."""
        given = {"repo": repo, "content": _plain(folder), "ref": ref}
        commit: str = self._control("push", given)
        return commit

    def move(self, repo: str, commit: str, ref: str = "main") -> None:
        """Let `ref` stand for a commit that is there."""
        self._control("move", {"repo": repo, "commit": commit, "ref": ref})

    def forget(self, repo: str, revision: str) -> None:
        """Let a ref or a commit be no more."""
        self._control("forget", {"repo": repo, "revision": revision})

    def counters(self) -> dict[str, Any]:
        """Return `requests` for files, `bytes` sent of them, and the `log` of all requests."""
        counters: dict[str, Any] = self._control("counters")
        return counters

    def log(self, part: str = "") -> list[str]:
        """Return the requests that have a part in them, each as "METHOD path status"."""
        return [line for line in self.counters()["log"] if part in line]

    def reset(self) -> None:
        """Start counting again."""
        self._control("reset")

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Put faults in place of those there were."""
        self._control("faults", list(faults))

    def _control(self, verb: str, given: object = None) -> Any:
        connection = HTTPConnection(urlsplit(self.endpoint).netloc)
        try:
            connection.request("POST", f"/control/{verb}", json.dumps(given))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def _plain(content: Path | int) -> str | int:
    return content if isinstance(content, int) else str(content)


@contextmanager
def serve(
    repos: Mapping[str, Path | int] | None = None,
    *,
    models: Mapping[str, Path | int] | None = None,
    files: Mapping[str, Path | int] | None = None,
    faults: Sequence[Fault] = (),
    token: str = "secret",
    private: Sequence[str] = (),
    gated: Sequence[str] = (),
    page_size: int = 1000,
    lfs: bool = True,
    xet: bool = False,
    ranges: bool = True,
    etags: bool = True,
) -> Iterator[Server]:
    """Serve until the block ends; content is a folder, or a number of made files.

    `repos`: content of data sets by ORG/NAME. `models`: that of models, of other names. `files`:
    content by name at the plain host. `private`: data sets that are shown to `token` alone.
    `gated`: those that are listed to all, and whose files are given to `token` alone. `page_size`:
    entries of a page of a listing. `lfs`: files that are not small text are redirected to the other
    port. `xet`: listings have hashes of that kind too. `ranges`, `etags`: whether the plain host
    knows them.
    """
    configuration = {
        "repos": {name: _plain(content) for name, content in (repos or {}).items()},
        "models": {name: _plain(content) for name, content in (models or {}).items()},
        "files": {name: _plain(content) for name, content in (files or {}).items()},
        "faults": list(faults),
        "token": token,
        "private": list(private),
        "gated": list(gated),
        "page_size": page_size,
        "lfs": lfs,
        "xet": xet,
        "ranges": ranges,
        "etags": etags,
    }
    command = [sys.executable, "-m", "support.source_server", json.dumps(configuration)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.terminate()


class State:
    """What all requests share."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        """Take the configuration of `serve`."""
        contents = configuration["repos"] | configuration["models"]
        self.repos = {name: Repo(source) for name, source in contents.items()}
        self.models = frozenset(configuration["models"])
        self.files = {name: Tree(source) for name, source in configuration["files"].items()}
        self.token: str = configuration["token"]
        self.private, self.gated = configuration["private"], configuration["gated"]
        self.page_size: int = configuration["page_size"]
        self.lfs: bool = configuration["lfs"]
        self.xet: bool = configuration["xet"]
        self.ranges: bool = configuration["ranges"]
        self.etags: bool = configuration["etags"]
        self.lfs_port = 0
        self.lock = threading.Lock()
        self.faults: list[Fault] = configuration["faults"]
        self.counters: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Start counting again."""
        self.counters = {"requests": 0, "bytes": 0, "log": []}

    def is_large(self, name: str) -> bool:
        """Return whether a file is at the other host."""
        return self.lfs and not name.endswith(GIT_SUFFIXES)

    def strike(self, path: str, method: str, *, is_resolve: bool = False) -> Fault:
        """Return the fault that is due at a path; an empty one if none is."""
        with self.lock:
            for fault in self.faults:
                match = fault.get("match", "")
                if match not in path or ("/resolve/" in match) != is_resolve:
                    continue
                if method not in fault.get("method", method):
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
    wbufsize = 1 << 16  # headers and a small body are one packet
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

    def fails(self, fault: Fault) -> bool:
        """Refuse if that is what a fault says."""
        if fault.get("kind") == "status":
            self.fail(fault["status"], **fault.get("headers", {}))
        return fault.get("kind") == "status"

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(
        self, file: Content, fault: Fault, headers: Mapping[str, str], *, ranges: bool = True
    ) -> None:
        """Send a file or the part that is asked for, with a fault if there is one."""
        kind, size = fault.get("kind"), file.size
        if kind in ("page", "gzip"):
            body = b"<!DOCTYPE html>\n" * 9 if kind == "page" else gzip.compress(file.read())
            return self.send(200, body, {} if kind == "page" else {"Content-Encoding": "gzip"})
        if kind == "unsized":
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            self.wfile.write(file.read())
            return None
        if kind == "damaged":
            file = damaged(file, fault["byte"])
        start, stop, asked = 0, size, self.headers.get("Range")
        with self.state.lock:
            self.state.counters["requests"] += 1
        if asked and ranges and kind != "ignore_range":
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else size, size)
            if start >= size:
                return self.fail(416)
            start, stop = (0, stop - start) if kind == "first_range" else (start, stop)
            shift = kind == "wrong_range"
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start + shift}-{stop - 1}/{size}")
        else:
            self.send_response(200)
        if kind == "short":
            stop = min(stop, start + fault["bytes"])
        for name, value in headers.items():
            is_other = kind == "changed" and name == "ETag"
            if kind != "unnamed":
                self.send_header(name, '"changed"' if is_other else value)
        if ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if kind == "stall":
            self.wfile.flush()
            time.sleep(fault["seconds"])
        if self.command != "HEAD":
            self._send_body(file, start, stop, fault)
        return None

    def _send_body(self, file: Content, start: int, stop: int, fault: Fault) -> None:
        kind = fault.get("kind")
        if kind == "cut":
            stop = min(stop, start + fault["bytes"])
            self.close_connection = True
        if kind == "drip":
            fast = min(stop, start + fault.get("after", 0))
            self._send_part(file, start, fast)
            for position in range(fast, stop, fault["bytes"]):
                self._send_part(file, position, min(position + fault["bytes"], stop))
                time.sleep(fault["seconds"])
        else:
            self._send_part(file, start, stop)

    def _send_part(self, file: Content, start: int, stop: int) -> None:
        # Counted first, so that whoever has the bytes finds them counted.
        with self.state.lock:
            self.state.counters["bytes"] += stop - start
        if file.path is None:
            assert file.made is not None
            self.wfile.write(file.made[start:stop])
        self.wfile.flush()
        if file.path is not None and start < stop:
            with file.path.open("rb") as stored:
                self.connection.sendfile(stored, start, stop - start)

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

    def finish(self) -> None:
        """Close, though the other side may have gone."""
        try:
            super().finish()
        except (BrokenPipeError, ConnectionResetError):
            self.rfile.close()


class LargeFiles(Handler):
    """The host of large files."""

    def do_GET(self) -> None:
        """Send a file to whoever asks, but to nobody who shows a token."""
        if "Authorization" in self.headers:
            return self.fail(400, "InvalidArgument", "Only one auth mechanism allowed")
        split = urlsplit(self.path)
        path = unquote(split.path)
        fault = self.state.strike(path, self.command)
        if self.fails(fault):
            return None
        org, name, below = path.removeprefix("/lfs/").split("/", 2)
        repo, commit = self.state.repos[f"{org}/{name}"], parse_qs(split.query)["commit"][0]
        file = in_its_place(repo.commits[commit].get(below), fault)
        if file is None:
            return self.fail(404)
        return self.send_file(file, fault, {"ETag": f'"{file.sha256}"'})


class Hub(Handler):
    """The Hub, and the plain host."""

    def do_POST(self) -> None:
        """Do what a test asks for."""
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        verb, state = self.path.removeprefix("/control/"), self.state
        answer: Any = {}
        if verb == "faults":
            state.faults = given
        elif verb == "reset":
            state.reset()
        elif verb == "push":
            answer = state.repos[given["repo"]].push(given["content"], given["ref"])
        elif verb == "move":
            state.repos[given["repo"]].refs[given["ref"]] = given["commit"]
        elif verb == "forget":
            state.repos[given["repo"]].refs.pop(given["revision"], None)
            state.repos[given["repo"]].commits.pop(given["revision"], None)
        else:
            with state.lock:
                answer = dict(state.counters, log=list(state.counters["log"]))
        self.send(200, json.dumps(answer).encode(), {})

    def do_GET(self) -> None:
        """Answer what `dataset_info`, `list_repo_tree` and downloads ask, or send a plain file."""
        path = urlsplit(self.path).path
        if path.startswith("/files/"):
            return self._send_plain(unquote(path.removeprefix("/files/")))
        is_known = path.startswith(("/api/", "/datasets/"))
        # A model is asked for its files without a word of what it is.
        below = path.removeprefix("/api") if is_known else f"/models{path}"
        parts = below.strip("/").split("/", 4)
        name, repo = "/".join(parts[1:3]), self.state.repos.get("/".join(parts[1:3]))
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repo is None or parts[0] != ("models" if name in self.state.models else "datasets"):
            return self.fail(404 if sent else 401, "RepoNotFound", "Repository not found")
        if name in self.state.private and sent != self.state.token:
            return self.fail(401, "RepoNotFound", "Invalid username or password.")
        verb, rest = (*parts[3:], "", "")[:2]
        if path.startswith("/api/"):
            if self.fails(self.state.strike(unquote(path), self.command)):
                return None
            return self._tell(name, repo, verb, rest)
        return self._resolve(name, repo, rest, sent)

    def _send_plain(self, path: str) -> None:
        name, _, below = path.partition("/")
        fault = self.state.strike(f"/files/{path}", self.command)
        if self.fails(fault):
            return None
        tree = self.state.files.get(name)
        file = in_its_place(tree and tree.get(below), fault)
        if not file:
            return self.fail(404)
        headers = {"Last-Modified": formatdate(file.modified, usegmt=True)}
        if self.state.etags:
            headers["ETag"] = f'"{file.sha256[:32]}"'
        return self.send_file(file, fault, headers, ranges=self.state.ranges)

    def _tell(self, name: str, repo: Repo, verb: str, rest: str) -> None:
        revision, below = split_revision(rest or "main")
        commit = repo.commit(revision)
        if commit is None:
            return self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        tree = repo.commits[commit]
        if verb != "tree":
            names = tree.names()
            siblings = [{"rfilename": one} for one in sorted(names)] if len(names) < 1000 else []
            told = {"id": name, "sha": commit, "siblings": siblings}
            return self.send(200, json.dumps(told).encode(), {})
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        entries = _entries(self.state, tree, below, recursive)
        if entries is None:
            return self.fail(404, "EntryNotFound", f"{below} does not exist")
        start = int(query.get("cursor", ["0"])[0])
        stop = start + self.state.page_size
        headers = {}
        if stop < len(entries):
            page = f"{urlsplit(self.path).path}?recursive={str(recursive).lower()}&cursor={stop}"
            headers["Link"] = f'<http://{self.headers["Host"]}{page}>; rel="next"'
        return self.send(200, b"[" + b",".join(entries[start:stop]) + b"]", headers)

    def _resolve(self, name: str, repo: Repo, rest: str, sent: str) -> None:
        revision, path = split_revision(rest)
        state, commit = self.state, repo.commit(revision)
        if commit is None:
            return self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if name in state.gated and sent != state.token:
            told = f"Access to dataset {name} is restricted."
            return self.fail(403 if sent else 401, "GatedRepo", told)
        file = repo.commits[commit].get(path)
        if file is None:
            return self.fail(404, "EntryNotFound", "Entry not found")
        url = unquote(urlsplit(self.path).path)
        if self.fails(state.strike(url, self.command, is_resolve=True)):
            return None
        if not state.is_large(path):
            fault = state.strike(f"/lfs/{name}/{path}", self.command)
            headers = {"X-Repo-Commit": commit, "ETag": f'"{file.git_sha1}"'}
            return None if self.fails(fault) else self.send_file(file, fault, headers)
        query = f"commit={commit}&signature=1"
        # By another name than the hub's, since a client may take one host for one server.
        location = f"http://localhost:{state.lfs_port}/lfs/{name}/{quote(path)}?{query}"
        headers = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
        return self.send(302, b"", {"Location": location, "X-Repo-Commit": commit, **headers})


def _entries(state: State, tree: Tree, below: str, recursive: bool) -> list[bytes] | None:
    """Return the entries of a folder as JSON; None if there is no such folder."""
    if not tree.is_made:
        return _made_entries(state, tree, below, recursive) or (None if below else [])
    with state.lock:
        key = (below, recursive)
        if key not in tree.pages:
            tree.pages[key] = _made_entries(state, tree, below, recursive)
    return tree.pages[key] or None


def _made_entries(state: State, tree: Tree, below: str, recursive: bool) -> list[bytes]:
    prefix = f"{below}/" if below else ""
    names = [name for name in tree.names() if name.startswith(prefix)]
    folders = {folder.as_posix() for name in names for folder in _parents(PurePosixPath(name))}
    found = [*names, *(one for one in folders if one.startswith(prefix))]
    if not recursive:
        found = [one for one in found if "/" not in one.removeprefix(prefix)]
    # Backwards, since the Hub promises no order.
    return [_entry(state, tree, one) for one in sorted(found, reverse=True)]


@cache
def _parents(name: PurePosixPath) -> list[PurePosixPath]:
    return [] if name.parent == PurePosixPath(".") else [name.parent, *_parents(name.parent)]


def _entry(state: State, tree: Tree, name: str) -> bytes:
    file = tree.get(name)
    if file is None:
        oid = hashlib.sha1(name.encode()).hexdigest()
        told = {"type": "directory", "oid": oid, "size": 0, "path": name}
    else:
        told = file.entry(name, lfs=state.is_large(name), xet=state.xet)
    return json.dumps(told).encode()


class Listener(ThreadingHTTPServer):
    """Many may knock at once."""

    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    """Serve on two free ports; print the Hub's."""
    state = State(json.loads(sys.argv[1]))
    Handler.state = state
    large, hub = (Listener(("127.0.0.1", 0), kind) for kind in (LargeFiles, Hub))
    state.lfs_port = large.server_address[1]
    threading.Thread(target=large.serve_forever, daemon=True).start()
    print(hub.server_address[1], flush=True)
    hub.serve_forever()


if __name__ == "__main__":
    main()
