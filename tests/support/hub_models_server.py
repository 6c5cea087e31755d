"""A stand-in for model repositories of the Hub on loopback, as a process: prints its port.

It creates repositories, takes commits (small files in the commit itself, large ones by LFS), tags
them, and serves any revision. `POST /fault` with a part of an address, a status and a number of
times makes it refuse the next requests that match, in place of what was asked before; a status
of 0 cuts the connection.
"""

import hashlib
import json
import re
import socket
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 100_000
"""Files from this size on go by LFS."""


class Repository:
    """Commits, each a whole tree of files, and names of them."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.head = self.commit({".gitattributes": b""})

    def commit(self, tree: dict[str, bytes]) -> str:
        text = f"{len(self.commits)}{sorted(tree)}"
        self.head = hashlib.sha1(text.encode()).hexdigest()
        self.commits[self.head] = tree
        return self.head

    def resolve(self, revision: str) -> str | None:
        if revision in self.commits:
            return revision
        return self.head if revision == "main" else self.tags.get(revision)


REPOSITORIES: dict[str, Repository] = {}
LARGE_FILES: dict[str, bytes] = {}
FAULT: dict[str, Any] = {"part": "", "status": 0, "times": 0}
_NAME = r"(?P<name>[\w.-]+/[\w.-]+)"


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        self._respond()

    def do_GET(self) -> None:
        """Answer a request for what is there."""
        self._respond()

    def do_POST(self) -> None:
        """Answer a request that changes something."""
        self._respond()

    def do_PUT(self) -> None:
        """Take a large file."""
        self._respond()

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if path == "/fault":
            FAULT.update(json.loads(body))
            return self._send(200, {})
        if FAULT["part"] in path and FAULT["times"] > 0:
            FAULT["times"] -= 1
            if FAULT["status"]:
                return self._send(FAULT["status"], {"error": "as asked"})
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        for pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                return answer(self, body, **match.groupdict())
        return self._send(404, {"error": f"{self.command} {path}"})

    def _send(self, status: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _found(self, name: str, revision: str = "main") -> tuple[Repository, str] | None:
        repository = REPOSITORIES.get(name)
        commit = None if repository is None else repository.resolve(revision)
        if repository is not None and commit is not None:
            return repository, commit
        what = "RepoNotFound" if repository is None else "RevisionNotFound"
        self._send(404, {"error": what}, X_Error_Code=what)
        return None

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else (
            asked["name"])  # fmt: skip
        status = 409 if name in REPOSITORIES else 200
        REPOSITORIES.setdefault(name, Repository())
        self._send(status, {"name": name, "url": f"http://{self.headers['Host']}/{name}"})

    def validate(self, body: bytes) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def refs(self, body: bytes, name: str) -> None:
        found = self._found(name)
        if found:
            tags = [
                {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit}
                for tag, commit in found[0].tags.items()
            ]
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": found[0].head}
            self._send(200, {"branches": [main], "converts": [], "tags": tags})

    def info(self, body: bytes, name: str, revision: str = "main") -> None:
        found = self._found(name, revision)
        if found:
            files = [{"rfilename": path} for path in sorted(found[0].commits[found[1]])]
            content = {"_id": "1", "id": name, "modelId": name, "sha": found[1], "siblings": files,
                       "private": False, "downloads": 0, "tags": []}  # fmt: skip
            self._send(200, content)

    def tree(self, body: bytes, name: str, revision: str) -> None:
        found = self._found(name, revision)
        if found:
            files = found[0].commits[found[1]]
            self._send(200, [_entry(path, files[path]) for path in sorted(files)])

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        modes = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["size"] >= LARGE else "regular",
                "shouldIgnore": False,
            }
            for one in json.loads(body)["files"]
        ]
        self._send(200, {"files": modes})

    def batch(self, body: bytes, name: str) -> None:
        host = self.headers["Host"]
        objects = []
        for one in json.loads(body)["objects"]:
            to = {"href": f"http://{host}/lfs/{one['oid']}", "header": {}}
            actions = {} if one["oid"] in LARGE_FILES else {"actions": {"upload": to}}
            objects.append({"oid": one["oid"], "size": one["size"], **actions})
        self._send(200, {"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._send(400, {"error": "other bytes"})
        LARGE_FILES[oid] = body
        return self._send(200, {})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        found = self._found(name, revision)
        if not found:
            return
        repository, parent = found
        tree = dict(repository.commits[parent])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "file":
                    tree[value["path"]] = b64decode(value["content"])
                case "lfsFile":
                    tree[value["path"]] = LARGE_FILES[value["oid"]]
                case "deletedFile":
                    del tree[value["path"]]
        commit = repository.commit(tree)
        address = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        self._send(200, {"success": True, "commitOid": commit, "commitUrl": address,
                         "hookOutput": ""})  # fmt: skip

    def tag(self, body: bytes, name: str, revision: str) -> None:
        found = self._found(name, revision)
        if found:
            found[0].tags[json.loads(body)["tag"]] = found[1]
            self._send(200, {})

    def file(self, body: bytes, name: str, revision: str, path: str) -> None:
        found = self._found(name, revision)
        if not found:
            return
        data = found[0].commits[found[1]].get(path)
        if data is None:
            self._send(404, {}, X_Error_Code="EntryNotFound", X_Repo_Commit=found[1])
        else:
            digest = hashlib.sha256(data).hexdigest()
            self._send(200, data, X_Repo_Commit=found[1], ETag=f'"{digest}"')

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""


def _entry(path: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return {"type": "file", "path": path, "size": len(data), "oid": oid}


ROUTES: list[tuple[str, Any]] = [
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.validate),
    (rf"/api/models/{_NAME}/refs", Handler.refs),
    (rf"/api/models/{_NAME}/revision/(?P<revision>[^/]+)", Handler.info),
    (rf"/api/models/{_NAME}/tree/(?P<revision>[^/]+)", Handler.tree),
    (rf"/api/models/{_NAME}/preupload/(?P<revision>[^/]+)", Handler.preupload),
    (rf"/api/models/{_NAME}/commit/(?P<revision>[^/]+)", Handler.commit),
    (rf"/api/models/{_NAME}/tag/(?P<revision>[^/]+)", Handler.tag),
    (rf"/api/models/{_NAME}", Handler.info),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (r"/lfs/(?P<oid>\w+)", Handler.put),
    (rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.file),
]


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
