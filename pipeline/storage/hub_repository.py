"""A dataset repository on the Hub, or a folder of it, at one commit.

Enters: its name, or `hf://datasets/ORG/NAME[@REVISION][/PATH]`. Leaves: its files, sorted, and each
as one that is read by ranges. A revision is looked up once, so that all files are of one commit.

The two addresses that this needs are asked for here, so that waits and refusals are those of
`remote.http`; the client library waits as long as a server tells it to.
Source: huggingface_hub 2.4.0, `hf_api.py` (dataset_info, list_repo_tree), `file_download.py`.
"""

import json
import operator
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin

from pipeline.core.errors import InputError
from pipeline.storage.http import Client, RetryPolicy
from pipeline.storage.ranges import HttpFile, RangeFile

_SCHEME = "hf://"
# Two slashes are one in a path.
_ADDRESS_AS_PATH = re.compile(r"([A-Za-z][\w+.-]+):/+(.*)")
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ENDPOINT = "https://huggingface.co"
_SERVER = "check HF_ENDPOINT: what answers there is no server of the Hub"


def is_remote(where: str | Path) -> bool:
    """Return whether this is an address and not a path."""
    return str(where).startswith(_SCHEME)


def check_local(path: Path, expected: str) -> None:
    """Refuse a path that was meant as an address; `expected`: what is read from disks alone.

    Raises: InputError where nothing is at the path, and it looks like one.
    """
    address = _ADDRESS_AS_PATH.fullmatch(str(path))
    if address is not None and not path.exists():
        raise InputError(
            f"{address[1]}://{address[2]}: got an address, expected the path of {expected}",
            "from afar only published parquet is read, as hf://datasets/ORG/NAME[@REVISION][/PATH];"
            " pull anything else, such as MDS shards, and name the folder",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """What a listing says of a file."""

    num_bytes: int
    """How long it is."""
    digest: str
    """`sha256:<hex>` of a large file, `git-sha1:<hex>`, as of a git blob, of any other."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A data set at one commit; equal where the commit is, whoever asks."""

    where: str
    """The address, with the commit."""
    page: str
    """Where a person looks at it."""
    commit: str
    """40 hex digits."""
    client: Client = field(compare=False)
    """What asks."""
    _api: str

    @classmethod
    def open(
        cls, name: str, revision: str = "main", patience: RetryPolicy | None = None
    ) -> "Repository":
        """Look a branch or a tag up; a commit is taken as it is.

        Raises: InputError where there is no such thing, or it may not be seen.
        """
        endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
        if not endpoint.startswith(("http://", "https://")):
            raise InputError(f"HF_ENDPOINT: got {endpoint}, expected an address like {_ENDPOINT}")
        token = _token()
        page, api = f"{endpoint}/datasets/{name}", f"{endpoint}/api/datasets/{name}"
        client = Client(endpoint, token=token, access_hint=_hint(page, token), patience=patience)
        commit = revision
        if not _COMMIT.fullmatch(revision):
            told = f"hf://datasets/{name}@{revision}"
            info, _ = client.json(f"{api}/revision/{quote(revision, safe='')}", told)
            sha = info.get("sha") if isinstance(info, dict) else None
            if not isinstance(sha, str) or not _COMMIT.fullmatch(sha):
                raise InputError(
                    f"{told}: got {_brief(info)} from {endpoint}, expected its commit", _SERVER
                )
            commit = sha
        where = f"hf://datasets/{name}@{commit}"
        return cls(where=where, page=page, commit=commit, client=client, _api=api)

    def list(self, folder: str = "") -> dict[str, HubFile]:
        """Return the files below a folder by their paths, sorted. Raises: InputError."""
        tree = f"{self._api}/tree/{self.commit}" + (f"/{quote(folder)}" if folder else "")
        where = f"{self.where}/{folder}".rstrip("/")
        files = _list(self.client, f"{tree}?recursive=true&expand=false", where)
        return {path: files[path] for path in sorted(files)}

    def file(self, path: str, num_bytes: int) -> HttpFile:
        """Return a file of a known length; nothing is read of it yet."""
        url = f"{self.page}/resolve/{self.commit}/{quote(path)}"
        where = f"{self.where}/{path}"
        return HttpFile(client=self.client, url=url, num_bytes=num_bytes, where=where)


@dataclass(frozen=True, kw_only=True)
class HubFolder:
    """The files below a path of a repository, at one commit."""

    where: str
    """The address, with the commit."""
    num_bytes: Mapping[str, int]
    """By path below the folder, sorted, how long each file is."""
    _repository: Repository
    _prefix: str
    """What goes before a path below the folder."""

    @property
    def commit(self) -> str:
        """40 hex digits."""
        return self._repository.commit

    @property
    def client(self) -> Client:
        """What asks."""
        return self._repository.client

    @classmethod
    def open(cls, where: str, patience: RetryPolicy | None = None) -> "HubFolder":
        """List a folder, or the one file that a path ending in `.parquet` names.

        Raises: InputError for no such address, or one that cannot be listed.
        """
        match = _ADDRESS.fullmatch(where)
        if match is None:
            raise InputError(
                f"{where}: got an address of another form, expected"
                " hf://datasets/ORG/NAME[@REVISION][/PATH]"
            )
        name, revision, path = match[1], unquote(match[2] or "main"), (match[3] or "").strip("/")
        repository = Repository.open(name, revision, patience)
        # A file has no tree of its own.
        folder = path.rpartition("/")[0] if path.endswith(".parquet") else path
        files = repository.list(folder)
        if path != folder:
            files = {one: files[one] for one in files if one == path}
            if not files:
                raise InputError(f"{repository.where}/{path}: got no such file", "check the name")
        prefix = f"{folder}/" if folder else ""
        return cls(
            where=f"{repository.where}/{folder}".rstrip("/"),
            num_bytes={one.removeprefix(prefix): file.num_bytes for one, file in files.items()},
            _repository=repository,
            _prefix=prefix,
        )

    def ranges(self, path: str) -> HttpFile:
        """Return what hands out the bytes of a file."""
        return self._repository.file(self._prefix + path, self.num_bytes[path])

    def file(self, path: str) -> RangeFile:
        """Return one of the files; nothing is read of it yet."""
        return RangeFile(self.ranges(path))


def _list(client: Client, url: str, where: str) -> dict[str, HubFile]:
    """Return the files of a tree, whose pages follow one another."""
    files: dict[str, HubFile] = {}
    following: str | None = url
    while following is not None:
        entries, more = client.json(following, where)
        try:
            found = [entry for entry in entries if entry["type"] == "file"]
            files |= {str(entry["path"]): _file(entry) for entry in found}
            is_listing = isinstance(entries, list)
        except (KeyError, TypeError):
            is_listing = False
        if not is_listing:
            raise InputError(
                f"{where}: got {_brief(entries)} from {following}, expected a list of its files",
                _SERVER,
            )
        following = urljoin(following, more) if more else None
    return files


def _file(entry: Mapping[str, Any]) -> HubFile:
    large = entry.get("lfs")
    digest = f"sha256:{large['oid']}" if large else f"git-sha1:{entry['oid']}"
    return HubFile(num_bytes=operator.index(entry["size"]), digest=digest)


def _brief(content: object) -> str:
    """Return the beginning of an answer, as JSON."""
    spelled = json.dumps(content)
    return spelled if len(spelled) <= 60 else f"{spelled[:60]}…"


def _token() -> str | None:
    """Return the token that is set, or the one that `hf auth login` saved.

    Raises: InputError for what cannot be sent as one.
    """
    if token := os.environ.get("HF_TOKEN", "").strip():
        return _checked("HF_TOKEN", token)
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH", f"{home}/token")).expanduser()
    try:
        saved = path.read_text(errors="replace").strip()
    except OSError:
        return None
    return _checked(str(path), saved) if saved else None


def _checked(where: str, token: str) -> str:
    # The token itself is never shown.
    if not (token.isascii() and token.isprintable()):
        raise InputError(
            f"{where}: got a token with a line break or a letter that is not ASCII, expected one"
            " line of ASCII",
            "copy the token again",
        )
    return token


def _hint(page: str, token: str | None) -> str:
    if token is None:
        return (
            f"check the name on {page}; if it is gated or private, accept its conditions there and"
            " set HF_TOKEN to a token of your account"
        )
    return f"open {page} with the account of your token, and accept its conditions if it is gated"
