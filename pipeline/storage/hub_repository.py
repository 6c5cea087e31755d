"""A dataset repository on the Hub at one commit.

The two endpoints are called here, since the client library waits for as long as a server asks.

Source: huggingface_hub 2.4.0, `hf_api.py` (dataset_info, list_repo_tree), `file_download.py`.
"""

import json
import operator
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from pipeline.core.errors import InputError
from pipeline.storage.http import Client
from pipeline.storage.ranges import HttpFile
from pipeline.storage.retry import RetryPolicy
from pipeline.storage.store import StoredFile

_COMMIT = re.compile(r"[0-9a-f]{40}")
# Ten times what the Hub advises for one repository.
_MAX_ENTRIES = 1_000_000
_ENDPOINT = "https://huggingface.co"
_CHECK_ENDPOINT = "check HF_ENDPOINT: what answers there is not a Hub server"


@dataclass(frozen=True, kw_only=True)
class HubRepository:
    """A data set at one commit; equal where the commit is, whoever asks."""

    where: str
    """The address, with the commit."""
    page: str
    commit: str
    """40 hex digits, or a branch or tag if only named."""
    client: Client = field(compare=False)
    _api: str

    @classmethod
    def open(
        cls, name: str, revision: str = "main", retry: RetryPolicy | None = None
    ) -> "HubRepository":
        """Open a branch, tag or commit. Raises: InputError where there is none, or no access."""
        repository = cls.named(name, revision, retry)
        if _COMMIT.fullmatch(revision):
            return repository
        where = repository.where
        url = f"{repository._api}/revision/{quote(revision, safe='')}"
        info, _ = repository.client.json(url, where)
        commit = str(info.get("sha")) if isinstance(info, dict) else ""
        if not _COMMIT.fullmatch(commit):
            endpoint = repository.page.removesuffix(f"/datasets/{name}")
            raise InputError(
                f"{where}: got {_excerpt(info)} from {endpoint}, expected its commit",
                _CHECK_ENDPOINT,
            )
        return replace(repository, where=f"hf://datasets/{name}@{commit}", commit=commit)

    @classmethod
    def named(
        cls, name: str, revision: str = "main", retry: RetryPolicy | None = None
    ) -> "HubRepository":
        """Return a data set without asking for its commit, which comes with a list of all files.

        Raises: InputError where the settings of the Hub are wrong.
        """
        endpoint, token = hub_endpoint(), hub_token()
        page, api = f"{endpoint}/datasets/{name}", f"{endpoint}/api/datasets/{name}"
        client = Client(endpoint, token=token, access_hint=_access_hint(page, token), retry=retry)
        where = f"hf://datasets/{name}@{revision}"
        return cls(where=where, page=page, commit=revision, client=client, _api=api)

    def list(self, folder: str = "") -> dict[str, StoredFile]:
        """Return the files below a folder by their paths, sorted. Raises: InputError."""
        tree = self.folder_url(folder)
        where = f"{self.where}/{folder}".rstrip("/")
        files = _read_tree(self.client, f"{tree}?recursive=true&expand=false", where)
        return dict(sorted({file.path: file for file in files}.items()))

    def file(self, path: str, num_bytes: int) -> HttpFile:
        """Return a file of a known length; nothing is read of it yet."""
        where = f"{self.where}/{path}"
        return HttpFile(client=self.client, url=self.url(path), num_bytes=num_bytes, where=where)

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return f"{self.page}/resolve/{quote(self.commit, safe='')}/{quote(path)}"

    def folder_url(self, folder: str = "") -> str:
        """Return the address of a list of what is in a folder, files and folders."""
        below = f"/{quote(folder)}" if folder else ""
        return f"{self._api}/tree/{quote(self.commit, safe='')}{below}"

    def first_bytes(self, path: str, most_bytes: int) -> bytes:
        """Return a file, or its beginning, in one request. Raises: InputError."""
        data, where = bytearray(), f"{self.where}/{path}"

        def attempt() -> None:
            data.clear()
            headers = {"Range": f"bytes=0-{most_bytes - 1}"}
            with self.client.request(self.url(path), where, headers) as response:
                encoding = response.headers.get("Content-Encoding", "identity")
                if encoding != "identity":
                    raise InputError(
                        f"{where}: got an answer in the encoding {encoding}, expected none",
                        "ask without the proxy that packs what it passes on",
                    )
                given = response.headers.get("Content-Range", "bytes 0-")
                if not given.startswith("bytes 0-"):
                    raise InputError(
                        f"{where}: got {given}, expected bytes from 0 on", _CHECK_ENDPOINT
                    )
                length = response.headers.get("Content-Length", "")
                # Without a length, the file may end before.
                wanted = min(int(length), most_bytes) if length.isdecimal() else None
                self.client.receive(response, wanted, data.extend, most_bytes)
                if response.status == 200:
                    # A server without ranges goes on sending.
                    response.close()

        self.client.retry.run(where, attempt)
        return bytes(data)

    def first_names(self, folder: str, most_bytes: int) -> Sequence[str]:
        """Return what is in a folder, by the first page of its list. Raises: InputError."""
        url, where = self.folder_url(folder), f"{self.where}/{folder}".rstrip("/")
        entries, _ = self.client.json(url, where, most_bytes)
        try:
            if not isinstance(entries, list):
                raise TypeError
            return [str(entry["path"]) for entry in entries]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{where}: got {_excerpt(entries)} from {url}, expected a list of its files",
                _CHECK_ENDPOINT,
            ) from error


