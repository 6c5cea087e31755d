"""A stand-in for repositories of the Hub on loopback, as a process: prints its port.

It creates repositories of models and data sets, takes commits (small files in the commit itself,
large ones by LFS) to any branch, tags them, and serves any revision. `POST /fault` with a part of
an address, a status and a number of times makes it refuse the next requests that match, after as
many as `after` says, in place of what was asked before; a status of 0 cuts the connection.
`GET /received` lists the large files that came, each as often as it did.
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
"""Files from this size on go by LFS, and so does parquet of any size, as on the Hub."""


class Repository:
    """Commits, each a whole tree of files, and names of them."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.branches: dict[str, str] = {}
        self.commit("main", {".gitattributes": b""})

    @property
    def head(self) -> str:
        return self.branches["main"]

    def commit(self, branch: str, tree: dict[str, bytes]) -> str:
        text = f"{len(self.commits)}{sorted(tree)}"
        self.branches[branch] = commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = tree
        return commit

    def resolve(self, revision: str) -> str | None:
        if revision in self.commits:
            return revision
        return self.branches.get(revision) or self.tags.get(revision)


REPOSITORIES: dict[str, Repository] = {}
LARGE_FILES: dict[str, bytes] = {}
RECEIVED: list[str] = []
FAULT: dict[str, Any] = {"part": "", "status": 0, "times": 0, "after": 0}
# Of a data set it begins with "datasets/", as its address does.
_NAME = r"(?P<name>(?:datasets/)?[\w.-]+/[\w.-]+)"
_API = rf"/api/(?:models/)?{_NAME}"


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
            FAULT.update({"after": 0, **json.loads(body)})
            return self._send(200, {})
        if path == "/received":
            return self._send(200, RECEIVED)
        if FAULT["part"] in path and FAULT["times"] > 0:
            if FAULT["after"] == 0:
                return self._fail()
            FAULT["after"] -= 1
        for pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                return answer(self, body, **match.groupdict())
        return self._send(404, {"error": f"{self.command} {path}"})

    def _fail(self) -> None:
        FAULT["times"] -= 1
        if FAULT["status"]:
            # The library takes a 401 for a repository that it may not see.
            code = {"X_Error_Code": "RepoNotFound"} if FAULT["status"] == 401 else {}
            return self._send(FAULT["status"], {"error": "as asked"}, **code)
        self.close_connection = True
        return self.connection.shutdown(socket.SHUT_RDWR)

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
        if asked.get("type") == "dataset":
            name = f"datasets/{name}"
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
            plain = name.removeprefix("datasets/")
            content = {"_id": "1", "id": plain, "modelId": plain, "sha": found[1],
                       "siblings": files, "private": False, "downloads": 0, "tags": []}  # fmt: skip
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
                "uploadMode": "lfs" if _is_large(one["path"], one["size"]) else "regular",
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
        RECEIVED.append(oid)
        return self._send(200, {})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        found = self._found(name, revision)
        if not found:
            return None
        repository, parent = found
        tree = dict(repository.commits[parent])
        lines = [json.loads(line) for line in body.splitlines()]
        expected = [line["value"].get("parentCommit") for line in lines if line["key"] == "header"]
        if expected and expected[0] not in (None, parent):
            return self._send(412, {"error": "a commit has happened since"})
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    tree[value["path"]] = b64decode(value["content"])
                case "lfsFile":
                    tree[value["path"]] = LARGE_FILES[value["oid"]]
                case "deletedFile":
                    del tree[value["path"]]
        commit = repository.commit(revision, tree)
        address = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        return self._send(200, {"success": True, "commitOid": commit, "commitUrl": address,
                         "hookOutput": ""})  # fmt: skip

    def tag(self, body: bytes, name: str, revision: str) -> None:
        found = self._found(name, revision)
        if found:
            found[0].tags[json.loads(body)["tag"]] = found[1]
            self._send(200, {})

    def branch(self, body: bytes, name: str, branch: str) -> None:
        found = self._found(name)
        if found:
            found[0].branches[branch] = found[1]
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
    entry = {"type": "file", "path": path, "size": len(data), "oid": oid}
    if _is_large(path, len(data)):
        digest = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
    return entry


def _is_large(path: str, num_bytes: int) -> bool:
    return num_bytes >= LARGE or path.endswith(".parquet")


ROUTES: list[tuple[str, Any]] = [
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.validate),
    (rf"{_API}/refs", Handler.refs),
    (rf"{_API}/revision/(?P<revision>[^/]+)", Handler.info),
    (rf"{_API}/tree/(?P<revision>[^/]+)", Handler.tree),
    (rf"{_API}/preupload/(?P<revision>[^/]+)", Handler.preupload),
    (rf"{_API}/commit/(?P<revision>[^/]+)", Handler.commit),
    (rf"{_API}/tag/(?P<revision>[^/]+)", Handler.tag),
    (rf"{_API}/branch/(?P<branch>[^/]+)", Handler.branch),
    (rf"{_API}", Handler.info),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (r"/lfs/(?P<oid>\w+)", Handler.put),
    (rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.file),
]


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