def _read_tree(client: Client, url: str, where: str) -> Iterator[StoredFile]:
    """Yield the files of all pages. Raises: InputError for a listing that does not end."""
    next_url: str | None = url
    paths = set[str]()
    while next_url is not None:
        entries, link = client.json(next_url, where)
        try:
            if not isinstance(entries, list):
                raise TypeError
            files = [_stored_file(entry) for entry in entries if entry["type"] == "file"]
            named = {str(entry["path"]) for entry in entries}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: got {_excerpt(entries)} from {next_url}, expected a list of its files",
                _CHECK_ENDPOINT,
            ) from error
        yield from files
        next_url = urljoin(next_url, link) if link else None
        if next_url is not None and (named <= paths or len(paths) > _MAX_ENTRIES):
            raise InputError(
                f"{where}: got a listing that does not end: after {len(paths):,} entries the next"
                f" page is {next_url}",
                _CHECK_ENDPOINT,
            )
        paths |= named


def _stored_file(entry: Mapping[str, Any]) -> StoredFile:
    large = entry.get("lfs")
    digest = f"sha256:{large['oid']}" if large else f"git-sha1:{entry['oid']}"
    return StoredFile(
        path=str(entry["path"]), num_bytes=operator.index(entry["size"]), digest=digest
    )


def _excerpt(content: object) -> str:
    text = json.dumps(content)
    return text if len(text) <= 60 else f"{text[:60]}…"


def hub_endpoint() -> str:
    """Return the address of the Hub. Raises: InputError for one that is none."""
    endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        raise InputError(f"HF_ENDPOINT: got {endpoint}, expected an address like {_ENDPOINT}")
    return endpoint


def hub_token() -> str | None:
    """Return the token that is set, or the one that `hf auth login` saved. Raises: InputError."""
    where, token = "HF_TOKEN", os.environ.get("HF_TOKEN", "").strip()
    if not token:
        home = os.environ.get("HF_HOME", "~/.cache/huggingface")
        path = Path(os.environ.get("HF_TOKEN_PATH", f"{home}/token")).expanduser()
        try:
            where, token = str(path), path.read_text(errors="replace").strip()
        except OSError:
            return None
    # The token itself is never shown.
    if not (token.isascii() and token.isprintable()):
        raise InputError(
            f"{where}: got a token with a line break or a letter that is not ASCII, expected one"
            " line of ASCII",
            "copy the token again",
        )
    return token or None


def _access_hint(page: str, token: str | None) -> str:
    if token is None:
        return (
            f"check the name on {page}; if it is gated or private, accept its conditions there and"
            " set HF_TOKEN to a token of your account"
        )
    return f"open {page} with the account of your token, and accept its conditions if it is gated"
